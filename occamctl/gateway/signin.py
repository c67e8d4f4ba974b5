"""Sign-in on the gateway's page: JupyterHub's own OAuth, told by our settings instead of an environment.

The hub decides who somebody is. Its token stays in a signed cookie of the browser; what it says of the token counts
for as long as an answer about a token of the API does.
"""

from __future__ import annotations

import hashlib
import hmac
import logging

from aiohttp import ClientTimeout
from aiohttp.resolver import ThreadedResolver
from jupyterhub.httpclient import JupyterHubHTTPClient
from jupyterhub.services.auth import HubOAuth

from occamctl.gateway.auth import REMEMBERED
from occamctl.gateway.settings import PAGE, SERVICE, Settings

_SECONDS = 30
COOKIES = {"samesite": "Lax", "httponly": True}


def sign_in(settings: Settings) -> HubOAuth:
    """What asks the hub who has a cookie. Only inside of an event loop, which JupyterHub's client belongs to."""
    # JupyterHub's client would keep a replaced hub's old address for ten minutes, and wait five for an answer.
    JupyterHubHTTPClient.instance(
        connector_options={"resolver": ThreadedResolver(), "use_dns_cache": False},
        session_options={"timeout": ClientTimeout(total=_SECONDS)},
    )
    # It would log every browser's session id.
    logging.getLogger("tornado.application").setLevel(logging.WARNING)
    return HubOAuth(
        api_url=settings.hub_api,
        api_token=settings.token(),
        hub_host="",
        hub_prefix="/hub/",
        base_url=PAGE,
        oauth_client_id=f"service-{SERVICE}",
        oauth_redirect_uri=f"{PAGE}oauth_callback",
        oauth_authorization_url="/hub/api/oauth2/authorize",
        access_scopes={f"access:services!service={SERVICE}"},
        cache_max_age=REMEMBERED,
        allow_token_in_url=False,
        cookie_options={"samesite": COOKIES["samesite"], "expires_days": None},
    )


def cookie_secret(settings: Settings) -> str:
    """What signs the page's cookies: the same after a restart, so that a page that is open can still be used."""
    return hmac.new(settings.token().encode(), b"cookies of the page", hashlib.sha256).hexdigest()
