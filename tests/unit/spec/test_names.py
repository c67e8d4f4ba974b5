"""Names of things: readable, safe in DNS, different for different users."""

from __future__ import annotations

import random
import re
import string

import pytest

from occamctl.spec import names

DNS = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


@pytest.mark.parametrize("plain", ["anna", "a", "anna-rossi", "s123456", "a" * 20])
def test_a_plain_name_stays_itself(plain: str) -> None:
    assert names.slug(plain) == plain


@pytest.mark.parametrize(
    ("username", "readable"),
    [
        ("anna.rossi@unito.it", "anna-rossi"),
        ("Anna", "anna"),
        ("b_bianchi", "b-bianchi"),
        ("_", "u"),
        ("course", "course"),
    ],
)
def test_any_other_keeps_what_is_readable(username: str, readable: str) -> None:
    assert re.fullmatch(rf"{readable}--[0-9a-f]{{7}}", names.slug(username))


def test_names_that_look_alike_are_told_apart() -> None:
    alike = [
        "anna.rossi",
        "anna_rossi",
        "anna-rossi",
        "Anna.Rossi",
        "anna.rossi@",
        "anna+rossi",
        "anna--rossi",
        "annarossi",
    ]
    assert len({names.slug(one) for one in alike}) == len(alike)


def test_ten_thousand_random_names_are_safe_and_different() -> None:
    chance = random.Random(7)
    letters = string.ascii_letters + string.digits + "._@+-"
    many = {
        chance.choice(string.ascii_letters) + "".join(chance.choices(letters, k=chance.randrange(names.MAX_USER)))
        for _ in range(10_000)
    }
    slugs = {names.slug(one) for one in many}
    assert len(slugs) == len(many)
    assert all(DNS.fullmatch(one) and len(one) <= 20 for one in slugs)


def test_the_longest_name_fits_what_swarm_allows() -> None:
    of = names.Names("c" * names.MAX_COURSE)
    assert len(of.executor("x" * names.MAX_USER, "k" * names.MAX_CLUSTER, 99_999)) <= 63


def test_a_user_called_course_is_not_the_course() -> None:
    of = names.Names("ml")
    assert of.net(names.COURSE_OWNER) == "ml-course-net"
    assert names.slug("course") != names.COURSE_OWNER
