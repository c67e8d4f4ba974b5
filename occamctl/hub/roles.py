"""Who may ask the hub for what. Pure: `jupyterhub_config.py` hands it on.

A student reaches the own notebook and the gateway's API, an instructor sees and stops notebooks but opens nobody's,
and nobody who signs in is an administrator of the hub.
"""

from __future__ import annotations

from typing import Any

GATEWAY = "gateway"
ROSTER = "roster"
CULLER = "idle-culler"

NOTEBOOK_TOKEN = (
    "users:activity!user",
    "access:servers!server",
    "read:users:name!user",
    "read:users:groups!user",
    f"access:services!service={GATEWAY}",
)
"""Scopes of the token inside a notebook: who its owner is, and that the gateway may be asked; nothing of others."""

_INSTRUCTOR = ("admin-ui", "list:users", "read:users", "read:groups", "list:groups", "servers")
_OF_THE_GATEWAY = ("list:users", "read:users:name", "read:users:groups", "read:groups:name", "servers")
_OF_THE_CULLER = ("list:users", "read:users:activity", "read:servers", "delete:servers")


def roles() -> list[dict[str, Any]]:
    """JupyterHub's `load_roles`."""
    return [
        {"name": "user", "scopes": ["self", f"access:services!service={GATEWAY}"]},
        {"name": "instructor", "scopes": list(_INSTRUCTOR), "groups": ["instructor"]},
        {"name": GATEWAY, "scopes": list(_OF_THE_GATEWAY), "services": [GATEWAY]},
        {"name": ROSTER, "scopes": ["admin:users", "delete:servers"], "services": [ROSTER]},
    ]


def culler(seconds: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The service that stops notebooks idle for so many `seconds`, and its role."""
    import sys

    every = max(10, min(300, seconds // 3))
    command = [sys.executable, "-m", "jupyterhub_idle_culler", f"--timeout={seconds}", f"--cull-every={every}"]
    service = {"name": CULLER, "command": command, "display": False}
    return service, {"name": CULLER, "scopes": list(_OF_THE_CULLER), "services": [CULLER]}
