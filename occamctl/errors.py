"""Everything that occamctl tells a person went wrong, and the exit code each kind has.

    OccamError                 1   failed
    ├── SpecError              2   usage, course file or roster
    ├── HostError              3   a host cannot be reached or used
    ├── DoesNotFit             4   not enough resources, or over quota
    ├── Refused                5   it would lose work, or is not safe
    ├── Busy                   6   somebody else holds the lock
    ├── PartlyDone             7   run it again
    ├── EngineError            1   the Docker engine said no
    └── TookTooLong            1   a deadline passed

Interrupted (Ctrl-C) is 130. Any other exception that reaches a person is a bug of ours.
"""

from __future__ import annotations

from collections.abc import Sequence

INTERRUPTED = 130


class OccamError(Exception):
    """One line for a person: `what` happened, `where`, and how to `fix` it."""

    exit_code = 1
    others: Sequence[OccamError] = ()
    """What else is wrong (in the same file, on other hosts); a person hears all of it at once."""

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.fix = what, where, fix

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        return f"{line} ({self.fix})" if self.fix else line

    def as_dict(self) -> dict[str, str | int]:
        """The error as the gateway's API and `-o json` give it."""
        return {"what": self.what, "where": self.where, "fix": self.fix, "exit_code": self.exit_code}


class SpecError(OccamError):
    """The course file, the roster or the command line is wrong."""

    exit_code = 2


class HostError(OccamError):
    """A host cannot be reached or used."""

    exit_code = 3


class DoesNotFit(OccamError):
    """Not enough resources, or more than a quota allows."""

    exit_code = 4


class Refused(OccamError):
    """It would lose somebody's work, or is not safe."""

    exit_code = 5


class Busy(OccamError):
    """Somebody else holds the lock."""

    exit_code = 6


class PartlyDone(OccamError):
    """Some of it is done; running the same command again goes on."""

    exit_code = 7


class EngineError(OccamError):
    """The Docker engine refused or failed."""


class TookTooLong(OccamError):
    """A deadline passed; the message says what was waited for and what was last seen."""


BY_EXIT_CODE: dict[int, type[OccamError]] = {
    kind.exit_code: kind for kind in (OccamError, SpecError, HostError, DoesNotFit, Refused, Busy, PartlyDone)
}


def from_dict(said: dict[str, object]) -> OccamError:
    """The error that `as_dict` described, as the same class (the other side of the gateway's API)."""
    code = said.get("exit_code")
    kind = BY_EXIT_CODE.get(code if isinstance(code, int) else 1, OccamError)
    return kind(str(said.get("what", "failed")), where=str(said.get("where", "")), fix=str(said.get("fix", "")))
