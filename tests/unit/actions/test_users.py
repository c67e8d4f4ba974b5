"""People, before anybody is asked about them."""

from __future__ import annotations

import pytest

from occamctl.actions import users
from occamctl.errors import SpecError


@pytest.mark.parametrize(
    ("username", "fix"),
    [
        ("course", "it stands for the course itself, the owner of what is shared"),
        ("a b", "start with a letter or digit, then letters, digits and - _ . @ +"),
    ],
)
def test_a_name_that_cannot_be_one_is_refused_with_the_way_out(username: str, fix: str) -> None:
    with pytest.raises(SpecError, match="cannot be a user name") as caught:
        users.person(username)
    assert (caught.value.where, caught.value.fix, caught.value.exit_code) == (username, fix, 2)
