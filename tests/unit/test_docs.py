"""The documentation states what exists: pages from the code are current, links and commands are real."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from occamctl.actions.init import start
from occamctl.errors import SpecError
from occamctl.spec.load import load

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], key=lambda page: page.relative_to(ROOT).as_posix())


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def generator() -> ModuleType:
    found = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert found
    assert found.loader
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


GENERATE = generator()


def all_commands() -> dict[tuple[str, ...], Any]:
    import typer

    from occamctl.cli.main import app

    return dict(GENERATE._commands(typer.main.get_command(app), ()))


COMMANDS = all_commands()
GROUPS = {words[:1] for words in COMMANDS if len(words) > 1}


@pytest.mark.parametrize("page", sorted(GENERATE.PAGES))
def test_pages_from_the_code_are_current(page: str) -> None:
    written = (ROOT / "docs" / "reference" / page).read_text()
    assert written == GENERATE.PAGES[page](), "run: python docs/generate.py"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#\s]+)", text) + re.findall(r'src="([^"]+)"', text):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), target


def test_every_page_can_be_found_from_the_index() -> None:
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / target).resolve() for target in re.findall(r"\]\(([^)#\s]+)", index.read_text())}
    pages = {page.resolve() for page in (ROOT / "docs").rglob("*.md")} - {index.resolve()}
    assert [name(page) for page in sorted(pages - linked)] == []


def spoken(text: str) -> Iterator[list[str]]:
    """The command lines of a page: those in blocks of code, and those in backquotes."""
    blocks = "\n".join(re.findall(r"```[a-z]*\n(.*?)```", text, re.DOTALL)) + "\n"
    blocks += "\n".join(line.strip() for line in text.splitlines() if line.startswith("    "))
    lines = [line.strip().removeprefix("$ ") for line in blocks.splitlines()] + re.findall(r"`(occamctl [^`]+)`", text)
    for line in lines:
        for part in re.split(r"&&|\||[<>]", line):
            if part.strip().startswith("occamctl "):
                yield shlex.split(part.partition("  #")[0].partition(" # ")[0], comments=True)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_exist_and_take_what_is_shown(page: Path) -> None:
    for _, *words in spoken(page.read_text()):
        check(words)


@pytest.mark.parametrize("words", sorted(COMMANDS), ids=" ".join)
def test_every_command_has_an_example_that_it_takes(words: tuple[str, ...]) -> None:
    help_ = " ".join(COMMANDS[words].help.split())
    example = help_.partition("Example: ")[2]
    assert example, f"{' '.join(words)} has no example"
    called = re.search(r"occamctl [^)]*", example)
    assert called
    check(shlex.split(called[0])[1:])


def check(words: list[str]) -> None:
    plain = [word for word in words if word not in ("…", "...")]
    if not plain or plain[0].startswith("-"):
        assert plain[:1] in ([], ["--version"], ["--help"], ["--debug"]), words
        return
    if plain[0] == "version":
        return
    if tuple(plain[:1]) in GROUPS and len(plain) == 1:
        return
    path = tuple(plain[:2]) if tuple(plain[:1]) in GROUPS else tuple(plain[:1])
    assert path in COMMANDS, f"there is no command: occamctl {' '.join(path)}"
    try:
        COMMANDS[path].make_context(" ".join(path), plain[len(path) :])
    except Exception as error:  # noqa: BLE001 (the class is Typer's own, and it has moved before)
        if type(error).__name__ not in ("MissingParameter", "Exit"):  # a page may name a command without its arguments
            pytest.fail(f"occamctl {' '.join(plain)}: {error}")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+(?: [a-z-]+)*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    known = {one for line in targets for one in line.split()}
    for target in re.findall(r"`make ([a-z-]+)", page.read_text()) + re.findall(
        r"^(?:\$ |    )?make ([a-z-]+)(?: +[A-Z#].*)?$", page.read_text(), re.MULTILINE
    ):
        assert target in known, f"make {target}"


def test_the_mistake_of_the_tutorial_is_told_as_it_says(tmp_path: Path) -> None:
    made = start(tmp_path, "machine", "ml-2026")
    made.file.write_text(re.sub(r"cpu_limit: 2.*", "cpu: 2", made.file.read_text()))
    with pytest.raises(SpecError) as caught:
        load(made.file)
    where = str(caught.value.where).removeprefix(f"{tmp_path}/")
    page = (ROOT / "docs" / "tutorial.md").read_text()
    assert f"error: {where}: {caught.value.what}\n      fix: {caught.value.fix}" in page
