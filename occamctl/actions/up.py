"""`course up` and `course plan`: rounds of observe, diff, and doing the first stage, until nothing is left to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from occamctl import wait
from occamctl.actions import readiness
from occamctl.actions.apply import Site, apply
from occamctl.actions.checks import check
from occamctl.actions.gpus import not_ready, out_of_service, unwatched
from occamctl.actions.observe import observe
from occamctl.actions.session import Session
from occamctl.engine import gpu_watch_inside, material_inside
from occamctl.errors import PartlyDone
from occamctl.hosts.lock import holding
from occamctl.plan.diff import diff, first_stage
from occamctl.plan.lending import lend
from occamctl.plan.material import kept
from occamctl.plan.seen import Observed
from occamctl.plan.steps import LendGpus, Step
from occamctl.plan.walls import walled
from occamctl.plan.wanted import Desired

Say = Callable[[str, str], None]
MOST_ROUNDS = 24


@dataclass(frozen=True)
class Up:
    """What an `up` did."""

    url: str
    done: tuple[Step, ...] = ()
    passwords: dict[str, str] = field(default_factory=dict, repr=False)
    """First passwords of new accounts, when they were not written to a file."""
    passwords_file: str = ""
    warnings: tuple[str, ...] = ()


def plan(session: Session) -> list[Step]:
    """What `up` would do. Raises the error of a host that cannot be used."""
    site = Site(session)
    session.all_here()
    seen = observe(session, lambda: site.builder)
    session.all_here()
    check(site.want, seen, session)
    session.remarks = (*not_ready(session, seen), *unwatched(session.course, seen))
    wanted = _wanted(site, session, seen)
    if wanted.material and (seen.material is None or seen.material.digest != wanted.material):
        site.sources.check(fetch=True)
    session.remarks += tuple(site.sources.stays.values())
    return diff(wanted, seen)


def _wanted(site: Site, session: Session, seen: Observed) -> Desired:
    """What should be, as far as it hangs on the hosts as they are."""
    course = session.course
    there = seen.material.folders if seen.material else ()
    want = kept(site.want, course, site.sources.manifest(there), Path(material_inside.__file__).read_text())
    return lend(walled(want, course, seen), course, seen, Path(gpu_watch_inside.__file__).read_text())


def up(session: Session, say: Say, planned: Sequence[Step]) -> Up:
    """Bring the course up, when `planned` says that there is something to do.

    Raises Busy when somebody else is at it, and PartlyDone when a round changes nothing although something is left.
    """
    if not planned:
        return Up(readiness.url(session), warnings=session.remarks)
    with holding(session.machines[session.hosts[0]], session.course.course):
        return _rounds(session, say)


def _rounds(session: Session, say: Say) -> Up:
    site = Site(session)
    done: list[Step] = []
    before: list[Step] = []
    for _ in range(MOST_ROUNDS):
        seen = observe(session, lambda: site.builder)
        session.all_here()
        left = diff(_wanted(site, session, seen), seen)
        if not left:
            break
        if left == before:
            wait.nap(1)
        before = left
        now = first_stage(left)
        apply(site, now, say)
        done += now
    else:
        raise PartlyDone(
            f"still to do: {'; '.join(step.what for step in before[:3])}", fix="run: occamctl course up, again"
        )
    new = {step.host for step in done if isinstance(step, LendGpus)}
    watchers = unwatched(session.course, seen, but=new)
    warnings = (*readiness.check(session, say), *out_of_service(session, seen), *watchers)
    return Up(readiness.url(session), tuple(done), site.passwords, site.passwords_file, warnings)
