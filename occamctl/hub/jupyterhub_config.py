"""JupyterHub's configuration, made of /etc/occam/hub.json: `jupyterhub -f` reads this file."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from occamctl.hub import roles, settings
from occamctl.hub.accounts import Accounts
from occamctl.hub.addresses import SystemNames

if TYPE_CHECKING:

    def get_config() -> Any: ...


DAY = 86400

os.umask(0o077)  # the database holds hashes of tokens
hub = settings.read()
c = get_config()  # JupyterHub gives it to this file


def _kept_token(path: Path) -> str:
    """A token that is made once and stays in the hub's volume, for the hub's container alone."""
    if not path.exists():
        made = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(made, "w") as file:
            file.write(secrets.token_hex(32))
    return path.read_text().strip()


# Where it listens: behind a proxy that is another container and outlives the hub.
c.JupyterHub.hub_bind_url = hub.bind_url
c.JupyterHub.hub_connect_url = hub.hub_url
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = hub.proxy_api
c.ConfigurableHTTPProxy.auth_token = hub.secret("proxy-token")
c.JupyterHubHTTPClient.connector_options = {"resolver": SystemNames(), "use_dns_cache": False}
c.JupyterHub.last_activity_interval = 5
"""Seconds; routes are compared at the same time, so a proxy that restarted has them back so soon."""

# What a restart of the hub must not touch.
c.JupyterHub.cleanup_servers = False
c.JupyterHub.cleanup_proxy = False
c.JupyterHub.shutdown_on_logout = False
c.JupyterHub.db_url = f"sqlite:///{hub.data}/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = f"{hub.data}/cookie-secret"
c.JupyterHub.init_spawners_timeout = 1

# Who comes in, and what they may do.
c.JupyterHub.authenticator_class = "occamctl.hub.auth.RosterAuthenticator"
c.RosterAuthenticator.accounts_file = str(hub.accounts)
c.Authenticator.allow_all = True  # whom `authenticate` lets in
c.Authenticator.allowed_users = set(Accounts(hub.accounts).people())  # known before they sign in, for the gateway
c.Authenticator.manage_groups = True
c.Authenticator.auth_refresh_age = 30
c.Authenticator.auth_refresh_strict = True  # who left the roster has no use of an old token either
c.Authenticator.refresh_pre_spawn = True
c.JupyterHub.cookie_max_age_days = 7
c.JupyterHub.oauth_token_expires_in = 7 * DAY
c.JupyterHub.token_expires_in_max_seconds = 30 * DAY
c.JupyterHub.load_roles = roles.roles()
c.JupyterHub.services = [
    {
        "name": roles.GATEWAY,
        "url": hub.gateway_url.partition("/services/")[0],
        "api_token": hub.secret("gateway-token"),
        "oauth_no_confirm": True,
        "display": False,
    },
    {"name": roles.ROSTER, "api_token": _kept_token(hub.roster_token), "display": False},
]
if hub.idle_timeout:
    culler, its_role = roles.culler(hub.idle_timeout)
    c.JupyterHub.services.append(culler)
    c.JupyterHub.load_roles.append(its_role)

# Notebooks.
c.JupyterHub.spawner_class = "occamctl.hub.spawner.OccamSpawner"
c.JupyterHub.allow_named_servers = False
c.JupyterHub.active_server_limit = 0
c.JupyterHub.concurrent_spawn_limit = 200
c.OccamSpawner.gateway_url = hub.gateway_url
c.OccamSpawner.gateway_token = hub.secret("gateway-token")
c.Spawner.ip = "0.0.0.0"
c.Spawner.port = 8888
c.Spawner.default_url = "/lab"
c.Spawner.start_timeout = hub.start_timeout
# Also how long a busy notebook may stay silent when the hub comes back, before the hub gives it up and stops it.
c.Spawner.http_timeout = 120
c.Spawner.poll_interval = 20
c.Spawner.env_keep = []
c.Spawner.server_token_scopes = list(roles.NOTEBOOK_TOKEN)

# Pages.
c.JupyterHub.template_paths = [str(Path(__file__).parent / "pages")]
c.JupyterHub.template_vars = {"course": hub.course, "course_title": hub.title}
