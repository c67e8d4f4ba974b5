"""YAML text as a tree in which every value knows its place. Nothing is executed, and nothing is guessed.

Scalars stay text (only an empty one is None): what they mean is the course file's section's business, so a user
called `no` or `007` stays one. Tags, aliases without end, deep or huge files and keys given twice are refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping

import yaml
from yaml.nodes import MappingNode, ScalarNode, SequenceNode

from occamctl.errors import SpecError
from occamctl.spec.tree import UNWANTED, Node, Place, Problems, shown

MAX_BYTES = 1_000_000
MAX_DEPTH = 50
MAX_VALUES = 100_000
_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "timestamp", "value", "merge")}
_NULL, _MERGE = "tag:yaml.org,2002:null", "tag:yaml.org,2002:merge"
_VARIABLE = re.compile(r"\$\$|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-[^}]*)?\}|\$\{")


def read_text(data: bytes, file: str) -> str:
    """`data` as text. Raises SpecError when it is too large or not UTF-8."""
    if len(data) > MAX_BYTES:
        raise SpecError(f"larger than {MAX_BYTES:,} bytes", where=file)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise SpecError("not UTF-8 text", where=f"{file}:{line}:{column}", fix="save it as UTF-8") from None


def parse(text: str, file: str, problems: Problems, environment: Mapping[str, str] | None = None) -> Node | None:
    """The tree of one YAML document, None when it is empty. What is wrong in it goes to `problems`.

    environment  where `${VAR}` comes from; the process's own when not given

    Raises SpecError when the text is not YAML at all.
    """
    try:
        root = _Composer(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(error, file) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = Place(file, before.count("\n") + 1, error.position - before.rfind("\n"))
        raise SpecError(f"character U+{error.character:04X} cannot stand in a YAML file", where=str(place)) from None
    except (ValueError, RecursionError):  # PyYAML lets int() and chr() fail on absurd escapes and directives
        raise SpecError("not YAML", where=file) from None
    if root is None:
        return None
    return _Reader(file, problems, os.environ if environment is None else environment).node(root, 0)


_CLEARER = {
    "cannot start any token": (
        "a tab, or a mark that YAML keeps for itself",
        "indent with spaces; quote text that begins with @ ` or %",
    ),
    "expected <block end>": (
        "not YAML: the indentation does not fit the lines above",
        "use the same number of spaces for keys of one section",
    ),
    "mapping values are not allowed here": (
        "not YAML: a second ': ' in one value",
        "quote the text, or check the indentation",
    ),
    "expected a single document": ("a second document begins", "one file holds one course"),
    "could not find expected ':'": ("not YAML: a key without ':' above this line", "write key: value"),
}


def _not_yaml(error: yaml.MarkedYAMLError, file: str) -> SpecError:
    """PyYAML's complaint in words for people."""
    mark = error.problem_mark or error.context_mark
    where = str(Place(file, mark.line + 1, mark.column + 1)) if mark else file
    said = f"{error.context or ''} {error.problem or ''}".strip()
    for words, (what, fix) in _CLEARER.items():
        if words in said:
            return SpecError(what, where=where, fix=fix)
    bare = mark and mark.buffer is not None and mark.buffer[max(mark.pointer - 1, 0) : mark.pointer + 1] == "${"
    fix = 'within { } and [ ] a variable stands in quotes: "${NAME}"' if bare else ""
    return SpecError(f"not YAML: {said or 'unreadable'}", where=where, fix=fix)


class _Composer(yaml.SafeLoader):
    """PyYAML's composer (it makes nodes, never objects), with a limit on depth."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            here = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, f"nested deeper than {MAX_DEPTH}", here)
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


class _Reader:
    """Nodes of PyYAML to ours: environment, merge keys, `x-` keys, and the limits."""

    def __init__(self, file: str, problems: Problems, environment: Mapping[str, str]) -> None:
        self.file, self.problems, self.environment = file, problems, environment
        self.values = 0

    def place(self, node: yaml.Node) -> Place:
        return Place(self.file, node.start_mark.line + 1, node.start_mark.column + 1)

    def node(self, node: yaml.Node, depth: int) -> Node:
        """Raises SpecError when aliases make the file endless."""
        self._count(node, depth)
        if isinstance(node, MappingNode):
            entries = dict(self._entries(node, depth))
            self._check_tag(node, "map")
            return Node(self.place(node), entries=entries)
        if isinstance(node, SequenceNode):
            self._check_tag(node, "seq")
            items = [self.node(child, depth + 1) for child in node.value]
            for number, item in enumerate(items):
                item.number = number
            return Node(self.place(node), items=items)
        assert isinstance(node, ScalarNode)
        return self._scalar(node)

    def _count(self, node: yaml.Node, depth: int) -> None:
        self.values += 1
        if depth > MAX_DEPTH:
            raise SpecError("an alias that holds itself", where=str(self.place(node)))
        if self.values > MAX_VALUES:
            raise SpecError(f"aliases make more than {MAX_VALUES:,} values of it", where=str(self.place(node)))

    def _check_tag(self, node: yaml.Node, kind: str) -> None:
        if node.tag != f"tag:yaml.org,2002:{kind}":
            self.problems.add(self.place(node), "a YAML tag means nothing here", fix="leave it away")

    def _scalar(self, node: ScalarNode) -> Node:
        place, raw = self.place(node), str(node.value)
        if node.tag not in _TAGS:
            self.problems.add(place, "a YAML tag means nothing here", fix="leave it away")
        text = self._substituted(raw, place)
        unwanted = UNWANTED.search(text or "")
        if unwanted:
            self.problems.add(place, f"holds the control character U+{ord(unwanted[0]):04X}")
        if text is None or unwanted:
            return Node(place, raw=raw, broken=True)
        nothing = node.style is None and (node.tag == _NULL or not text)
        return Node(place, text=None if nothing else text, raw=raw)

    def _substituted(self, raw: str, place: Place) -> str | None:
        """`raw` with what the environment holds; None when it lacks something."""
        missing = False

        def value(found: re.Match[str]) -> str:
            nonlocal missing
            if found[0] == "$$":
                return "$"
            name, default = found["name"], found["default"]
            given = self.environment.get(name) if name else None
            if name and default is not None:
                return given or default.removeprefix(":-")
            if given is None:
                missing = True
                self.problems.add(place, *_no_variable(name))
            return given or ""

        text = _VARIABLE.sub(value, raw) if "$" in raw else raw
        return None if missing else text

    def _entries(self, node: MappingNode, depth: int) -> Iterator[tuple[str, Node]]:
        """Entries in the order in which a later one of the same name counts: merged ones first."""
        for key, child in node.value:
            if key.tag == _MERGE:
                yield from self._merged(child, depth)
        seen: dict[str, Place] = {}
        for key, child in node.value:
            if key.tag == _MERGE:
                continue
            place = self.place(key)
            if not isinstance(key, ScalarNode):
                self.problems.add(place, "a key must be a word, not a list or mapping")
                continue
            name = str(key.value)
            if name in seen:
                self.problems.add(place, f"{shown(name)}: given twice", fix=f"the first is in line {seen[name].line}")
                continue
            seen[name] = place
            if name.startswith("x-"):
                continue
            if UNWANTED.search(name):
                self.problems.add(place, "a key holds a control character")
                continue
            made = self.node(child, depth + 1)
            made.key = place
            yield name, made

    def _merged(self, node: yaml.Node, depth: int) -> Iterator[tuple[str, Node]]:
        """What `<<` brings: of several mappings the first counts."""
        sources = list(node.value) if isinstance(node, SequenceNode) else [node]
        for source in reversed(sources):
            if not isinstance(source, MappingNode):
                self.problems.add(self.place(source), "<<: brings in a mapping or a list of mappings")
                continue
            self._count(source, depth + 1)
            yield from self._entries(source, depth + 1)


def _no_variable(name: str | None) -> tuple[str, str]:
    if name is None:
        return "${ begins a variable that does not end", "write ${NAME} or ${NAME:-default}; $$ is a dollar"
    return (
        f"{shown(name)} is not set in the environment",
        f"export {shown(name)}=…, or write ${{{shown(name)}:-default}}",
    )
