"""Who waits, and whose turn it is."""

from __future__ import annotations

from occamctl.gateway.queue import SILENT, Queue, Ticket


def join(queue: Queue, owner: str, name: str = "lab", *, ticket: str = "", now: float = 0, room: bool = True) -> Ticket:
    return queue.join(owner, name, ticket, now, for_room=room)


def test_first_come_first_served() -> None:
    queue = Queue()
    first, second = join(queue, "anna"), join(queue, "bob")
    assert queue.ahead(first.id, 0) == []
    assert queue.ahead(second.id, 0) == [first]
    assert queue.ahead("", 0) == [first, second]
    queue.leave("anna", first.id)
    assert queue.ahead(second.id, 0) == []


def test_asking_again_keeps_the_place_also_when_the_ticket_was_not_heard() -> None:
    queue = Queue()
    first = join(queue, "anna")
    join(queue, "bob")
    assert join(queue, "anna", ticket=first.id, now=1) is first
    assert join(queue, "anna", now=1) is first
    assert len(queue) == 2


def test_a_second_request_of_one_person_goes_behind_the_others_first() -> None:
    queue = Queue()
    anna, more, bob = join(queue, "anna"), join(queue, "anna", "more"), join(queue, "bob")
    assert queue.ahead(more.id, 0) == [anna, bob]
    assert queue.ahead(bob.id, 0) == [anna]


def test_who_waits_for_the_own_quota_blocks_nobody() -> None:
    queue = Queue()
    join(queue, "anna", room=False)
    assert queue.ahead(join(queue, "bob").id, 0) == []


def test_who_waits_for_a_gpu_holds_up_only_who_wants_one() -> None:
    queue = Queue()
    anna = queue.join("anna", "lab", "", 0, for_room=True, gpu=True)
    bob = join(queue, "bob")
    assert queue.ahead(bob.id, 0) == queue.ahead("", 0)[:-1] == []
    carla = queue.join("carla", "lab", "", 0, for_room=True, gpu=True)
    assert queue.ahead(carla.id, 0, gpu=True) == [anna, bob]


def test_who_is_silent_has_stopped_to_wait() -> None:
    queue = Queue()
    join(queue, "anna")
    second = join(queue, "bob", now=10)
    assert queue.ahead(second.id, SILENT + 1) == []
    assert len(queue) == 1


def test_nobody_takes_or_ends_anothers_place() -> None:
    queue = Queue()
    first = join(queue, "anna")
    assert join(queue, "bob", ticket=first.id) is not first
    queue.leave("bob", first.id)
    assert first in queue.ahead("", 0)
