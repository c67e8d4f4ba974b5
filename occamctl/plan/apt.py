"""What Debian's package manager says. Pure: asked on hosts over SSH, and on this machine by itself."""

from __future__ import annotations

LISTING = ("dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package}\n")
"""The command whose output `installed` reads."""


def installed(listed: str) -> set[str]:
    """Names of the packages that are there, if only in part."""
    return {line.split()[-1] for line in listed.splitlines() if not line.startswith(("un", "rc", "pn"))}
