"""What a student asks for, checked before anything is asked of the gateway. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from occam.errors import Refused

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([MG]?)(?:i?B)?", re.IGNORECASE)
_NOT_YOURS = ("spark.occam.", "spark.authenticate", "spark.network.crypto", "spark.driver.host", "spark.driver.port")
_NOT_YOURS_EITHER = {"spark.master", "spark.driver.bindAddress", "spark.ui.port", "spark.ui.proxyBase"}


@dataclass(frozen=True)
class Wish:
    """A cluster: `cores` and `memory` (bytes) of one worker, 0 for the course's own size; more of Spark's settings."""

    name: str
    workers: int
    cores: int = 0
    memory: int = 0
    conf: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, name: str, workers: int, cores: int | None, memory: str | int | None, conf: Mapping[str, object]
    ) -> Wish:
        """Raises Refused for what can never be granted."""
        if not isinstance(name, str) or not name:
            raise Refused(f"name must be a text, not {name!r}")
        for key in conf:
            if key.startswith(_NOT_YOURS) or key in _NOT_YOURS_EITHER:
                raise Refused(f"{key} belongs to the cluster and cannot be set", "leave it away")
        settings = {key: _line(key, value) for key, value in conf.items()}
        return cls(
            name, _count("workers", workers), _count("cores", cores or 1) if cores else 0, size(memory), settings
        )

    def same_size(self, other: Wish) -> bool:
        """Whether the two differ in nothing but the number of workers."""
        return (self.cores, self.memory, self.conf) == (other.cores, other.memory, other.conf)

    def request(self, host: str, port: int, kernel: str) -> dict[str, Any]:
        """The body of the request to the gateway; the driver will listen on `host` and `port`."""
        size = {key: value for key, value in (("cores", self.cores), ("memory", self.memory)) if value}
        where = {"driver": "notebook", "driver_host": host, "driver_port": port, "kernel": kernel}
        return {"name": self.name, "workers": self.workers, **size, **where}


def size(text: str | int | None) -> int:
    """Bytes in "2G", "1500M" or a bare number of bytes; 0 for None. Raises Refused."""
    if text is None:
        return 0
    found = _SIZE.fullmatch(str(text).strip())
    if not found:
        raise Refused(f"{text!r} is not a size", 'write "2G" or "1500M"')
    return int(float(found[1]) * {"": 1, "M": 1 << 20, "G": 1 << 30}[found[2].upper()])


def _count(what: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise Refused(f"{what} must be a whole number of at least 1, not {value!r}")
    return value


def _line(key: str, value: object) -> str:
    """A setting as Spark spells it; it must not be able to add another line to the file."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if "\n" in text or "\r" in text or not re.fullmatch(r"[\w.-]+", key):
        raise Refused(f"{key!r} = {text!r} cannot be a setting of Spark")
    return text
