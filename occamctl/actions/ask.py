"""The operator's questions to the gateway. It has no published port: each one is run in its own container, over the
connection that we have to the manager's engine."""

from __future__ import annotations

import json
from typing import Any, Literal

from occamctl.engine import swarm
from occamctl.engine.client import Engine
from occamctl.errors import EngineError, OccamError, from_dict
from occamctl.spec.names import Names

Method = Literal["GET", "PUT", "POST", "DELETE"]
NOT_FOUND = 404
SECONDS = 30
_GRACE = 15
"""Seconds that starting the question may take, beside the answer's own time."""


class NotThere(OccamError):
    """The gateway knows no such thing."""


class Gateway:
    """The gateway of one course. Paths are those of its API, such as `/users/anna/notebook`, already quoted.

    Each question raises the error that the gateway gave, NotThere for an unknown thing, and EngineError when the
    gateway does not answer. `timeout` is in seconds.
    """

    def __init__(self, engine: Engine, names: Names) -> None:
        self._engine, self._service = engine, names.gateway

    def get(self, path: str, body: object = None, timeout: float = SECONDS) -> Any:
        return self._ask("GET", path, body, timeout)

    def put(self, path: str, body: object = None, timeout: float = SECONDS) -> Any:
        return self._ask("PUT", path, body, timeout)

    def post(self, path: str, body: object = None, timeout: float = SECONDS) -> Any:
        return self._ask("POST", path, body, timeout)

    def delete(self, path: str, body: object = None, timeout: float = SECONDS) -> Any:
        return self._ask("DELETE", path, body, timeout)

    def _ask(self, method: Method, path: str, body: object, timeout: float) -> Any:
        question = json.dumps({"method": method, "path": path, "body": body, "timeout": timeout}).encode()
        command = ["python", "-m", "occamctl.gateway.ask"]
        code, out, err = self._engine.exec(self._container(), command, question, seconds=timeout + _GRACE)
        try:
            answer = json.loads(out)
            status, said = answer["status"], answer["body"]
        except (ValueError, KeyError, TypeError):
            words = err.decode(errors="replace").strip().splitlines()
            raise EngineError(
                f"the gateway gave no answer ({words[-1] if words else f'exit status {code}'})",
                where=self._engine.name,
                fix="see: occamctl logs gateway",
            ) from None
        if 200 <= status < 300:  # 0: there was no answer
            return said
        raise _failure(status, said)

    def _container(self) -> str:
        for task in swarm.tasks(self._engine, service_name=self._service):
            if task.state == "running" and task.wanted == "running":
                return task.container_id
        raise EngineError("the gateway is not running", where=self._engine.name, fix="run: occamctl course up")


def _failure(status: int, said: Any) -> OccamError:
    error = said.get("error") if isinstance(said, dict) else None
    if not isinstance(error, dict):
        return EngineError(f"the gateway answered {status}", fix="see: occamctl logs gateway")
    failure = from_dict(error)
    return NotThere(failure.what, where=failure.where, fix=failure.fix) if status == NOT_FOUND else failure
