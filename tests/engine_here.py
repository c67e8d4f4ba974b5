"""Before the tests: a container engine on this machine, and Chromium for the browser test. Both stay afterwards.

Everything is said before it is done; what is there already is used as it is.
"""

from __future__ import annotations

import os
import shutil
import subprocess

from occamctl.hosts.connection import LocalMachine
from occamctl.hosts.prepare import prepare

PROGRAMS = {
    "chromium": "chromium",
    "chromium-driver": "chromedriver",
    "fonts-dejavu-core": "chromium",
    "openssh-client": "ssh",
}
"""Debian's packages, and the program that tells whether each is there."""
APT = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=120")


def say(text: str) -> None:
    print(text, flush=True)


def ensure_engine() -> None:
    for done in prepare(LocalMachine(), say):
        say(done)


def ensure_programs() -> None:
    """What tests run besides: without apt the browser test skips itself and says so."""
    packages = [name for name, program in PROGRAMS.items() if not shutil.which(program)]
    if not packages or not shutil.which("apt-get"):
        return
    say(f"the tests need {', '.join(packages)}: installing with apt")
    root = () if os.geteuid() == 0 else ("sudo",)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (("update",), ("install", "--no-install-recommends", *packages)):
        done = subprocess.run([*root, *APT, *command], env=environment, capture_output=True, text=True, timeout=900)
        if done.returncode:
            say(f"apt could not: {done.stderr.strip()[-300:]}")
            return


if __name__ == "__main__":
    ensure_engine()
    ensure_programs()
