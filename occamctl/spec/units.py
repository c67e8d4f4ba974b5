"""Durations (`90s 30m 2h 7d`) and sizes (`512M 4G`) as the course file writes them."""

from __future__ import annotations

import re

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def seconds(text: str | int) -> int:
    """Seconds in `90s`, `30m`, `2h`, `7d` or a bare number of seconds. Raises ValueError."""
    found = re.fullmatch(r"([0-9]{1,9})\s*([smhd]?)", str(text).strip())
    if not found:
        raise ValueError(f"{text!r} is not a duration such as 90s, 30m, 2h or 7d")
    return int(found[1]) * _SECONDS[found[2] or "s"]


def size(text: str | int) -> int:
    """Bytes in `512M`, `4G` or a bare number of bytes; powers of 1024, as in Docker. Raises ValueError."""
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([KMGT]?)(?:i?B)?", str(text).strip(), re.IGNORECASE)
    if not found:
        raise ValueError(f"{text!r} is not a size such as 512M or 4G")
    return int(float(found[1]) * _BYTES[found[2].upper()])


def human_seconds(amount: int) -> str:
    """`7200` as `2h`, `90` as `90s`."""
    for unit in ("d", "h", "m"):
        if amount and amount % _SECONDS[unit] == 0:
            return f"{amount // _SECONDS[unit]}{unit}"
    return f"{amount}s"


def human_size(amount: int) -> str:
    """`2147483648` as `2G`, `1610612736` as `1.5G`."""
    for unit in ("T", "G", "M", "K"):
        if amount >= _BYTES[unit]:
            return f"{amount / _BYTES[unit]:.1f}".removesuffix(".0") + unit
    return f"{amount}B"
