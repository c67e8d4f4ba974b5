"""The images of a course: what each is built from, and its tag, which is a hash of all of it.

A tag that is there is the right image, so nothing is built or sent twice, and no engine is asked to know the tag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from docker.errors import APIError, ImageNotFound, NotFound

from occamctl import __version__
from occamctl.engine import build, context, debian
from occamctl.engine.client import Engine, speaking_to
from occamctl.engine.context import Context
from occamctl.engine.delivery import deliver
from occamctl.errors import EngineError, SpecError
from occamctl.spec import names
from occamctl.spec.course import Image

__all__ = [
    "Built",
    "deliver",
    "ensure_built",
    "gpu_image",
    "host_image",
    "hub_image",
    "missing",
    "notebook_image",
    "of_course",
    "present",
    "remove",
]

Say = Callable[[str], None]

PREFIX = "localhost/occam"
"""Swarm's agents try to pull every image before they look whether they have it. A bare `occam/…` would ask a public
registry, where anybody may own that name; `localhost` answers at once that there is nothing."""

_PACKAGE = Path(__file__).resolve().parents[1]
_TEMPLATES = _PACKAGE / "templates" / "images"
_COURSE = _PACKAGE / "course"
_CERTIFICATES = Path("/usr/local/share/ca-certificates")
_IN_HUB = ("__init__.py", "errors.py", "wait.py", "spec", "plan", "engine", "spark", "hub", "gateway")
"""What of the package hub and gateway run; the operator's side stays out, so that changing it rebuilds nothing."""


@dataclass(frozen=True)
class Built:
    """An image that can be built: its tag is known before it exists."""

    tag: str
    what: str
    """How a person calls it."""
    context: Context | None = None
    """None: an image that somebody else made, used as it is."""
    parent: Built | None = None
    """The image it is a layer on; None: Debian."""

    @property
    def labels(self) -> dict[str, str]:
        return {names.KIND: "image", names.OWNER: names.COURSE_OWNER, names.VERSION: __version__}


def hub_image() -> Built:
    """The image of hub, proxy and gateway."""
    here = _TEMPLATES / "hub"
    made = context.read(
        [
            ("Dockerfile", here / "Dockerfile"),
            ("certificates", _CERTIFICATES),
            ("requirements.lock", here / "requirements.lock"),
            *((f"proxy/{name}", here / name) for name in ("package.json", "package-lock.json")),
            *((f"bin/{name}", here / name) for name in ("occam-hub", "occam-proxy", "occam-gateway")),
            *((f"lib/occamctl/{name}", _PACKAGE / name) for name in _IN_HUB),
        ]
    )
    return Built(f"{PREFIX}/hub:{made.digest()}", "hub image", made)


def host_image() -> Built:
    """The image of a pretend host of `occamctl sandbox`."""
    here = _TEMPLATES / "host"
    made = context.read(
        [
            ("Dockerfile", here / "Dockerfile"),
            ("certificates", _CERTIFICATES),
            ("entrypoint", here / "entrypoint"),
            ("nvidia", here / "nvidia"),
        ]
    )
    return Built(f"{PREFIX}/host:{made.digest()}", "host image", made)


def notebook_image(image: Image | None = None) -> Built:
    """The image of notebooks, executors and drivers, with what the course file's section `image` adds to it.

    Raises SpecError when it names an image that cannot be delivered under that name.
    """
    if image is not None and image.from_:
        return _own(image.from_)
    here = _TEMPLATES / "notebook"
    made = context.read(
        [
            ("Dockerfile", here / "Dockerfile"),
            ("certificates", _CERTIFICATES),
            ("requirements.lock", here / "requirements.lock"),
            ("bin/occam-notebook", here / "occam-notebook"),
            ("jupyter", here / "jupyter"),
            ("ipython", here / "ipython"),
            ("lab/overrides.json", here / "overrides.json"),
            ("spark", _COURSE / "spark"),
            ("lib", _COURSE / "lib"),
        ]
    )
    built_in = Built(f"{PREFIX}/notebook:{made.digest()}", "notebook image", made)
    return _with_more(built_in, image) if image is not None and (image.pip or image.apt) else built_in


def gpu_image(image: Image) -> Built:
    """One layer more on the course's notebook image, for hosts with GPUs: TensorFlow with CUDA."""
    here, below = _TEMPLATES / "notebook", notebook_image(image)
    made = context.read(
        [("Dockerfile", here / "gpu.Dockerfile"), ("requirements-gpu.lock", here / "requirements-gpu.lock")]
    )
    return Built(f"{PREFIX}/notebook:{made.digest(below.tag)}", "GPU image", made, below)


def of_course(image: Image) -> tuple[Built, ...]:
    """Every image of a course whose file has this section `image`."""
    return hub_image(), notebook_image(image), *((gpu_image(image),) if image.gpu else ())


def _own(name: str) -> Built:
    """An image of the course's own. A digest is lost when an image goes from one engine to another, a tag is not."""
    if "@" in name:
        raise SpecError(
            f"{name} is named by a digest", where="image.from", fix=f"give it a tag: {name.split('@')[0]}:TAG"
        )
    return Built(_full(name), "the course's own image")


def _with_more(parent: Built, image: Image) -> Built:
    """One layer more, for the packages of the course file."""
    listed = {
        "Dockerfile": (_TEMPLATES / "notebook" / "extra.Dockerfile").read_bytes(),
        "apt.txt": "".join(f"{name}\n" for name in image.apt).encode(),
        "requirements.txt": "".join(f"{name}\n" for name in image.pip).encode(),
    }
    made = Context({path: (content, False) for path, content in listed.items()})
    return Built(f"{PREFIX}/notebook:{made.digest(parent.tag)}", "course's packages", made, parent)


def present(engine: Engine) -> frozenset[str]:
    """Every tag that the engine has."""
    with speaking_to(engine.name):
        return frozenset(tag for one in engine.api.images() for tag in one["RepoTags"] or [])


def missing(engine: Engine, tags: Iterable[str]) -> list[str]:
    """Those of `tags` that the engine lacks."""
    there = present(engine)
    return [tag for tag in tags if _full(tag) not in there]


def _full(tag: str) -> str:
    """`name` as the engine lists it: with a tag."""
    return tag if ":" in tag.rpartition("/")[2] else f"{tag}:latest"


def ensure_built(engine: Engine, wanted: Built, say: Say) -> None:
    """Build the image, and what it is a layer on, unless the engine has it.

    Raises EngineError with the step that failed and its last lines; a tag exists only when its build succeeded.
    """
    if not missing(engine, [wanted.tag]):
        return
    if wanted.context is None:
        _fetch(engine, wanted.tag, say)
        return
    if wanted.parent is not None:
        ensure_built(engine, wanted.parent, say)
    below = wanted.parent.tag if wanted.parent else debian.ensure_base(engine, say)
    build.build(
        engine, wanted.tag, wanted.context, partial(_prefixed, say, wanted.what), wanted.labels, {"BASE": below}
    )


def _prefixed(say: Say, what: str, text: str) -> None:
    say(f"{what}: {text}")


def _fetch(engine: Engine, tag: str, say: Say) -> None:
    """Pull an image that the course file names."""
    say(f"pulling {tag}")
    try:
        debian.pull(engine, tag, first_word=60)
    except EngineError as error:
        raise EngineError(
            f"image {tag} is not there and cannot be pulled: {error.what}",
            where=engine.name,
            fix="build or load it on that engine, or correct image.from",
        ) from None


def remove(engine: Engine, tags: Iterable[str]) -> list[str]:
    """Remove tags of ours; those that a container still uses stay and are returned."""
    kept = []
    for tag in tags:
        with speaking_to(engine.name):
            try:
                engine.api.remove_image(tag)
            except (ImageNotFound, NotFound):
                continue
            except APIError as error:
                if error.status_code != 409:
                    raise
                kept.append(tag)
    return kept


@dataclass(frozen=True)
class Held:
    """An image of ours on an engine."""

    tag: str
    """Empty for what a build that failed left."""
    id: str
    size: int
    """Bytes, with the layers it shares."""
    created: int
    """Seconds since 1970."""


def held(engine: Engine) -> list[Held]:
    """Our images on the engine, newest first, one for each tag."""
    with speaking_to(engine.name):
        listed = engine.api.images(filters={"label": [f"{names.KIND}=image"]})
    found = [
        Held("" if tag == "<none>:<none>" else tag, str(one["Id"]), int(one["Size"]), int(one["Created"]))
        for one in listed
        for tag in one["RepoTags"] or [""]
    ]
    return sorted(found, key=lambda one: (-one.created, one.tag))


def in_services(engine: Engine) -> frozenset[str]:
    """Tags that services of this engine's swarm name; a notebook that is stopped needs its image again."""
    with speaking_to(engine.name):
        if not engine.api.info()["Swarm"].get("ControlAvailable"):
            return frozenset()
        specs = [one["Spec"]["TaskTemplate"].get("ContainerSpec", {}) for one in engine.api.services()]
    return frozenset(str(spec.get("Image", "")).partition("@")[0] for spec in specs)
