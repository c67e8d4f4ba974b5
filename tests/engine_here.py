"""Before the tests: a container engine on this machine, and Chromium for the browser test. Both stay afterwards.

Everything is said before it is done; what is there already is used as it is.
"""

from __future__ import annotations

import os
import shutil
import subprocess

from occamctl.hosts.connection import LocalMachine
from occamctl.hosts.prepare import prepare

BROWSER = ("chromium", "chromium-driver", "fonts-dejavu-core")
APT = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=120")


def say(text: str) -> None:
    print(text, flush=True)


def ensure_engine() -> None:
    for done in prepare(LocalMachine(), say):
        say(done)


def ensure_chromium() -> None:
    """Without apt the browser test skips itself and says so."""
    if all(map(shutil.which, ("chromium", "chromedriver"))) or not shutil.which("apt-get"):
        return
    say("no Chromium here: installing Debian's with apt, for the browser test")
    root = () if os.geteuid() == 0 else ("sudo",)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (("update",), ("install", "--no-install-recommends", *BROWSER)):
        done = subprocess.run([*root, *APT, *command], env=environment, capture_output=True, text=True, timeout=900)
        if done.returncode:
            say(f"apt could not: {done.stderr.strip()[-300:]}")
            return


if __name__ == "__main__":
    ensure_engine()
    ensure_chromium()
