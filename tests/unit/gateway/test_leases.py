"""Leases: kept by heartbeats, ended by silence or by idleness."""

from __future__ import annotations

from occamctl.gateway.leases import FIRST, Lease


def test_the_first_heartbeat_has_more_time() -> None:
    lease = Lease.new(100, seconds=60, idle=0)
    assert lease.over(100 + 60 + FIRST - 1) == ""
    assert "nothing was heard" in lease.over(100 + 60 + FIRST)
    assert lease.registered is None


def test_a_heartbeat_keeps_it_and_silence_ends_it() -> None:
    lease = Lease.new(0, seconds=60, idle=0)
    lease.renew(50, registered=2, jobs=False)
    assert (lease.registered, lease.left(60)) == (2, 50)
    assert lease.over(109) == ""
    assert lease.over(110) == "nothing was heard of its kernel for 60 s"
    assert lease.left(500) == 0


def test_without_jobs_it_ends_though_it_is_heard() -> None:
    lease = Lease.new(0, seconds=60, idle=100)
    for now in range(0, 60, 5):
        lease.renew(now, registered=1, jobs=True)
    for now in range(60, 150, 5):
        lease.renew(now, registered=1, jobs=False)
    assert lease.over(154) == ""
    assert lease.over(155) == "it ran no job for 100 s"


def test_idle_0_never_ends_it() -> None:
    lease = Lease.new(0, seconds=60, idle=0)
    lease.renew(10**6, registered=1, jobs=False)
    assert lease.over(10**6 + 59) == ""
