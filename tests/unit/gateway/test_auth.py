"""Who may do what."""

from __future__ import annotations

import pytest

from occamctl.errors import DoesNotFit, EngineError, OccamError, Refused, SpecError, TookTooLong
from occamctl.gateway.auth import Who
from occamctl.gateway.refusals import NotAllowed, NotKnown, NoToken, status_of

STUDENT, INSTRUCTOR, OPERATOR = Who("anna"), Who("prof", groups=frozenset({"instructor"})), Who("operator", admin=True)


@pytest.mark.parametrize(
    ("who", "owner", "may"),
    [
        (STUDENT, "anna", True),
        (STUDENT, "bob", False),
        (STUDENT, "Anna", False),
        (STUDENT, "course", False),
        (INSTRUCTOR, "course", True),
        (INSTRUCTOR, "anna", False),
        (OPERATOR, "anna", True),
        (OPERATOR, "course", True),
    ],
)
def test_ownership(who: Who, owner: str, may: bool) -> None:
    if may:
        who.must_own(owner)
    else:
        with pytest.raises(NotAllowed):
            who.must_own(owner)


@pytest.mark.parametrize(
    ("who", "owner", "may"),
    [
        (STUDENT, "anna", True),
        (STUDENT, "bob", False),
        (STUDENT, "course", False),
        (INSTRUCTOR, "course", True),
        (INSTRUCTOR, "anna", True),
        (OPERATOR, "anna", True),
    ],
)
def test_who_looks_after_clusters(who: Who, owner: str, may: bool) -> None:
    if may:
        who.must_tend(owner)
    else:
        with pytest.raises(NotAllowed):
            who.must_tend(owner)


def test_nobody_who_signs_in_is_the_operator() -> None:
    OPERATOR.must_be_admin()
    for who in (STUDENT, INSTRUCTOR):
        with pytest.raises(NotAllowed):
            who.must_be_admin()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SpecError("x"), 400),
        (NoToken("x"), 401),
        (NotAllowed("x"), 403),
        (NotKnown("x"), 404),
        (DoesNotFit("x"), 409),
        (Refused("x"), 409),
        (EngineError("x"), 503),
        (TookTooLong("x"), 504),
        (OccamError("x"), 500),
    ],
)
def test_status(error: OccamError, status: int) -> None:
    assert status_of(error) == status
