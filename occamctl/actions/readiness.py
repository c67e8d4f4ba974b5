"""Is the course there for a student? Asked as a student would come in: through the front door."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable

from occamctl import wait
from occamctl.actions.pieces import container_of
from occamctl.actions.session import Session, each
from occamctl.engine import walls
from occamctl.errors import EngineError
from occamctl.plan.wanted import LOCAL

Say = Callable[[str, str], None]
READY_SECONDS = 120
# Runs in the hub's container: through the proxy to the hub's sign-in page, and the gateway's own answer.
_LOOK = """
import json, ssl, sys, urllib.request
def ask(url):
    try:
        context = ssl._create_unverified_context()  # the certificate is for the public name, not for this one
        with urllib.request.urlopen(url, timeout=5, context=context) as answer:
            return answer.status
    except Exception as error:
        return f"{type(error).__name__}: {error}"
print(json.dumps({url: ask(url) for url in sys.argv[1:]}))
"""


def url(session: Session) -> str:
    """The address for students."""
    hub = session.course.hub
    if hub.url:
        return hub.url
    host = session.hosts[0]
    scheme = "https" if hub.tls else "http"
    return f"{scheme}://{_front(session, host)}:{hub.port}"


def _front(session: Session, host: str) -> str:
    """Where the manager's published port is reached; `hosts[].address` is for the hosts among themselves."""
    facts = session.facts.get(host)
    return "127.0.0.1" if host == LOCAL else (facts.address if facts else host)


def check(session: Session, say: Say) -> tuple[str, ...]:
    """Wait until the walls stand on every host, and sign-in page and gateway answer; returns warnings.

    Raises TookTooLong with what they said last.
    """
    _walls(session, say)
    say("", "waiting for the sign-in page")
    scheme = "https" if session.course.hub.tls else "http"
    front = f"{scheme}://tasks.{session.names.proxy}:8000/hub/login"
    gateway = f"http://tasks.{session.names.gateway}:8080/services/gateway/api/health"

    def look() -> dict[str, object]:
        container = container_of(session.manager, session.names.hub)
        if not container:
            return {"hub": "not running"}
        code, out, err = session.manager.exec(container, ["python", "-c", _LOOK, front, gateway], b"")
        if code:
            return {"hub": err.decode(errors="replace")[-200:]}
        answer: dict[str, object] = json.loads(out)
        return answer

    def tolerant() -> dict[str, object]:
        try:
            return look()
        except EngineError as error:
            return {"hub": str(error)}

    wait.until(
        tolerant,
        lambda seen: all(value == 200 for value in seen.values()),
        "the sign-in page and the gateway",
        seconds=READY_SECONDS,
        every=0.5,
        fix="see: occamctl logs hub; occamctl logs gateway",
    )
    return _from_here(session)


def _walls(session: Session, say: Say) -> None:
    """Every host shows the rules for containers: a keeper that runs may not have set them."""
    say("", "looking at the walls on every host")
    table, course = session.names.walls_table, session.course.course

    def bare() -> list[str]:
        """A host that cannot be asked counts: its keeper may have just been replaced."""
        standing, _ = each(session.hosts, lambda host: walls.stand(session.engine(host), course, table))
        return [host for host in session.hosts if not standing.get(host)]

    wait.until(
        bare,
        lambda seen: not seen,
        f"the rules for containers (nftables table {table})",
        seconds=READY_SECONDS,
        every=0.5,
        describe=lambda seen: f"not on {', '.join(seen)}",
        fix="see: occamctl logs walls",
    )


def _from_here(session: Session) -> tuple[str, ...]:
    """The published port, tried from this machine: a firewall between is worth a warning, no more."""
    address = _front(session, session.hosts[0])
    try:
        with socket.create_connection((address, session.course.hub.port), timeout=5):
            return ()
    except OSError as error:
        front = f"{address}:{session.course.hub.port}"
        return (f"{front} cannot be reached from this machine ({error}): is a firewall between?",)
