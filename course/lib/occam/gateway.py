"""The gateway's REST interface, as one student sees it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

from occam.errors import NotReached, Refused, from_answer

# The gateway is beside the notebook; a proxy for the outside world must not see these requests.
_open = build_opener(ProxyHandler({})).open


@dataclass(frozen=True)
class Gateway:
    """Where the gateway is, and whose token opens it."""

    url: str
    user: str
    token: str

    def page(self, port: int) -> str:
        """Where the Spark UI on `port` of the notebook is in the student's browser, through the hub."""
        prefix = os.environ.get("JUPYTERHUB_SERVICE_PREFIX") or f"/user/{self.user}/"
        return f"{prefix.rstrip('/')}/proxy/{port}"

    def ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, timeout: float = 15, owner: str = ""
    ) -> Any:
        """The JSON that the gateway answers. `path` is below the user's own, such as clusters/lab, or below `owner`'s.

        timeout  seconds

        Raises NotReached, Refused, NotEnough.
        """
        url = f"{self.url.rstrip('/')}/users/{piece(owner or self.user)}/{path}"
        headers = {"Authorization": f"token {self.token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        try:
            with _open(Request(url, data=data, method=method, headers=headers), timeout=timeout) as said:
                return _parsed(said.read())
        except HTTPError as error:
            said = _parsed(error.read())
            raise from_answer(error.code, said if isinstance(said, dict) else {}) from None
        except (URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise NotReached(
                f"the course's gateway does not answer ({reason})",
                "try again in a minute; if it stays so, tell your instructor",
            ) from None


def piece(text: object) -> str:
    """`text` as one piece of a path, or one value of a query, whatever characters it has."""
    return quote(str(text), safe="")


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text or b"{}")
    except ValueError:
        return {}


def here() -> Gateway:
    """The gateway of the notebook that this kernel belongs to. Raises Refused outside of a course's notebook."""
    user = os.environ.get("OCCAM_USER") or os.environ.get("JUPYTERHUB_USER")
    url, token = os.environ.get("OCCAM_GATEWAY_URL"), _token()
    if user and url and token:
        return Gateway(url, user, token)
    raise Refused("this is not a notebook of a course", "sign in to the course, and open it there")


def _token() -> str:
    """The student's token: in a file that the container's entrypoint writes, or in JupyterHub's own variable."""
    file = Path(os.environ.get("OCCAM_TOKEN_FILE", ""))
    return file.read_text().strip() if file.is_file() else os.environ.get("JUPYTERHUB_API_TOKEN", "")
