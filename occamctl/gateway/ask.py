"""One question to the gateway from inside its own container: how the command line reaches it, with no port open.

    echo '{"method": "GET", "path": "/status", "timeout": 20}' | python -m occamctl.gateway.ask

Standard input: one JSON object with method, path (below the API), body and timeout (seconds). Standard output: one with
status (0 when the gateway does not answer) and body. Nothing but the standard library, so that it starts at once.
"""

from __future__ import annotations

import json
import os
import sys
from http.client import HTTPConnection, HTTPException

PREFIX = "/services/gateway/api"
TOKEN = "/run/secrets/gateway-token"
SECONDS = 60


def ask(asked: dict[str, object], token: str, port: int = 8080) -> dict[str, object]:
    """The gateway's answer: {"status", "body"}."""
    body = asked.get("body")
    connection = HTTPConnection("127.0.0.1", port, timeout=float(str(asked.get("timeout") or SECONDS)))
    headers = {"Authorization": f"token {token}", "Content-Type": "application/json"}
    try:
        connection.request(
            str(asked.get("method", "GET")),
            PREFIX + str(asked["path"]),
            body=None if body is None else json.dumps(body),
            headers=headers,
        )
        answer = connection.getresponse()
        return {"status": answer.status, "body": json.loads(answer.read() or b"{}")}
    except (OSError, HTTPException, ValueError) as error:
        what = f"the gateway does not answer ({type(error).__name__}: {error})"
        said = {"what": what, "where": "", "fix": "see: occamctl logs gateway", "exit_code": 1}
        return {"status": 0, "body": {"error": said}}
    finally:
        connection.close()


def main() -> None:
    with open(os.environ.get("OCCAM_GATEWAY_TOKEN", TOKEN)) as file:
        token = file.read().strip()
    port = int(os.environ.get("OCCAM_GATEWAY_PORT", "8080"))
    json.dump(ask(json.load(sys.stdin), token, port), sys.stdout)


if __name__ == "__main__":
    main()
