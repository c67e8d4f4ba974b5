"""What the gateway is told when it starts: /etc/occam/gateway.json, and where its secret and its engine are."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from occamctl.errors import SpecError
from occamctl.gateway.gpu_idle import GRACE
from occamctl.gateway.quotas import Quotas
from occamctl.spark.clusters import Site
from occamctl.spec import names

FILE = Path("/etc/occam/gateway.json")
PORT = 8080
SERVICE = "gateway"
"""Its name among JupyterHub's services."""
PAGE = f"/services/{SERVICE}/"
"""Where a browser finds its page, and below it everything else."""
PREFIX = f"{PAGE}api"


@dataclass(frozen=True)
class Settings:
    """The gateway's settings. Memory in bytes, times in seconds."""

    course: str
    version: str
    hub_api: str
    hub_net: str
    pool: str
    hub_subnet: str
    image: str
    notebook_cpus: float
    notebook_memory: int
    worker_cpus: int
    worker_memory: int
    quotas: Quotas
    lease: int = 60
    idle_timeout: int = 1800
    gpu_image: str = ""
    """Of containers with GPUs; "": as of the others."""
    gpu_idle_timeout: int = 1800
    gpu_idle_utilization: float = 5
    """Percent."""
    gpu_grace: int = GRACE
    """Seconds at least between the announcement that GPUs are taken back, and the end."""
    material: str = ""
    """The git repository that notebooks pull material from; "": there is none."""
    port: int = PORT
    engine: str = "/var/run/docker.sock"
    secrets: Path = Path("/run/secrets")
    kept_after: int = 0
    """For a gateway outside of the course's network: seconds of running after which a home counts as used. 0: when its
    notebook's server answers, which is certain; a home that counts as used too early could never be opened."""

    @property
    def names(self) -> names.Names:
        return names.Names(self.course)

    @property
    def url(self) -> str:
        """The API as containers of the course see it."""
        return f"http://tasks.{self.names.gateway}:{PORT}{PREFIX}"

    @property
    def site(self) -> Site:
        return Site(self.course, self.image, self.url, self.hub_net, self.gpu_image)

    def token(self) -> str:
        """The token of hub and operator. Raises SpecError when the secret is not there."""
        try:
            token = (self.secrets / "gateway-token").read_text().strip()
        except OSError as error:
            raise SpecError(
                f"cannot read the secret gateway-token: {error.strerror}", where=str(self.secrets)
            ) from None
        if not token:
            raise SpecError("the secret gateway-token is empty", where=str(self.secrets))
        return token


def read(path: Path | None = None) -> Settings:
    """The settings in `path`, else in $OCCAM_GATEWAY_JSON, else in /etc/occam/gateway.json. Raises SpecError."""
    path = path or Path(os.environ.get("OCCAM_GATEWAY_JSON", FILE))
    try:
        return _settings(json.loads(path.read_text()))
    except OSError as error:
        raise SpecError(f"cannot read: {error.strerror}", where=str(path)) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SpecError(f"not a gateway's settings: {error!r}", where=str(path)) from None


def _settings(told: Mapping[str, Any]) -> Settings:
    spark = told["spark"]
    return Settings(
        course=told["course"],
        version=told["version"],
        hub_api=told["hub_api"].rstrip("/"),
        hub_net=told["hub_net"],
        pool=told["network"]["pool"],
        hub_subnet=told["network"]["hub_subnet"],
        image=told["images"]["notebook"],
        gpu_image=told["images"].get("gpu", ""),
        notebook_cpus=float(told["notebook"]["cpu_limit"]),
        notebook_memory=int(told["notebook"]["mem_limit"]),
        worker_cpus=int(spark["worker"]["cpus"]),
        worker_memory=int(spark["worker"]["memory"]),
        lease=int(spark["lease"]),
        idle_timeout=int(spark["idle_timeout"]),
        gpu_idle_timeout=int(told["notebook"].get("gpu_idle_timeout", Settings.gpu_idle_timeout)),
        gpu_idle_utilization=float(told["notebook"].get("gpu_idle_utilization", Settings.gpu_idle_utilization)),
        gpu_grace=int(told.get("gpu_grace", GRACE)),
        quotas=Quotas.of(told["quotas"]),
        material=str(told.get("material", "")),
        port=int(told.get("port", PORT)),
        engine=told.get("engine", "/var/run/docker.sock"),
        secrets=Path(told.get("secrets", "/run/secrets")),
        kept_after=int(told.get("kept_after", 0)),
    )
