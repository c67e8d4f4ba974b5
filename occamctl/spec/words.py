"""What a word of the course file may look like. Each function returns the word, or raises Unfit."""

from __future__ import annotations

import ipaddress
import re
import zoneinfo
from collections.abc import Callable
from datetime import datetime
from urllib.parse import urlsplit

from occamctl.spec import names, units
from occamctl.spec.nearest import nearest

_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._:%-]*[A-Za-z0-9])?")
_PORT = re.compile(r"^[^:]+:\d*$")
_LOGIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.@\\-]*\$?")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(=[A-Za-z0-9.+:~-]+)?")
_IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._:/@-]*")
_GPU = re.compile(r"(GPU|MIG)-[A-Za-z0-9/-]+")
_NARROWEST_POOL = 20
_GIT = re.compile(r"(?P<scheme>https?|ssh|git|file)://[^\s]+|[A-Za-z0-9_.-]+@[A-Za-z0-9._-]+:[^\s]+")
_BRANCH = re.compile(r"(?![-/])[^\s~^:?*\[\\]+")
_FOLDER = re.compile(r"[\w+][\w.+-]*")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)?)?")


class Unfit(ValueError):
    """A word that cannot stand where it stands. pydantic catches it, and `complaints` tells it."""

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(what)
        self.fix = fix


def plain(word: str, most: int) -> str:
    """`word` made of small letters, digits and single hyphens, as far as that goes."""
    return re.sub(r"^[^a-z]+|-+$", "", re.sub(r"[^a-z0-9]+", "-", word.lower())[:most])


def course_name(word: str) -> str:
    return _dns_name(word, names.COURSE_NAME, names.MAX_COURSE, "a course's name")


def cluster_name(word: str) -> str:
    return _dns_name(word, names.CLUSTER_NAME, names.MAX_CLUSTER, "a cluster's name")


def data_name(word: str) -> str:
    """The name of a folder of /data."""
    if names.DATA_NAME.fullmatch(word) and len(word) <= names.MAX_DATA:
        return word
    near = plain(word, names.MAX_DATA)
    raise Unfit(
        f"{word!r} cannot be a data set's name: small letters, digits and single - or _, a letter first,"
        f" {names.MAX_DATA} characters",
        f"for example {near}" if near else "",
    )


def is_address(source: str) -> bool:
    """Whether a source is meant as an address; else it is a path."""
    return "://" in source


def web_address(word: str) -> str:
    """The address of a file."""
    parts = urlsplit(word)
    if parts.scheme in ("http", "https") and parts.hostname and not re.search(r"\s", word):
        return word
    raise Unfit(f"{word!r} is neither a path nor an address", "write https://example.org/HIGGS.csv.gz, or a path")


def sha256(word: str) -> str:
    if re.fullmatch(r"[0-9a-fA-F]{64}", word):
        return word.lower()
    raise Unfit(f"{word!r} is not a SHA-256: 64 digits of 0-9 a-f", "see: sha256sum FILE")


def _dns_name(word: str, pattern: re.Pattern[str], most: int, what: str) -> str:
    if pattern.fullmatch(word) and len(word) <= most:
        return word
    near = plain(word, most)
    raise Unfit(
        f"{word!r} cannot be {what}: small letters, digits and single hyphens, a letter first, {most} characters",
        f"for example {near}" if near else "",
    )


def user_name(word: str) -> str:
    if word == names.COURSE_OWNER:
        raise Unfit(f"{word!r} cannot be a user name", "it stands for the course itself, the owner of what is shared")
    if names.USER_NAME.fullmatch(word):
        return word
    raise Unfit(f"{word!r} cannot be a user name", "start with a letter or digit, then letters, digits and - _ . @ +")


def group(word: str) -> str:
    """Roles are groups of the hub too, and rights hang on them."""
    if word not in ("student", "instructor"):
        return word
    raise Unfit(f"{word!r} cannot be a group", "it is a role; instructors are listed under instructors:")


def host_name(word: str) -> str:
    if _HOST.fullmatch(word) and not _PORT.search(word):
        return word
    if "@" in word:
        fix = "write user: beside hostname:"
    elif _PORT.search(word):
        fix = "write port: beside hostname:"
    else:
        fix = "a name, an address, or a Host of ~/.ssh/config"
    raise Unfit(f"{word!r} is not a host name", fix)


def address(word: str) -> str:
    """An address that the swarm's nodes reach each other by."""
    try:
        ipaddress.IPv4Address(word)
    except ValueError:
        raise Unfit(f"{word!r} is not an IPv4 address", "such as 10.0.0.2; leave it away and it is found out") from None
    return word


def gpus(value: object) -> object:
    """auto, none, or a list; pydantic's own words for a union would name both."""
    if value in ("auto", "none"):
        return value
    if isinstance(value, list):
        return [gpu(str(one)) for one in value]
    raise Unfit("must be auto, none, or a list of GPUs by their UUID", "see: nvidia-smi -L")


def gpu(word: str) -> str:
    """The UUID of a GPU or of a MIG instance, as `nvidia-smi -L` prints it."""
    if _GPU.fullmatch(word):
        return word
    raise Unfit(f"{word!r} is not the UUID of a GPU, such as GPU-…", "see: nvidia-smi -L")


def login(word: str) -> str:
    if _LOGIN.fullmatch(word):
        return word
    raise Unfit(f"{word!r} is not a user of a host")


def jump(word: str) -> str:
    """One host or several, as ssh -J takes them: user@host:port,…"""
    for one in word.split(","):
        user, _, rest = one.rpartition("@")
        if not _HOST.fullmatch(rest) or (user and not _LOGIN.fullmatch(user)):
            raise Unfit(f"{word!r} is not a host to go through", "write host, user@host or user@host:port")
    return word


def label(word: str) -> str:
    if _LABEL.fullmatch(word):
        return word
    raise Unfit(f"{word!r} cannot be a label: letters, digits and . _ / -")


def url(word: str) -> str:
    try:
        parts = urlsplit(word)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and parts.path in ("", "/")
    except ValueError:
        good = False
    if good and not (parts.query or parts.fragment or parts.username or " " in word):
        return word.rstrip("/")
    raise Unfit(f"{word!r} is not the address of a site", "write https://course.example.org, without a path")


def requirement(word: str) -> str:
    """A requirement of pip; an option of pip would be obeyed too, so none may stand here."""
    if re.match(r"[A-Za-z0-9]", word) and "\n" not in word:
        return word
    raise Unfit(f"{word!r} is not a Python package", "write name or name==version; options of pip have no place here")


def package(word: str) -> str:
    if _PACKAGE.fullmatch(word):
        return word
    raise Unfit(f"{word!r} is not a Debian package", "write name or name=version")


def image(word: str) -> str:
    if _IMAGE.fullmatch(word):
        return word
    raise Unfit(f"{word!r} is not an image", "write registry/name:tag")


def pool(word: str) -> str:
    """A range of private IPv4 addresses with room for a network per student."""
    try:
        network = ipaddress.ip_network(word)
    except ValueError as error:
        raise Unfit(str(error), "write 10.186.0.0/16") from None
    if network.version != 4 or not network.is_private:
        raise Unfit(f"{word} is not a range of private IPv4 addresses", "write 10.186.0.0/16")
    if network.prefixlen > _NARROWEST_POOL:
        raise Unfit(f"{word} is too small for a network per student", f"a /{_NARROWEST_POOL} at least")
    return word


def git_url(word: str) -> str:
    """The address of a git repository. A password in it would show in the process list of this machine."""
    found = _GIT.fullmatch(word)
    if not found:
        raise Unfit(f"{word!r} is not the address of a git repository", "write https://…, ssh://…, or user@host:path")
    try:
        parts = urlsplit(word)
    except ValueError as error:
        raise Unfit(f"not the address of a git repository: {error}") from None
    if found["scheme"] and (parts.password or (parts.username and parts.scheme != "ssh")):
        raise Unfit("a name or password must not stand in it", "let your own git know it: git help credentials")
    return word


def branch(word: str) -> str:
    """A branch or tag, as git allows them."""
    if not word or (_BRANCH.fullmatch(word) and ".." not in word and not word.endswith(("/", ".", ".lock"))):
        return word
    raise Unfit(f"{word!r} is not a branch or a tag")


def home_folder(word: str) -> str:
    """A folder inside of a home. It is the name of a branch too (see engine/material_inside.py)."""
    parts = word.rstrip("/").split("/")
    if any(part in ("", "..") for part in parts) or word.startswith("~"):
        raise Unfit(f"{word!r} is not inside of the home", "write a folder of the home, such as labs")
    if all(_FOLDER.fullmatch(part) and ".." not in part and not part.endswith((".", ".lock")) for part in parts):
        return "/".join(parts)
    raise Unfit(f"{word!r} cannot be a folder for material", "letters, digits and . _ + - only, none of them hidden")


def release(value: object) -> dict[str, datetime]:
    """When files are released, by pattern; one date stands for all of them."""
    if isinstance(value, dict):
        for pattern in value:
            if not str(pattern).strip("/ "):
                raise Unfit(f"{str(pattern)!r} is not a pattern of file names", 'such as "03-*.ipynb"')
        return {str(pattern): moment(when) for pattern, when in value.items()}
    return {"*": moment(value)}


def moment(value: object) -> datetime:
    """A date and time; a date alone is its first minute."""
    if isinstance(value, datetime):
        return value
    try:
        if isinstance(value, str) and _MOMENT.fullmatch(value):
            return datetime.fromisoformat(value)
    except ValueError:  # the thirtieth of February
        pass
    said = "a list or mapping" if isinstance(value, list | dict) else repr(value)
    raise Unfit(f"{said} is not a date and time", "write 2026-10-12T09:00, or 2026-10-12")


def at_least(least: str) -> Callable[[int], int]:
    """A check that a size is `least` or more."""

    def check(amount: int) -> int:
        if amount < units.size(least):
            raise Unfit(f"{units.human_size(amount)} is less than the {least} that it needs")
        return amount

    return check


def at_least_seconds(least: int) -> Callable[[int], int]:
    """A check that a duration is `least` seconds or more."""

    def check(amount: int) -> int:
        if amount < least:
            raise Unfit(f"{amount} s is less than the {least} s that it needs")
        return amount

    return check


def timezone(word: str) -> str:
    try:
        zoneinfo.ZoneInfo(word)
        return word
    except (KeyError, ValueError, OSError):
        known = zoneinfo.available_timezones()
    if not known:  # a container without tzdata
        return word
    near = nearest(word, sorted(known))
    raise Unfit(f"{word!r} is not a time zone", f"did you mean {near}?" if near else "such as Europe/Rome")
