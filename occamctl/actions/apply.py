"""Perform the steps of one stage: hosts side by side, the steps of one host in order."""

from __future__ import annotations

import secrets as random
from collections import Counter
from collections.abc import Callable, Sequence, Set
from functools import cached_property, singledispatchmethod
from hashlib import sha256

from occamctl import wait
from occamctl.actions import data_hosts, gpu_proof, material, users
from occamctl.actions.ask import Gateway
from occamctl.actions.session import MOST_AT_ONCE, Session
from occamctl.actions.sources import Sources
from occamctl.engine import ground, images, nodes, swarm
from occamctl.engine.client import Engine
from occamctl.errors import EngineError, HostError, OccamError, SpecError
from occamctl.plan import desired, steps
from occamctl.plan.steps import Step
from occamctl.plan.wanted import Desired, Tags, tls_secrets, want

Say = Callable[[str, str], None]
_ENDED = ("failed", "rejected")
SERVICE_START = 180
"""Seconds that hub, gateway or proxy may take to run."""


class Site:
    """What the steps of one course act on."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.passwords: dict[str, str] = {}
        self.passwords_file = ""

    @cached_property
    def builder(self) -> Engine | None:
        """This machine's engine, when it has one and the course runs elsewhere; else the manager builds."""
        if not self.session.course.hosts:
            return None
        try:
            engine = Engine.local()
            engine.api.ping()
        except (OccamError, OSError):
            return None
        except Exception as error:  # the SDK has no one class for "no engine here"
            if type(error).__module__.startswith(("docker", "requests")):
                return None
            raise
        return engine

    @cached_property
    def sources(self) -> Sources:
        """Where the course's material comes from."""
        return Sources(self.session.course, str(self.session.path))

    @cached_property
    def tls(self) -> dict[str, bytes]:
        """Secrets of the proxy's certificate and key, by name."""
        files = self.session.course.hub.tls
        if files is None:
            return {}
        try:
            certificate, key = files.certificate.read_bytes(), files.key.read_bytes()
        except OSError as error:
            raise SpecError(f"cannot read: {error.strerror}", where=str(error.filename), fix="see hub.tls") from None
        names = tls_secrets(self.session.course, sha256(certificate + key).hexdigest()[:12])
        return dict(zip(names, (certificate, key), strict=True))

    @cached_property
    def want(self) -> Desired:
        course = self.session.course
        tags = Tags(*(one.tag for one in images.of_course(course.image)))
        fingerprint = next(iter(self.tls), "").rpartition("-")[2]
        return want(course, tags, fingerprint)

    @singledispatchmethod
    def perform(self, step: Step, say: Callable[[str], None]) -> None:
        raise NotImplementedError(step)

    @perform.register
    def _(self, step: steps.FormSwarm, say: Callable[[str], None]) -> None:
        nodes.form(self.session.manager, self.session.course.course, step.address, local=not self.session.course.hosts)

    @perform.register
    def _(self, step: steps.JoinSwarm, say: Callable[[str], None]) -> None:
        nodes.join(
            self.session.engine(step.host), self.session.manager, step.address, step.role, self.session.course.course
        )

    @perform.register
    def _(self, step: steps.LabelNode, say: Callable[[str], None]) -> None:
        nodes.label(self.session.manager, nodes.own_id(self.session.engine(step.host)), dict(step.labels))

    @perform.register
    def _(self, step: steps.BuildImage, say: Callable[[str], None]) -> None:
        built = next(one for one in images.of_course(self.session.course.image) if one.tag == step.tag)
        images.ensure_built(self.builder or self.session.manager, built, say)

    @perform.register
    def _(self, step: steps.SendImage, say: Callable[[str], None]) -> None:
        target = self.session.engine(step.host)
        images.deliver(self.builder or self.session.manager, target, [step.tag], say)

    @perform.register
    def _(self, step: steps.MakeNetwork, say: Callable[[str], None]) -> None:
        ground.ensure_network(self.session.manager, step.network)

    @perform.register
    def _(self, step: steps.MakeSecret, say: Callable[[str], None]) -> None:
        value = self.tls.get(step.name) or random.token_hex(32).encode()
        labels = desired.labels(self.session.course.course, "secret")
        ground.ensure_secret(self.session.manager, desired.Secret(step.name, value, labels))

    @perform.register
    def _(self, step: steps.MakeConfig, say: Callable[[str], None]) -> None:
        ground.ensure_config(self.session.manager, step.config)

    @perform.register
    def _(self, step: steps.RemoveConfig, say: Callable[[str], None]) -> None:
        ground.remove_config(self.session.manager, step.name)

    @perform.register
    def _(self, step: steps.LendGpus, say: Callable[[str], None]) -> None:
        nodes.label(self.session.manager, nodes.own_id(self.session.engine(step.host)), dict(step.labels))

    @perform.register
    def _(self, step: steps.ProveGpus, say: Callable[[str], None]) -> None:
        why = gpu_proof.prove(
            self.session.manager,
            self.session.course.course,
            nodes.own_id(self.session.engine(step.host)),
            self.want.images[self.session.hosts[0]][-1],
            step.gpus,
            step.fingerprint,
            dict(step.keep),
        )
        self.session.probed.add(step.host)
        if why is None:
            say("all its GPUs are held; those that are not proven yet are probed by the next course up")
        else:
            say(f"its GPUs stay out of service: {why}" if why else "its containers see the GPUs that they are given")

    @perform.register
    def _(self, step: steps.PutService, say: Callable[[str], None]) -> None:
        swarm.ensure_service(self.session.manager, step.service)

    @perform.register
    def _(self, step: steps.RemoveService, say: Callable[[str], None]) -> None:
        swarm.remove_service(self.session.manager, step.name)

    @perform.register
    def _(self, step: steps.AwaitService, say: Callable[[str], None]) -> None:
        await_service(self.session.manager, step.name, {nodes.own_id(self.session.engine(host)) for host in step.on})
        if step.name == self.session.names.gateway:
            await_answer(self.session.gateway)

    @perform.register
    def _(self, step: steps.PutMaterial, say: Callable[[str], None]) -> None:
        material.put(self.session, self.sources, say)

    @perform.register
    def _(self, step: steps.PutAccounts, say: Callable[[str], None]) -> None:
        made = users.ensure_accounts(self.session)
        self.passwords.update(made.passwords)
        self.passwords_file = str(made.path or "")

    @perform.register
    def _(self, step: steps.PutCluster, say: Callable[[str], None]) -> None:
        gateway, path = self.session.gateway, f"/users/course/clusters/{step.name}"
        if step.now is None:
            gateway.post(
                "/users/course/clusters",
                {"name": step.name, "workers": step.workers, "driver": "connect", "declared": True},
                timeout=120,
            )
            return
        if step.adopt:
            gateway.put(f"{path}/declared")
        if step.now != step.workers:
            gateway.put(f"{path}/workers", {"workers": step.workers}, timeout=60)

    @perform.register
    def _(self, step: steps.RemoveCluster, say: Callable[[str], None]) -> None:
        self.session.gateway.delete(f"/users/course/clusters/{step.name}", timeout=120)

    @perform.register
    def _(self, step: steps.FetchData, say: Callable[[str], None]) -> None:
        data_hosts.fetch(self.session, step.name, say)

    @perform.register
    def _(self, step: steps.SendData, say: Callable[[str], None]) -> None:
        data_hosts.send(self.session, step.name, step.source, step.host, say)


def await_service(engine: Engine, name: str, on: Set[str] = frozenset()) -> None:
    """Wait until the service's task runs, with the settings that the service has now.

    Raises EngineError with the scheduler's words when it keeps failing.

    on  ids of nodes: a task must run on each of them, and those of other nodes do not count
    """
    there = swarm.service(engine, name)
    configs = swarm.config_names(there["Spec"]["TaskTemplate"]) if there else ()
    # A global service has tried on a new host since that joined, long before the host had the image.
    before = {task.id for task in swarm.tasks(engine, service_name=name) if task.state in _ENDED}

    def right(task: swarm.Task) -> bool:
        return task.state == "running" and task.wanted == "running" and task.configs == configs

    def look() -> tuple[str, str]:
        tasks = [task for task in swarm.tasks(engine, service_name=name) if not on or task.node_id in on]
        runs = {task.node_id for task in tasks if right(task)}
        if runs and runs >= on:
            return "running", ""
        tasks = [task for task in tasks if task.node_id not in runs and task.id not in before]
        failed = [task for task in tasks if task.state in _ENDED]
        often = max(Counter(task.node_id for task in failed).values(), default=0)
        state = "failing" if often >= 3 else "starting"
        latest = failed[0] if failed else (tasks[0] if tasks else None)
        return state, latest.message if latest else "not scheduled yet"

    state, message = wait.until(
        look,
        lambda seen: seen[0] != "starting",
        f"start of {name}",
        seconds=SERVICE_START,
        describe=lambda seen: f"{seen[0]}: {seen[1]}",
        fix=f"see: occamctl logs {name.rpartition('-')[2]}",
    )
    if state == "failing":
        last = swarm.service_logs(engine, name, tail=5).strip().splitlines()
        raise EngineError(
            f"{name} does not start: {message}" + (f"; last lines: {' | '.join(last)}" if last else ""),
            where=engine.name,
            fix=f"see: occamctl logs {name.rpartition('-')[2]}",
        )


def await_answer(gateway: Gateway) -> None:
    """Wait until the gateway answers: its task runs a moment before that. Raises TookTooLong with what is wrong."""

    def look() -> str:
        try:
            gateway.get("/health", timeout=10)
        except OccamError as error:
            return str(error)
        return ""

    wait.until(
        look,
        lambda seen: not seen,
        "the gateway's first answer",
        seconds=SERVICE_START,
        describe=str,
        fix="see: occamctl logs gateway",
    )


def apply(site: Site, planned: Sequence[Step], say: Say) -> None:
    """Perform steps of one stage. One host's failure does not stop the others; the first error is raised at the end."""
    # An image is built before anybody is sent it.
    first = [step for step in planned if not step.host or isinstance(step, steps.BuildImage)]
    by_host: dict[str, list[Step]] = {}
    for step in planned:
        if step not in first:
            by_host.setdefault(step.host, []).append(step)
    _in_order(site, first, say)
    # The swarm must be there before anybody joins it: the manager's steps go first.
    manager = site.session.hosts[0]
    if isinstance(planned[0], steps.FormSwarm | steps.JoinSwarm | steps.LabelNode):
        _in_order(site, by_host.pop(manager, []), say)
    errors: list[OccamError] = []
    with wait.Together(max_workers=MOST_AT_ONCE) as pool:
        for running in [pool.submit(_in_order, site, mine, say) for mine in by_host.values()]:
            try:
                running.result()
            except OccamError as error:
                errors.append(error)
    if errors:
        worst = next((error for error in errors if isinstance(error, HostError)), errors[0])
        worst.others = [error for error in errors if error is not worst]
        raise worst


def _in_order(site: Site, mine: Sequence[Step], say: Say) -> None:
    for step in mine:
        say(step.host, step.what)
        site.perform(step, lambda text, step=step: say(step.host, text))
