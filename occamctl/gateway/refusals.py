"""Errors that only the gateway's API knows, and the HTTP status of every kind of error."""

from __future__ import annotations

from occamctl.errors import Busy, DoesNotFit, EngineError, HostError, OccamError, Refused, SpecError, TookTooLong


class NotKnown(OccamError):
    """There is no such cluster, notebook, user or path."""


class NoToken(OccamError):
    """No token, or one that nobody knows."""


class NeverFits(DoesNotFit):
    """No waiting brings it: the course does not have it at all."""


class NotAllowed(Refused):
    """The token's owner may not do this."""


_STATUS: dict[type[OccamError], int] = {
    SpecError: 400,
    NoToken: 401,
    NotAllowed: 403,
    NotKnown: 404,
    DoesNotFit: 409,
    Refused: 409,
    Busy: 409,
    EngineError: 503,
    HostError: 503,
    TookTooLong: 504,
}


def status_of(error: OccamError) -> int:
    """The HTTP status for `error`: that of its nearest kind."""
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 500)
