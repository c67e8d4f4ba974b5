"""Subnets of people's networks."""

from __future__ import annotations

import pytest

from occamctl.errors import DoesNotFit
from occamctl.gateway.subnets import free


@pytest.mark.parametrize(
    ("used", "found"),
    [
        (["10.186.0.0/22"], "10.186.4.0/26"),
        (["10.186.0.0/22", "10.186.4.0/26"], "10.186.4.64/26"),
        (["10.186.0.0/22", "10.186.4.64/26"], "10.186.4.0/26"),
        (["10.186.0.0/22", "10.186.4.32/30"], "10.186.4.64/26"),  # somebody's small network in the middle
        (["10.0.0.0/8"], None),
        (["172.17.0.0/16", "fd00::/64"], "10.186.0.0/26"),
        (["10.186.4.1/26", "10.186.0.0/22"], "10.186.4.64/26"),  # written with a host's address
    ],
)
def test_free(used: list[str], found: str | None) -> None:
    if found is None:
        with pytest.raises(DoesNotFit, match="no address range is left"):
            free("10.186.0.0/16", used)
    else:
        assert free("10.186.0.0/16", used) == found


def test_a_class_has_room() -> None:
    used = ["10.186.0.0/22"]
    for _ in range(150):
        used.append(free("10.186.0.0/16", used))
    assert len(set(used)) == 151
