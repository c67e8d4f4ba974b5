"""Networks, secrets and configs of a Swarm: functions that ensure a state and can be called twice.

Every function takes the `Engine` of a manager node.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from docker.errors import APIError, NotFound

from occamctl import wait
from occamctl.engine.client import Engine, speaking_to
from occamctl.engine.ownership import Change, by_label, must_be_ours
from occamctl.errors import EngineError, TookTooLong
from occamctl.plan import desired

ALLOCATION_SECONDS = 10


def networks(engine: Engine, labels: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Networks as the engine describes them; all of them without `labels`."""
    with speaking_to(engine.name):
        return list(engine.api.networks(filters=by_label(labels) if labels else None))


def ensure_network(engine: Engine, network: desired.Network) -> Change:
    """An attachable overlay with this name, allocated. Raises EngineError when the name is somebody else's.

    Twice, on a busy machine, a service made right after its network stayed "new" for ever. The cause is not proved;
    an allocation that was not done yet is the likely one (see moby#36699). So the network's VXLAN number is waited for,
    and a network that gets none is made again.
    """
    with speaking_to(engine.name):
        there = _network(engine, network.name)
        if there is not None:
            must_be_ours(there.get("Labels"), network.labels, f"network {network.name}", engine.name)
            return "unchanged"
    for last in (False, True):
        with speaking_to(engine.name):
            engine.api.create_network(
                network.name,
                driver="overlay",
                ipam={"Driver": "default", "Config": [{"Subnet": network.subnet}]},
                labels=dict(network.labels),
                attachable=True,
                check_duplicate=True,
            )
        try:
            wait.until(
                lambda: _allocated(engine, network.name),
                bool,
                f"allocation of network {network.name}",
                seconds=ALLOCATION_SECONDS,
                every=0.02,
                describe=lambda _: "not allocated",
            )
        except TookTooLong:
            if last:
                raise
            remove_network(engine, network.name)
        else:
            break
    return "created"


def _network(engine: Engine, name: str) -> dict[str, Any] | None:
    return next((one for one in engine.api.networks(names=[name]) if one["Name"] == name), None)


def _allocated(engine: Engine, name: str) -> bool:
    with speaking_to(engine.name):
        there = _network(engine, name) or {}
    return bool((there.get("Options") or {}).get("com.docker.network.driver.overlay.vxlanid_list"))


def remove_network(engine: Engine, name: str, *, seconds: float = 60) -> bool:
    """Remove it and wait until no list shows it; tasks just gone keep it in use for a while (moby#31068)."""

    def gone() -> str:
        with speaking_to(engine.name):
            found = [there["Id"] for there in engine.api.networks(names=[name]) if there["Name"] == name]
            for number in found:
                try:
                    engine.api.remove_network(number)
                except NotFound:
                    return ""
                except APIError as error:
                    return str(error.explanation)
        return "" if not found else "still listed"

    first = gone()
    if first:
        wait.until(gone, lambda seen: not seen, f"removal of network {name} on {engine.name}", seconds=seconds)
    return True


def secrets(engine: Engine, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    with speaking_to(engine.name):
        return list(engine.api.secrets(filters=by_label(labels)))


def configs(engine: Engine, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    with speaking_to(engine.name):
        return list(engine.api.configs(filters=by_label(labels)))


def ensure_secret(engine: Engine, secret: desired.Secret) -> Change:
    """A secret with this name. What is in it cannot be read back, so one that is there stays as it is."""
    with speaking_to(engine.name):
        for there in engine.api.secrets(filters={"name": secret.name}):
            if there["Spec"]["Name"] == secret.name:
                must_be_ours(there["Spec"].get("Labels"), secret.labels, f"secret {secret.name}", engine.name)
                return "unchanged"
        engine.api.create_secret(secret.name, secret.data, labels=dict(secret.labels))
    return "created"


def ensure_config(engine: Engine, config: desired.Config) -> Change:
    """A config with this name; names carry a hash of the contents, so one that is there is right."""
    with speaking_to(engine.name):
        for there in engine.api.configs(filters={"name": config.name}):
            if there["Spec"]["Name"] == config.name:
                must_be_ours(there["Spec"].get("Labels"), config.labels, f"config {config.name}", engine.name)
                return "unchanged"
        engine.api.create_config(config.name, config.data, labels=dict(config.labels))
    return "created"


def remove_secret(engine: Engine, name: str) -> None:
    """Remove it; one that is not there is fine."""
    with speaking_to(engine.name):
        for there in engine.api.secrets(filters={"name": name}):
            if there["Spec"]["Name"] == name:
                _in_use_for_a_while(lambda number=there["ID"]: engine.api.remove_secret(number), f"secret {name}")


def relabel_secret(engine: Engine, name: str, labels: Mapping[str, str]) -> None:
    """Add or change labels of a secret: the one thing of it that may change. Raises EngineError when it is gone."""
    with speaking_to(engine.name):
        found = [one for one in engine.api.secrets(filters={"name": name}) if one["Spec"]["Name"] == name]
        if not found:
            raise EngineError(f"secret {name} is gone", where=engine.name)
        spec = {"Name": name, "Labels": {**(found[0]["Spec"].get("Labels") or {}), **labels}}
        url = engine.api._url("/secrets/{0}/update", found[0]["ID"])
        done = engine.api._post_json(url, data=spec, params={"version": found[0]["Version"]["Index"]})
        engine.api._raise_for_status(done)


def remove_config(engine: Engine, name: str) -> None:
    """Remove it; one that is not there is fine."""
    with speaking_to(engine.name):
        for there in engine.api.configs(filters={"name": name}):
            if there["Spec"]["Name"] == name:
                _in_use_for_a_while(lambda number=there["ID"]: engine.api.remove_config(number), f"config {name}")


def _in_use_for_a_while(remove: Any, what: str) -> None:
    def tried() -> str:
        try:
            remove()
        except NotFound:
            return ""
        except APIError as error:
            return str(error.explanation)
        return ""

    wait.until(tried, lambda seen: not seen, f"removal of {what}", seconds=30)
