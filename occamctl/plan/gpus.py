"""GPUs: what a host lends, how the swarm calls each, and which one a wish gets. Pure."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from occamctl.plan.observed import Gpu
from occamctl.spec.units import human_size, size

LENT = "occam.gpus"
"""Node label: the GPUs that the host lends, as JSON (`label`)."""
OUT = "occam.gpus.out"
"""Node label: GPUs out of service, as JSON: UUID (or EVERY) to the reason."""
PROVEN = "occam.gpus.proven"
"""Node label: the fingerprint of what probe containers saw; a GPU that is not in it was not probed there."""
HELD = "occam.gpus.held"
"""Service label: the GPUs that were chosen for it, as JSON (`label`)."""
EVERY = "*"
MOST = 64
_KIND, _HOLD = "OCCAM_GPU_", "OCCAM_HOLD_"
HOLD = 2
"""Of a GPU's shares: who has so many holds it, since two such parts do not fit."""
_SHARES = 3
"""A manager that ends what has *all* of a resource (see `held_by_swarm`) leaves alone what has a part of it."""
_PROFILE = re.compile(r"\d+g\.\d+gb(\+[a-z0-9.]+)?", re.IGNORECASE)
_NOMINAL = 0.92
"""A card that is sold as 24 GB reports 22.5 GiB, one of 40 GB 39.6 (error correction, binary units): both are meant."""


def kind(uuid: str) -> str:
    """The swarm's name for one GPU: a kind of generic resource that only this GPU is of.

    The swarm gives *any* resource of a kind; the ledger has chosen one. A container finds it in DOCKER_RESOURCE_<kind>,
    which the engine writes in capitals, so the kind is in capitals.
    """
    return _KIND + re.sub(r"[^A-Z0-9]", "_", uuid.upper())


def hold(kind: str) -> str:
    """The kind of a GPU's shares: what old managers hold it by."""
    return _HOLD + kind.removeprefix(_KIND)


def resources(uuid: str) -> dict[str, str]:
    """What an engine has to know of a GPU: its kinds of generic resources, with their values."""
    return {kind(uuid): uuid, hold(kind(uuid)): str(_SHARES)}


def known(uuid: str, generic: Mapping[str, str]) -> bool:
    """Whether generic resources, kind to value, have all of that."""
    return resources(uuid).items() <= generic.items()


def variable(uuid: str) -> str:
    """The variable that the engine puts into a container that was assigned this GPU; its value is the UUID."""
    return f"DOCKER_RESOURCE_{kind(uuid)}"


def held_by_swarm(engine: str) -> bool:
    """Whether a swarm whose managers have this version of the engine can hold GPUs for what runs on networks.

    Until 23.0.2 a condition was the wrong way round (moby#44378): whenever a node changes, and it does with every
    network that is new on it, the manager takes each task there that has named resources for misplaced, and ends it.
    """
    return tuple(int(number) for number in re.findall(r"\d+", engine.partition("+")[0])[:3]) >= (23, 0, 2)


def told(environment: Iterable[str]) -> dict[str, str]:
    """Kind to UUID of the GPUs in a container's environment, as `NAME=value`."""
    pairs = (line.partition("=") for line in environment if line.startswith(variable("")))
    return {name.removeprefix("DOCKER_RESOURCE_"): value for name, _, value in pairs}


def uuids(generic: Mapping[str, str]) -> frozenset[str]:
    """The GPUs among generic resources (kind to value)."""
    return frozenset(value for name, value in generic.items() if name.startswith(_KIND))


def visible(some: bool) -> dict[str, str]:
    """What NVIDIA's container runtime reads in the environment of our containers.

    "void" shows none but those that the swarm assigned; without the variable an image's own "all" would count
    (nvidia-container-toolkit#1599: every GPU was given to every container of a swarm).
    """
    shown = {"NVIDIA_VISIBLE_DEVICES": "void"}
    return shown | ({"NVIDIA_DRIVER_CAPABILITIES": "compute,utility"} if some else {})


def label(gpus: Iterable[Gpu]) -> str:
    """The value of LENT and HELD."""
    return json.dumps([asdict(one) for one in sorted(gpus, key=lambda one: one.uuid)], separators=(",", ":"))


def fingerprint(uuids: Iterable[str], driver: str, runtime: str) -> str:
    """What a proof is good for: the same GPUs behind the same driver and container runtime."""
    return "|".join([*sorted(uuids), driver, runtime])


def proven(proof: str, now: str) -> frozenset[str]:
    """The GPUs that a proof is good for; none behind another driver or runtime. Both are fingerprints."""
    before, there = proof.split("|"), now.split("|")
    return frozenset(before[:-2]) & frozenset(there[:-2]) if before[-2:] == there[-2:] else frozenset()


def narrowed(fingerprint: str, uuids: Collection[str]) -> str:
    """The same of these GPUs only."""
    *all_of_them, driver, runtime = fingerprint.split("|")
    return "|".join([*(uuid for uuid in all_of_them if uuid in uuids), driver, runtime])


def lent(labels: Mapping[str, str]) -> tuple[Gpu, ...]:
    """The GPUs that a node's labels say it lends; a label that cannot be read lends nothing."""
    return _read(labels.get(LENT))


def held(labels: Mapping[str, str]) -> tuple[Gpu, ...]:
    """The GPUs that a service's labels say it was given."""
    return _read(labels.get(HELD))


def _read(text: str | None) -> tuple[Gpu, ...]:
    try:
        return tuple(Gpu(**one) for one in json.loads(text or "[]"))
    except (ValueError, TypeError):
        return ()


def out(labels: Mapping[str, str]) -> dict[str, str]:
    """UUID (or EVERY) to the reason why it is not given out."""
    try:
        told = json.loads(labels.get(OUT) or "{}")
    except ValueError:
        return {EVERY: f"its label {OUT} cannot be read"}
    return {str(key): str(why) for key, why in told.items()} if isinstance(told, dict) else {}


def trouble(gpu: Gpu, labels: Mapping[str, str], generic: Mapping[str, str]) -> str:
    """Why a lent GPU is not given out; "" when it is.

    labels   of its node
    generic  the node's generic resources, kind to value: what its engine knows
    """
    reasons = out(labels)
    if why := reasons.get(gpu.uuid) or reasons.get(EVERY):
        return why
    if not known(gpu.uuid, generic):
        return "the engine does not know it: occamctl gpu check"
    return "" if gpu.uuid in labels.get(PROVEN, "").split("|")[:-2] else "not proven yet"


def usable(labels: Mapping[str, str], generic: Mapping[str, str]) -> tuple[Gpu, ...]:
    """The GPUs of a node that may be given out."""
    return tuple(one for one in lent(labels) if not trouble(one, labels, generic))


# Wishes --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GpuWish:
    """GPUs as somebody asks for them.

    count    so many of one host
    model    a word or words of the model's name, such as A100; "" means any
    profile  a MIG profile, such as 1g.10gb
    memory   at least so many bytes each, as makers count them
    """

    count: int = 1
    model: str = ""
    profile: str = ""
    memory: int = 0

    def __str__(self) -> str:
        """`2 GPUs A100 with 40G`."""
        which = f" {self.profile or self.model}" if self.profile or self.model else ""
        least = f" with {human_size(self.memory)}" if self.memory else ""
        return f"{self.count} GPU{'s' if self.count != 1 else ''}{which}{least}"


def wish(said: Any) -> GpuWish | None:
    """What `gpu:` asks for: `true`, a number, a model, a MIG profile, or {count, model, profile, memory}.

    None stands for no GPU: `false`, 0 and nothing. Raises ValueError, which says what would be right.
    """
    if said is None or said is False:
        return None
    if said is True:
        return GpuWish()
    if isinstance(said, int) or (isinstance(said, str) and said.isdecimal()):
        return _counted(int(said))
    if isinstance(said, str) and said.strip():
        word = said.strip()
        return GpuWish(profile=word.lower()) if _PROFILE.fullmatch(word) else GpuWish(model=word[:80])
    if isinstance(said, Mapping):
        return _mapped(said)
    raise ValueError(f"{said!r:.60} is not a number of GPUs, a model, a MIG profile or {{count, model, memory}}")


def _counted(count: int) -> GpuWish | None:
    if count < 0 or count > MOST:
        word = f"; a model is more than its number, as in 'RTX {count}'" if count >= 1000 else ""
        raise ValueError(f"{count} GPUs: from 1 to {MOST}{word}")
    return GpuWish(count) if count else None


def _mapped(said: Mapping[str, Any]) -> GpuWish | None:
    unknown = sorted(map(str, said.keys() - {"count", "model", "profile", "memory"}))
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}: known are count, model, profile, memory")
    count, model, profile = said.get("count", 1), said.get("model", ""), said.get("profile", "")
    if isinstance(count, bool) or not (isinstance(count, int) or (isinstance(count, str) and count.isdecimal())):
        raise ValueError(f"count: {count!r:.60} is not a whole number")
    if not isinstance(model, str) or not isinstance(profile, str):
        raise ValueError("model, profile: not texts")
    if model and profile:
        raise ValueError("model or profile, not both: a MIG instance goes by its profile")
    if profile and not _PROFILE.fullmatch(profile):
        raise ValueError(f"{profile!r:.60} is not a MIG profile such as 1g.10gb")
    made = _counted(int(count))
    return made and replace(made, model=model, profile=profile.lower(), memory=size(said.get("memory", 0)))


def suits(gpu: Gpu, want: GpuWish) -> bool:
    """Whether it is one that the wish means. A model means whole GPUs: a MIG instance is of its profile's kind."""
    if want.profile:
        right = gpu.profile == want.profile
    elif want.model:
        name = re.findall(r"[a-z0-9]+", gpu.model.lower())
        right = not gpu.profile and _within(re.findall(r"[a-z0-9]+", want.model.lower()), name)
    else:
        right = True
    return right and gpu.memory >= want.memory * _NOMINAL


def _within(words: list[str], name: list[str]) -> bool:
    """Whether each word stands in the name: `rtx 4090` in `nvidia geforce rtx 4090`, and no `A10` in `A100`."""
    return bool(words) and set(words) <= set(name)


def pick(free: Collection[Gpu], want: GpuWish) -> tuple[Gpu, ...]:
    """Which of a host's free GPUs a wish gets: the smallest that will do, then by UUID; () when there are too few.

    Several are whole ones where so many are, and of one kind: a CUDA program sees one MIG instance only.
    """
    suitable = sorted((one for one in free if suits(one, want)), key=lambda one: (one.memory, one.uuid))
    whole = [one for one in suitable if not one.profile]
    some = whole if 1 < want.count <= len(whole) else suitable
    kinds = Counter((one.model, one.profile) for one in some)
    alike = next((kind for kind, many in kinds.items() if many >= want.count), None)
    chosen = [one for one in some if alike in (None, (one.model, one.profile))]
    return tuple(chosen[: want.count]) if len(chosen) >= want.count else ()


def unlike(picked: Collection[Gpu]) -> tuple[bool, bool]:
    """What makes one host's choice worse than another's: several with a MIG instance, and several of more kinds."""
    several = len(picked) > 1
    return several and any(one.profile for one in picked), len({(one.model, one.profile) for one in picked}) > 1


def called(gpu: Gpu) -> str:
    """`A100-SXM4-40GB`, `A100-SXM4-40GB MIG 1g.5gb`: short enough for a column."""
    model = re.sub(r"^NVIDIA ", "", gpu.model)
    return f"{model} MIG {gpu.profile}" if gpu.profile and "MIG" not in model else model
