"""The roster: a CSV file with the columns username,name,email,group, as a spreadsheet writes it.

A comma, a semicolon or a tab separates; a BOM, CRLF, blank lines and lines that begin with # do no harm. Only
`username` must be there; columns that begin with `x-` are ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from occamctl.errors import SpecError
from occamctl.spec.document import read_text
from occamctl.spec.nearest import nearest
from occamctl.spec.tree import Node, Place, Problems, contains_unwanted, shown

COLUMNS = ("username", "name", "email", "group")
_SEPARATORS = (",", ";", "\t")


def read(path: Path, problems: Problems, file: str = "") -> list[Node]:
    """One mapping for each person of the roster at `path`; what is wrong goes to `problems`.

    file  how messages call it; its path when not given
    """
    file = file or str(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise SpecError("no such file", where=file, fix=f"its first line is: {','.join(COLUMNS)}") from None
    except (OSError, ValueError) as error:
        raise SpecError(f"cannot be read: {getattr(error, 'strerror', None) or error}", where=file) from None
    return parse(read_text(data, file), file, problems)


def parse(text: str, file: str, problems: Problems) -> list[Node]:
    """As `read`, for text that is there already."""
    rows = _rows(text, file, problems)
    header = next(rows, None)
    if header is None:
        return []
    columns = _columns(header, problems)
    return [_person(row, columns, problems) for row in rows] if "username" in columns else []


def _columns(header: list[Node], problems: Problems) -> list[str]:
    """The column's name for each field of the header; "" for one that is ignored."""
    columns: list[str] = []
    for field in header:
        name = (field.text or "").strip().lower()
        if not name or name.startswith("x-"):
            name = ""
        elif name not in COLUMNS:
            problems.add(field.place, f"{shown(name)}: unknown column", fix=_known(name))
            name = "username" if nearest(name, COLUMNS) == "username" else ""
        elif name in columns:
            problems.add(field.place, f"{name}: the column is there twice")
            name = ""
        columns.append(name)
    if "username" not in columns:
        problems.add(header[0].place, "the column username is missing", fix=f"the first line is: {','.join(COLUMNS)}")
    return columns


def _known(name: str) -> str:
    near = nearest(name, COLUMNS)
    return f"did you mean '{near}'?" if near else f"known columns: {', '.join(COLUMNS)}; others begin with x-"


def _person(row: list[Node], columns: list[str], problems: Problems) -> Node:
    if len(row) > len(columns):
        problems.add(
            row[len(columns)].place,
            f"{len(row)} fields where the first line has {len(columns)}",
            fix='quote a field that holds the separator: "Rossi, Anna"',
        )
    entries: dict[str, Node] = {}
    for name, field in zip(columns, row, strict=False):
        if name and field.text:
            if contains_unwanted(field.text):
                problems.add(field.place, f"{name}: holds a control character")
                field = Node(field.place, broken=True)
            field.key = field.place
            entries[name] = field
    return Node(row[0].place, entries=entries)


def _rows(text: str, file: str, problems: Problems) -> Iterator[list[Node]]:
    """Rows that hold something, each field with its place and without blanks around it."""
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    separator = max(_SEPARATORS, key=first.count)
    scanner = _Scanner(text, file, separator, problems)
    while scanner.more():
        row = scanner.row()
        if any(field.text for field in row):
            yield row


class _Scanner:
    """RFC 4180, with places; quotes may hold separators, line ends and doubled quotes."""

    def __init__(self, text: str, file: str, separator: str, problems: Problems) -> None:
        self.text, self.file, self.separator, self.problems = (
            text.replace("\r\n", "\n").replace("\r", "\n"),
            file,
            separator,
            problems,
        )
        self.at, self.line, self.line_start = 0, 1, 0

    def more(self) -> bool:
        return self.at < len(self.text)

    def place(self) -> Place:
        return Place(self.file, self.line, self.at - self.line_start + 1)

    def row(self) -> list[Node]:
        if self.text.startswith("#", self.at):
            self.at = self._end_of_line()
        fields = [self._field()]
        while self.more() and self.text[self.at] == self.separator:
            self.at += 1
            fields.append(self._field())
        if self.more():
            self.at += 1
            self.line, self.line_start = self.line + 1, self.at
        return fields

    def _end_of_line(self) -> int:
        end = self.text.find("\n", self.at)
        return len(self.text) if end < 0 else end

    def _field(self) -> Node:
        while self.more() and self.text[self.at] in " \t" and self.text[self.at] != self.separator:
            self.at += 1
        place = self.place()
        if self.text.startswith('"', self.at):
            return self._quoted(place)
        start, end = self.at, self._end_of_line()
        stop = self.text.find(self.separator, start, end)
        self.at = end if stop < 0 else stop
        value = self.text[start : self.at].strip()
        return Node(place, text=value, raw=value)

    def _quoted(self, place: Place) -> Node:
        self.at += 1
        value = ""
        while self.more():
            mark = self.text[self.at]
            self.at += 1
            if mark == '"' and self.text.startswith('"', self.at):
                self.at += 1
            elif mark == '"':
                return self._after_quote(place, value)
            elif mark == "\n":
                self.line, self.line_start = self.line + 1, self.at
            value += mark
        self.problems.add(place, "a quote that does not end")
        return Node(place, broken=True)

    def _after_quote(self, place: Place, value: str) -> Node:
        """Skip to the separator; anything but blanks between is a mistake."""
        start, end = self.at, self._end_of_line()
        stop = self.text.find(self.separator, start, end)
        self.at = end if stop < 0 else stop
        if self.text[start : self.at].strip():
            self.problems.add(place, "text after a closing quote", fix='a quote within quotes is written twice: ""')
        value = " ".join(value.split())
        return Node(place, text=value, raw=value)
