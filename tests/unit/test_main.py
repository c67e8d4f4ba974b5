"""The command from outside: exit codes, where output goes, and what is not imported."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

HEAVY = ("fabric", "paramiko", "docker", "pydantic", "pyspark", "yaml", "jupyterhub", "tensorflow", "requests")


def occamctl(*arguments: str, cwd: Path, stdin: str = "", columns: int = 200) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": str(columns), "NO_COLOR": "1"}
    command = [sys.executable, "-m", "occamctl", *arguments]
    return subprocess.run(command, cwd=cwd, input=stdin, capture_output=True, text=True, timeout=60, env=environment)


def modules_after(*arguments: str) -> set[str]:
    """Top-level modules that are imported once the command is done."""
    code = (
        "import sys, atexit\n"
        f"sys.argv = ['occamctl', *{arguments!r}]\n"
        "from occamctl.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('MODULES', *{name.partition('.')[0] for name in sys.modules})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.rpartition("MODULES")[2].split())


@pytest.mark.parametrize("command", ["--version", "version"])
def test_the_version_imports_next_to_nothing(command: str) -> None:
    assert not modules_after(command) & {*HEAVY, "typer", "click", "rich"}


def test_help_imports_nothing_heavy() -> None:
    assert not modules_after("--help") & set(HEAVY)


@pytest.mark.parametrize("command", ["course", "host", "gpu", "spark", "notebook", "user", "image", "sandbox", "init"])
def test_help_of_a_command_imports_nothing_heavy(command: str) -> None:
    """Typer itself looks at pydantic, when it is there, to read the types of a command."""
    assert not modules_after(command, "--help") & {*HEAVY} - {"pydantic"}


def test_a_first_course_file(tmp_path: Path) -> None:
    assert occamctl("init", "--for", "machine", "--name", "ml", cwd=tmp_path).returncode == 0
    done = occamctl("validate", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "occam.yaml is right." in done.stdout
    said = json.loads(occamctl("validate", "-o", "json", cwd=tmp_path).stdout)
    assert (said["valid"], said["course"], said["students"]) == (True, "ml", 2)
    again = occamctl("init", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (5, "")
    assert "there is a course file already" in again.stderr


def test_a_wrong_course_file_has_exit_code_2_and_one_line_each(tmp_path: Path) -> None:
    (tmp_path / "occam.yaml").write_text("version: 1\ncourse: ml\nhub: {prt: 1}\nnotebook: {cpu_limit: [1]}\n")
    done = occamctl("validate", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "error: occam.yaml:3:7: hub.prt: unknown key",
        "  fix: did you mean 'port'?",
        "error: occam.yaml:4:12: notebook.cpu_limit: must be a number",
    ]
    said = json.loads(occamctl("validate", "-o", "json", cwd=tmp_path).stdout)
    assert [error["where"] for error in said["errors"]] == ["occam.yaml:3:7", "occam.yaml:4:12"]


def test_standard_input_and_the_schema(tmp_path: Path) -> None:
    done = occamctl("validate", "-c", "-", cwd=tmp_path, stdin="version: 1\ncourse: Ml\n")
    assert done.returncode == 2
    assert "error: <stdin>:2:1: course: 'Ml' cannot be a course's name" in done.stderr
    assert json.loads(occamctl("validate", "--schema", cwd=tmp_path).stdout)["$schema"].endswith("2020-12/schema")


@pytest.mark.parametrize("arguments", [["nonsense"], ["validate", "--nonsense"], ["init", "--for", "moon"]])
def test_a_wrong_command_line_has_exit_code_2(arguments: list[str], tmp_path: Path) -> None:
    done = occamctl(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("module", ["typer", "occamctl.cli.main", "occamctl.cli.course"])
def test_ctrl_c_while_a_module_is_imported(module: str) -> None:
    code = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background job has it ignored
        "class Slow:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}: os.kill(os.getpid(), signal.SIGINT); time.sleep(20)\n"
        "sys.meta_path.insert(0, Slow())\n"
        "sys.argv = ['occamctl', 'course', 'up']\n"
        "from occamctl.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 130
    assert done.stderr.strip() == "interrupted; run the same command again to go on"


def test_ctrl_c_while_a_class_is_made() -> None:
    code = (
        "from occamctl.cli import main\n"
        "class Named:\n"
        "    def __set_name__(self, *_): raise KeyboardInterrupt\n"
        "def app(**_): type('Made', (), {'one': Named()})\n"
        "main.app = app\n"
        "import sys; sys.argv = ['occamctl', 'status']\n"
        "from occamctl.__main__ import main as run\nrun()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 130
    assert done.stderr.strip() == "interrupted; run the same command again to go on"


def test_ctrl_c_when_all_is_done_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "occam.yaml").write_text("version: 1\ncourse: ml\n")
    code = (
        "import os, signal, sys\n"
        "class Last:\n"
        "    def __del__(self, kill=os.kill, me=os.getpid(), number=signal.SIGINT): kill(me, number)\n"
        "last = Last()\n"
        "sys.argv = ['occamctl', 'validate']\n"
        "from occamctl.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "occam.yaml is right." in done.stdout


@pytest.mark.parametrize(("kind", "said"), [("TheirExit", ""), ("SystemExit", "interrupted; run the same command")])
def test_a_programs_own_exit_code_is_handed_on_and_not_taken_for_ours(kind: str, said: str) -> None:
    code = (
        "from occamctl.cli import main\nfrom occamctl.cli.options import TheirExit\n"
        f"def app(**_): raise {kind}(130)\n"
        "main.app = app\n"
        "import sys; sys.argv = ['occamctl', 'status']\n"
        "from occamctl.__main__ import main as run\nrun()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 130
    assert done.stderr.startswith(said)
    assert bool(done.stderr) is bool(said)


def test_the_next_commands_can_be_copied(tmp_path: Path) -> None:
    said = occamctl("init", "my course", "--for", "machine", cwd=tmp_path).stdout
    assert "  occamctl validate -c 'my course/occam.yaml'\n" in said


def test_debug_adds_the_traceback_and_changes_nothing_else(tmp_path: Path) -> None:
    plain, debug = occamctl("validate", cwd=tmp_path), occamctl("--debug", "validate", cwd=tmp_path)
    assert plain.returncode == debug.returncode == 2
    assert debug.stderr.startswith(f"{plain.stderr}Traceback")


def test_debug_of_somebody_s_program_is_the_program_s(tmp_path: Path) -> None:
    done = occamctl("host", "exec", "--", "train", "--debug", cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)


@pytest.mark.parametrize("command", ["init", "spark submit", "notebook exec"])
def test_an_example_stands_in_a_line_of_its_own(command: str, tmp_path: Path) -> None:
    shown = occamctl(*command.split(), "--help", cwd=tmp_path, columns=80).stdout
    (line,) = [line.strip() for line in shown.splitlines() if "Example: " in line]
    assert line.startswith(f"Example: occamctl {command} ")


@pytest.mark.parametrize(("typed", "code"), [(b"\x03", 130), (b"\x04", 0), (b"2\n", 0), (b"9\n", 2)])
def test_a_question_is_answered_or_interrupted(typed: bytes, code: int, tmp_path: Path) -> None:
    child, terminal = pty.fork()
    if not child:
        os.execv(sys.executable, [sys.executable, "-m", "occamctl", "init", str(tmp_path)])
    said, end = b"", time.monotonic() + 60
    with suppress(OSError):  # Linux' way to say that nobody is there any more
        while time.monotonic() < end:
            if select.select([terminal], [], [], 0.3)[0]:
                said += os.read(terminal, 1000)
            elif b"[1]:" in said:
                os.write(terminal, typed)  # perhaps again: Python misses an interrupt just before it begins to read
        else:
            os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code
    assert (tmp_path / "occam.yaml").exists() == (code == 0)
