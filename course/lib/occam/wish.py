"""What a student asks for, checked before anything is asked of the gateway. Pure."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from occam.errors import Refused

DEFAULT_WORKERS = 2
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([MG]?)(?:i?B)?", re.IGNORECASE)
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*([smh]?)")
_PACKAGE = re.compile(r"[\w.-]+:[\w.-]+:[\w.-]+")
_NOT_YOURS = ("spark.occam.", "spark.authenticate", "spark.network.crypto", "spark.driver.host", "spark.driver.port")
_GPU_KEYS = {"count", "model", "profile", "memory"}
Gpu = int | str | dict[str, Any] | None
_NOT_YOURS_EITHER = {"spark.master", "spark.driver.bindAddress", "spark.ui.port", "spark.ui.proxyBase"}
_ADAPTIVE = "adaptive=(1, 6)"
_INSTEAD = {
    "spark.executor.instances": "workers=4",
    "spark.executor.cores": "cores=2",
    "spark.executor.memory": 'memory="2G"',
    "spark.executor.memoryOverhead": 'memory="2G"',
    "spark.executor.resource.gpu.amount": "gpu=1",
    "spark.dynamicAllocation.enabled": _ADAPTIVE,
    "spark.dynamicAllocation.minExecutors": _ADAPTIVE,
    "spark.dynamicAllocation.maxExecutors": _ADAPTIVE,
    "spark.dynamicAllocation.initialExecutors": _ADAPTIVE,
}
"""Settings that would be Spark's alone: the gateway, which makes the workers, has to know what they say."""


@dataclass(frozen=True)
class Wish:
    """A cluster; what is left away is None or empty, and then means "the course's own", or "as it runs already".

    cores, memory  of one worker; memory in bytes
    conf           more of Spark's settings, jars and packages among them
    gpu            of each worker, as the gateway takes it: a number, a model or MIG profile, or {count, model, memory};
                   None: no GPU, or as it runs already
    adaptive       smallest and largest number of workers; None: a fixed number
    """

    name: str
    workers: int | None = None
    cores: int = 0
    memory: int = 0
    conf: Mapping[str, str] = field(default_factory=dict)
    gpu: Gpu = None
    adaptive: tuple[int, int] | None = None

    @classmethod
    def of(
        cls,
        name: str,
        workers: int | None = None,
        cores: int | None = None,
        memory: str | int | None = None,
        conf: Mapping[str, object] | None = None,
        *,
        packages: Iterable[str] = (),
        jars: Iterable[str] = (),
        gpu: Gpu = None,
        adaptive: tuple[int, int] | None = None,
    ) -> Wish:
        """Raises Refused for what can never be granted."""
        if not isinstance(name, str) or not name:
            raise Refused(f"name must be a text, not {name!r}")
        if not isinstance(conf or {}, Mapping) or not all(isinstance(key, str) for key in conf or {}):
            raise Refused(f"conf={conf!r} is no set of settings", 'write conf={"spark.sql.shuffle.partitions": 64}')
        for key in conf or {}:
            if key.startswith(_NOT_YOURS) or key in _NOT_YOURS_EITHER or key in _INSTEAD:
                instead = f"write {_INSTEAD[key]} in its place" if key in _INSTEAD else "leave it away"
                raise Refused(f"{key} belongs to the cluster and cannot be set", instead)
        settings = {key: _line(key, value) for key, value in (conf or {}).items()}
        return cls(
            name,
            None if workers is None else count("workers", workers),
            count("cores", cores) if cores else 0,
            size(memory),
            settings | _libraries(packages, jars),
            gpus(gpu),
            None if adaptive is None else bounds(adaptive),
        )

    @property
    def first_workers(self) -> int:
        """Workers to begin with."""
        if self.adaptive is None:
            return self.workers or DEFAULT_WORKERS
        low, high = self.adaptive
        return min(max(self.workers or low, low), high)

    def differences(self, other: Wish) -> list[str]:
        """What `other`, asked for now, says differently of a worker; what it leaves away is no difference."""
        mine, asked = (self.cores, self.memory, self.gpu), (other.cores, other.memory, other.gpu)
        wrong = [what for what, a, b in zip(("cores", "memory", "gpu"), mine, asked, strict=True) if b and a != b]
        return wrong + [key for key, value in other.conf.items() if self.conf.get(key) != value]

    def granted(self, said: Mapping[str, Any]) -> Wish:
        """The wish with the sizes that the gateway gave where none were named."""
        cores, memory = self.cores or int(said.get("cores") or 0), self.memory or int(said.get("memory") or 0)
        return replace(self, workers=self.first_workers, cores=cores, memory=memory)

    def request(self, host: str, port: int, ui_port: int, kernel: str) -> dict[str, Any]:
        """The body of the request to the gateway; the driver will listen on `host` and `port`, its UI on `ui_port`."""
        asked: dict[str, Any] = {"cores": self.cores, "memory": self.memory, "gpu": self.gpu}
        asked["adaptive"] = list(self.adaptive) if self.adaptive else None
        where = {"driver": "notebook", "driver_host": host, "driver_port": port, "ui_port": ui_port, "kernel": kernel}
        return {"name": self.name, "workers": self.first_workers, **{k: v for k, v in asked.items() if v}, **where}

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Wish:
        return cls(**{**said, "adaptive": tuple(said["adaptive"]) if said.get("adaptive") else None})


def size(text: str | int | None) -> int:
    """Bytes in "2G", "1500M" or a bare number of bytes; 0 for None. Raises Refused."""
    if text is None:
        return 0
    found = _SIZE.fullmatch(str(text).strip())
    if not found:
        raise Refused(f"{text!r} is not a size", 'write "2G" or "1500M"')
    return int(float(found[1]) * {"": 1, "M": 1 << 20, "G": 1 << 30}[found[2].upper()])


def seconds(text: str | float) -> float:
    """Seconds in "90s", "5m", "1h" or a bare number of seconds. Raises Refused."""
    found = None if isinstance(text, bool) else _TIME.fullmatch(str(text).strip())
    if not found:
        raise Refused(f"{text!r} is not a time", 'write "90s" or "5m"')
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def bounds(adaptive: object) -> tuple[int, int]:
    """The smallest and the largest number of workers. Raises Refused."""
    if not isinstance(adaptive, (tuple, list)) or len(adaptive) != 2:
        raise Refused(f"adaptive must be two numbers, not {adaptive!r}", "write adaptive=(1, 6)")
    low, high = count("adaptive", adaptive[0], least=0), count("adaptive", adaptive[1])
    if low > high:
        raise Refused(f"adaptive=({low}, {high}): the smaller number comes first", f"write adaptive=({high}, {low})")
    return low, high


def count(what: str, value: object, *, least: int = 1, fix: str = "") -> int:
    """A whole number of at least `least`, one of NumPy's too. Raises Refused."""
    try:
        number = least - 1 if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = least - 1
    if number < least:
        raise Refused(f"{what} must be a whole number of at least {least}, not {value!r}", fix)
    return number


def gpus(said: object) -> Gpu:
    """1, "A100", "1g.10gb" or {"count": 2, "memory": "40G"}; None for none. Raises Refused."""
    if said is None or said is False or (isinstance(said, int) and said == 0):
        return None
    if said is True:
        return 1
    if isinstance(said, int):
        return count("gpu", said)
    if isinstance(said, str) and said.strip():
        return said.strip()
    if isinstance(said, Mapping) and said and set(said) <= _GPU_KEYS:
        return {str(key): value for key, value in said.items()}
    raise Refused(
        f"gpu={said!r} is no GPU", 'write gpu=1, gpu="A100", gpu="1g.10gb" or gpu={"count": 2, "memory": "40G"}'
    )


def _libraries(packages: Iterable[str], jars: Iterable[str]) -> dict[str, str]:
    """Java libraries, as Spark's settings: it fetches packages itself; executors get all of them from the driver."""
    for what, given, example in (("packages", packages, "group:artifact:version"), ("jars", jars, "mine.jar")):
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise Refused(f"{what} must be a list, not {given!r}", f'write {what}=["{example}"]')
    coordinates, files = list(packages), [_jar(one) for one in jars]
    for one in coordinates:
        if not isinstance(one, str) or not _PACKAGE.fullmatch(one):
            raise Refused(f"{one!r} is not a package", 'write "group:artifact:version"')
    named = {"spark.jars.packages": ",".join(coordinates), "spark.jars": ",".join(files)}
    return {key: value for key, value in named.items() if value}


def _jar(where: object) -> str:
    text = str(where)
    if re.match(r"[a-z0-9]+://", text):
        return _line("jars", text)
    file = Path(text).expanduser().absolute()
    if "," in text or not file.is_file():
        raise Refused(f"there is no file {text!r}", "give the path of a jar in your home")
    return _line("jars", file)


def _line(key: str, value: object) -> str:
    """A setting as Spark spells it; it must not be able to add another line to the file."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if "\n" in text or "\r" in text or not re.fullmatch(r"[\w.-]+", key):
        raise Refused(f"{key!r} = {text!r} cannot be a setting of Spark")
    return text
