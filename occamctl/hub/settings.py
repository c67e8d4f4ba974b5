"""What the hub is told when it starts: /etc/occam/hub.json, and where its secrets and its data are."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from occamctl.errors import SpecError

FILE = Path("/etc/occam/hub.json")


@dataclass(frozen=True)
class Settings:
    """The hub's settings; every address is as seen from inside the course's network."""

    course: str
    title: str
    gateway_url: str
    hub_url: str
    proxy_api: str
    idle_timeout: int = 7200
    """Seconds without activity after which a notebook is stopped; 0 means never."""
    start_timeout: int = 180
    """Seconds that a notebook may take to start."""
    secrets: Path = Path("/run/secrets")
    data: Path = Path("/srv/hub")
    bind_url: str = "http://0.0.0.0:8081"

    @property
    def accounts(self) -> Path:
        return self.data / "accounts.json"

    @property
    def roster_token(self) -> Path:
        """The token with which `accounts` makes and removes the hub's users; it never leaves the hub's container."""
        return self.data / "roster-token"

    def secret(self, name: str) -> str:
        """Contents of the secret `name`. Raises SpecError when it is not there."""
        try:
            return (self.secrets / name).read_text().strip()
        except OSError as error:
            raise SpecError(f"cannot read the secret {name}: {error.strerror}", where=str(self.secrets)) from None


def read(path: Path | None = None) -> Settings:
    """The settings in `path`, else in $OCCAM_HUB_JSON, else in /etc/occam/hub.json. Raises SpecError."""
    path = path or Path(os.environ.get("OCCAM_HUB_JSON", FILE))
    try:
        told = json.loads(path.read_text())
        return Settings(
            course=told["course"],
            title=told.get("title") or told["course"],
            gateway_url=told["gateway_url"].rstrip("/"),
            hub_url=told["hub_url"].rstrip("/"),
            proxy_api=told["proxy_api"].rstrip("/"),
            idle_timeout=int(told.get("notebook", {}).get("idle_timeout", Settings.idle_timeout)),
            start_timeout=int(told.get("timeouts", {}).get("start", Settings.start_timeout)),
            secrets=Path(told.get("secrets", Settings.secrets)),
            data=Path(told.get("data", Settings.data)),
            bind_url=told.get("bind_url", Settings.bind_url),
        )
    except OSError as error:
        raise SpecError(f"cannot read: {error.strerror}", where=str(path)) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SpecError(f"not a hub's settings: {error!r}", where=str(path)) from None
