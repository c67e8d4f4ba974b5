"""The wheel alone is enough: built, installed away from the checkout, and used there."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import occamctl

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "occamctl"
_TAGS = "from occamctl.engine import images; print(images.hub_image().tag, images.notebook_image().tag)"


def run(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT, cwd=folder)
    return next(folder.glob("occamctl-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a fresh environment that has the wheel and what it asks for, as pipx makes one."""
    folder = tmp_path_factory.mktemp("away")
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    programs = folder / "venv" / "bin"
    run(programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel, cwd=folder)
    return programs


def tracked(folder: str) -> set[str]:
    """Files of the repository under `folder`, relative to it."""
    listed = run("git", "ls-files", folder, cwd=ROOT).split()
    return {str(Path(one).relative_to(folder)) for one in listed}


@pytest.mark.parametrize("folder", ["templates", "course"])
def test_the_wheel_holds_every_file_once(folder: str, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        entries = [one for one in archive.infolist() if one.filename.startswith(f"occamctl/{folder}/")]
        there = {one.filename.removeprefix(f"occamctl/{folder}/"): one for one in entries}
        links = [name for name, one in there.items() if one.external_attr >> 28 == 0o12]
    assert tracked(folder) <= there.keys()
    assert (len(entries), links) == (len(there), [])
    for name in tracked(folder):
        executable = bool(there[name].external_attr >> 16 & 0o100)
        assert executable == os.access(ROOT / folder / name, os.X_OK), name


def test_the_wheel_holds_nothing_that_a_machine_made(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert [name for name in names if "__pycache__" in name or name.endswith((".pyc", "~", ".swp", ".jar"))] == []
    assert [name for name in names if not name.startswith(("occamctl/", "occamctl-"))] == []


@pytest.mark.parametrize("folder", ["templates", "course"])
def test_a_checkout_sees_its_own_files(folder: str) -> None:
    """An editable install reads the working tree through the links."""
    assert Path(occamctl.__file__).parent.resolve() == PACKAGE.resolve()
    assert (PACKAGE / folder).resolve() == ROOT / folder


def test_the_wheel_gives_the_command_with_its_templates(installed: Path, tmp_path: Path) -> None:
    command = installed / "occamctl"
    assert run(command, "--version", cwd=tmp_path) == f"occamctl {occamctl.__version__}\n"
    run(command, "init", "course", "--for", "hosts", "--name", "ml", cwd=tmp_path)
    assert "is right." in run(command, "validate", "-c", "course/occam.yaml", cwd=tmp_path)
    where = run(installed / "python", "-c", "import occamctl; print(occamctl.__file__)", cwd=tmp_path)
    assert str(installed.parent) in where


def test_the_wheel_makes_the_same_images_as_the_checkout(installed: Path, tmp_path: Path) -> None:
    """A tag is a hash of what an image is built from: no file is missing, changed, or has lost its mode."""
    assert run(installed / "python", "-c", _TAGS, cwd=tmp_path) == run(sys.executable, "-c", _TAGS, cwd=tmp_path)
