"""What can be asked of GPUs: list, assign to a notebook, release, reserve. Blocking; called from worker threads."""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from occamctl.engine import ground, nodes, swarm
from occamctl.engine.client import Engine
from occamctl.errors import OccamError, SpecError
from occamctl.gateway import gpu_words
from occamctl.gateway.gpu_grants import (
    NO_LABELS,
    RESERVED,
    Grant,
    Holder,
    Reservation,
    grant_of,
    iso,
    label,
    reservations_of,
)
from occamctl.gateway.gpu_watch import Use
from occamctl.gateway.gpu_wishes import Assignment, Booking
from occamctl.gateway.ledger import Ledger
from occamctl.gateway.notebook_service import GROUPS, Home, groups_of, home_of, memory, runs_with
from occamctl.gateway.notebooks import Notebooks
from occamctl.gateway.quotas import Rights, called
from occamctl.gateway.settings import Settings
from occamctl.gateway.sight import Seen, Sight, trouble
from occamctl.plan import desired, gpus
from occamctl.plan.observed import Gpu
from occamctl.spec import names

log = logging.getLogger("occam.gateway.gpus")
FRESH = 1.0
"""Seconds: how old a look at the engine may be that GPUs are chosen by."""
TOLD_FOR = 120
"""Seconds that a sample of a GPU's use is shown."""
_GONE = "its host lends it no more"


class Gpus:
    """The GPUs of one course, on one engine."""

    def __init__(
        self, engine: Engine, settings: Settings, ledger: Ledger, *, sight: Sight, notebooks: Notebooks
    ) -> None:
        self._engine, self._settings, self._ledger = engine, settings, ledger
        self._sight, self._notebooks = sight, notebooks
        self._book = threading.Lock()
        """Held while the list of reservations is changed and written."""
        self.uses: Mapping[str, Use] = {}
        """The last samples, by UUID."""

    @property
    def _secret(self) -> str:
        return f"{self._settings.course}-gpu-reservations"

    # What was there before this process ----------------------------------------------------------------------------

    def remember(self, seen: Seen) -> None:
        """Fill the ledger from the engine's labels, once it knows which notebooks run. Raises EngineError."""
        running = set(self._ledger.notebooks)
        for one in seen.of_kind("notebook"):
            labels = one["Spec"]["Labels"]
            owner = labels[names.OWNER]
            self._found(grant_of(labels, owner, groups_of(labels), home_of(labels).node), owner in running)
            grant = self._ledger.gpus.of(owner)
            if grant and owner in running and grant.kinds <= runs_with(one):
                self._ledger.gpus.use(owner, seen.began)
        started = {one["Spec"]["Labels"][names.OWNER] for one in seen.of_kind("notebook")}
        for one in ground.secrets(self._engine, {names.COURSE: self._settings.course, names.KIND: "home"}):
            labels = one["Spec"].get("Labels") or {}
            if labels.get(names.OWNER) not in started:
                owner = labels[names.OWNER]
                self._found(grant_of(labels, owner, groups_of(labels), home_of(labels).node), running=False)
        for one in self._secrets():
            for kept in reservations_of((one["Spec"].get("Labels") or {}).get(RESERVED)):
                self._ledger.gpus.found_reservation(kept)

    def _found(self, grant: Grant | None, running: bool) -> None:
        if grant and (running or not grant.once):
            self._ledger.gpus.found(grant)
            log.info("notebook of %s: holds %s", grant.owner, gpu_words.counted(grant.gpus))

    # Notebooks -----------------------------------------------------------------------------------------------------

    def assign(self, user: str, asked: Assignment, rights: Rights, *, by_operator: bool) -> None:
        """Give GPUs to somebody's notebook; one that runs has them when it is started anew.

        by_operator  who may keep a time from ending, and may know by name who holds what

        Raises DoesNotFit, Refused, EngineError.
        """
        _must_be_person(user)
        with self._notebooks.alone(user):
            seen = self._sight.look(FRESH)
            home = self._notebooks.home(user, seen.services.get(self._settings.names.notebook(user)))
            before = self._ledger.gpus.of(user)
            with gpu_words.those_out_named(asked.want, seen.out()):
                made = self._ledger.gpus.assign(
                    user,
                    asked.want,
                    asked.seconds,
                    rights,
                    lambda but: seen.rooms(but=but),
                    home=home.node if home else "",
                    named=by_operator,
                    prolong=by_operator,
                )
            try:
                new = Home(home.id if home else secrets.token_hex(8), made.node, "new")
                self._write(user, made, home if home and home.node else new)
            except OccamError:
                self._ledger.gpus.put_back(user, before)
                raise
        log.info("notebook of %s: is given %s", user, gpu_words.counted(made.gpus))

    def release(self, user: str) -> None:
        """Give the GPUs back; those that a notebook runs with are free when it ends. None held is fine.

        Those of a host that is down are given back at once: nobody knows when its end will be seen. Should the
        notebook come back with the host, the swarm still keeps its GPUs from others.

        Raises EngineError.
        """
        _must_be_person(user)
        with self._notebooks.alone(user):
            before = self._ledger.gpus.of(user)
            if before is None:
                return
            seen = self._sight.look(FRESH)
            left = self._ledger.gpus.release(user)
            if seen.down(before.node):
                self._ledger.gpus.notebook_ended(user)
            still = left if left and left.used and not seen.down(before.node) else None
            try:
                home = self._notebooks.home(user, seen.services.get(self._settings.names.notebook(user)))
                if home:
                    self._write(user, still, home)
            except OccamError:
                self._ledger.gpus.put_back(user, before)
                raise
        log.info("notebook of %s: gives back %s", user, gpu_words.counted(before.gpus))

    def _write(self, user: str, grant: Grant | None, home: Home) -> None:
        """Remember the grant in the labels of the notebook's service, or of its home's memory."""
        labels = grant.labels() if grant else NO_LABELS
        if swarm.service(self._engine, self._settings.names.notebook(user)):
            swarm.relabel_service(self._engine, self._settings.names.notebook(user), labels)
        else:
            kept = memory(self._settings, user, home)
            ground.ensure_secret(self._engine, kept)
            groups = {GROUPS: json.dumps(grant.groups)} if grant else {}
            ground.relabel_secret(self._engine, kept.name, {**kept.labels, **labels, **groups})

    def of(self, user: str, rights: Rights) -> dict[str, Any]:
        """Somebody's GPUs as the API shows them, and what else could be had. Raises EngineError."""
        seen = self._sight.look(FRESH)
        return self.mine(user) | self._choices(user, rights, seen)

    def mine(self, user: str) -> dict[str, Any]:
        """Somebody's GPUs as the API shows them; touches no engine."""
        grant = self._ledger.gpus.of(user)
        end = self._ledger.gpus.end_of(grant) if grant else None
        return {
            "user": user,
            "gpus": [asdict(one) for one in grant.gpus] if grant else [],
            "host": self._sight.last.hostname(grant.node) if grant else "",
            "until": iso(end.at) if end else None,
            "for_group": end.group if end else "",
            "in_use": bool(grant and grant.used),
            "once": bool(grant and grant.once),
            "message": self._message(user, grant),
            "notices": [asdict(one) for one in self._ledger.gpus.notices(user)],
        }

    def _message(self, user: str, grant: Grant | None) -> str:
        if grant is None:
            return ""
        if grant.used:
            return "given back when the notebook stops" if grant.once else "the notebook runs with it"
        running = user in self._ledger.notebooks
        return "there when the notebook is started anew" if running else "there when the notebook starts"

    def _choices(self, user: str, rights: Rights, seen: Seen) -> dict[str, Any]:
        """What could be asked for now: on the host of the home, and within the quota."""
        home = self._notebooks.home(user, seen.services.get(self._settings.names.notebook(user)))
        there = seen.rooms()
        lent = [one for room in there for one in room.lent if not home or home.node in ("", room.node)]
        free = [
            one
            for room in self._ledger.left(lambda but: seen.rooms(but=but), rights.groups)
            for one in room.gpus
            if not home or home.node in ("", room.node)
        ]
        left = self._left(user, rights)
        why = ""
        if lent and not free:
            on = seen.hostname(home.node) if home else ""
            why = gpu_words.holders(None, self._ledger.gpus.now(there), on=on)
        return {
            "lends": bool(lent),
            "left": left,
            "choices": gpu_words.choices(free) if left else [],
            "why_none": why if left else "your quota of GPUs is used up, or none",
        }

    def _left(self, user: str, rights: Rights) -> int:
        """GPUs that the quotas still allow."""
        held = [(rights.limits, self._ledger.held(user))]
        held += [(one.limits, self._ledger.held_by(one)) for one in rights.shared]
        return min([gpus.MOST, *(max(0, limits.gpus - has.gpus) for limits, has in held if limits.gpus is not None)])

    def tell(self, user: str, text: str) -> None:
        """Tell somebody of their GPUs, also in the notebook.

        One that runs with GPUs asks for this itself (occam.my_gpus); any other shows what its cluster is told.
        """
        self._ledger.gpus.tell(user, text)
        grant = self._ledger.gpus.of(user)
        for one in () if grant and grant.used else self._ledger.of(user):
            if one.living and not one.facts.own_driver:
                one.tell(text)

    # Everybody -----------------------------------------------------------------------------------------------------

    def listed(self, *, named: bool) -> list[dict[str, Any]]:
        """Every GPU that a host lends, or that somebody still holds, by host. Raises EngineError.

        named  whether the asker may know the holders
        """
        seen = self._sight.look(FRESH)
        there = [
            (node.hostname, one, trouble(one, node)) for node in seen.nodes.values() for one in gpus.lent(node.labels)
        ]
        holders = {one.gpu.uuid: one for one in self._ledger.gpus.holders()}
        lent = {one.uuid for _, one, _ in there}
        there += [(seen.hostname(one.node), one.gpu, _GONE) for one in holders.values() if one.gpu.uuid not in lent]
        return [
            self._shown(gpu, host, wrong, holders.get(gpu.uuid), named)
            for host, gpu, wrong in sorted(there, key=lambda one: one[0])
        ]

    def _shown(self, gpu: Gpu, host: str, wrong: str, holder: Holder | None, named: bool) -> dict[str, Any]:
        now, use = time.time(), self.uses.get(gpu.uuid)
        kept = [one for one in self._ledger.gpus.reservations if gpu.uuid in one.uuids]
        state = "held" if holder else "reserved" if any(one.on(now) for one in kept) else "free"
        known = use is not None and time.monotonic() - use.at < TOLD_FOR
        return {
            **asdict(gpu),
            "host": host,
            "state": "out" if wrong else state,
            "trouble": wrong,
            "utilization": use.utilization if use and known else None,
            "memory_used": use.memory_used if use and known else None,
            "processes": use.processes if use and known else None,
            "holder": _holder(holder, named) if holder else None,
            "until": iso(holder.until) if holder and holder.until else None,
            "reservations": [_reservation(one) for one in kept],
        }

    def reservations(self) -> list[dict[str, Any]]:
        """Those that are on or to come, the earliest first."""
        hosts = {
            one.uuid: node.hostname for node in self._sight.look(FRESH).nodes.values() for one in gpus.lent(node.labels)
        }
        return [
            _reservation(one) | {"gpus": [asdict(gpu) | {"host": hosts.get(gpu.uuid, "")} for gpu in one.gpus]}
            for one in self._ledger.gpus.reservations
        ]

    def reserve(self, asked: Booking) -> dict[str, Any]:
        """Keep GPUs for a group. Raises DoesNotFit, EngineError."""
        seen = self._sight.look(FRESH)
        with self._book, gpu_words.those_out_named(asked.want, seen.out()):
            made = self._ledger.gpus.reserve(
                asked.group, asked.want, asked.begins, asked.ends, lambda but: seen.rooms(but=but)
            )
            try:
                self.write_reservations()
            except OccamError:
                self._ledger.gpus.unreserve(made.id)
                raise
        log.info("reservation %s: %s for group %s", made.id, gpu_words.counted(made.gpus), made.group)
        return next(one for one in self.reservations() if one["id"] == made.id)

    def unreserve(self, number: str) -> None:
        """Raises NotKnown, EngineError."""
        with self._book:
            gone = self._ledger.gpus.unreserve(number)
            try:
                self.write_reservations()
            except OccamError:
                self._ledger.gpus.found_reservation(gone)
                raise
        log.info("reservation %s: removed", number)

    def take_out(self, node: str, uuid: str, why: str) -> None:
        """Note on a node that one of its GPUs, or EVERY one, is broken: `course up` proves them anew."""
        there = next((one for one in swarm.nodes(self._engine) if one.id == node), None)
        if there is None:
            return
        out = gpus.out(there.labels)
        broken = [one.uuid for one in gpus.lent(there.labels) if uuid in (one.uuid, gpus.EVERY)]
        broken = [one for one in broken if one not in out and gpus.EVERY not in out]
        if broken:
            nodes.label(self._engine, node, {gpus.OUT: json.dumps({**out, uuid: why}, sort_keys=True)})
            self._sight.look(0)  # nobody is given one who asks at once
            log.warning("GPUs %s on %s: out of service: %s", ", ".join(broken), there.hostname, why)

    def forget_old(self) -> None:
        """Take out the reservations that are over. Raises EngineError."""
        with self._book:
            if self._ledger.gpus.over():
                self.write_reservations()

    def write_reservations(self) -> None:
        """Remember them in the labels of a secret, which is there as long as there are some."""
        kept = self._ledger.gpus.reservations
        if not kept:
            ground.remove_secret(self._engine, self._secret)
            return
        labels = desired.labels(self._settings.course, "reservations")
        ground.ensure_secret(self._engine, desired.Secret(self._secret, b"see the labels", labels))
        ground.relabel_secret(self._engine, self._secret, {RESERVED: label(kept)})

    def _secrets(self) -> list[dict[str, Any]]:
        return ground.secrets(self._engine, {names.COURSE: self._settings.course, names.KIND: "reservations"})


def _must_be_person(user: str) -> None:
    if not names.is_user_name(user):
        raise SpecError(f"{user!r:.80} has no notebook", fix="name somebody of the roster")


def _holder(one: Holder, named: bool) -> dict[str, str]:
    told = {"kind": one.kind, "who": called(one.owner, one.groups)}
    return told | ({"user": one.owner, "cluster": one.cluster} if named else {})


def _reservation(one: Reservation) -> dict[str, Any]:
    return {
        "id": one.id,
        "group": one.group,
        "from": iso(one.begins),
        "to": iso(one.ends),
        "on": one.on(time.time()),
    }
