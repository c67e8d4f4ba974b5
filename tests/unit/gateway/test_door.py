"""Tickets for the course's own Spark."""

from __future__ import annotations

from occamctl.gateway.door import VALID, Door


def test_a_ticket_opens_once_its_own_application_and_not_for_long() -> None:
    door = Door()
    assert door.admit(door.ticket("anna", "app-1", 0), "app-1", 1) == "anna"
    used = door.ticket("anna", "app-1", 0)
    door.admit(used, "app-1", 1)
    assert door.admit(used, "app-1", 1) == ""
    assert door.admit(door.ticket("anna", "app-1", 0), "app-2", 1) == ""
    assert door.admit(door.ticket("anna", "app-1", 0), "app-1", VALID) == ""
    assert door.admit("", "app-1", 1) == ""
