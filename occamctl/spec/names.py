"""The one definition of every name and label that occamctl gives to things on an engine.

A user name may hold `-` `_` `.` `@` and capitals; what runs for that user is named by its slug, which is
readable, safe in DNS and container names, and different for different users.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

COURSE = "occam.course"
KIND = "occam.kind"
OWNER = "occam.owner"
SPEC = "occam.spec"
VERSION = "occam.version"
CLUSTER = "occam.cluster"
EXECUTOR = "occam.executor"
PROFILE = "occam.profile"
HOME = "occam.home"
HOME_NODE = "occam.home.node"

PEOPLE = "people.json"
"""The hub's file with its accounts as everybody may know them, beside the one that has the hashes too."""
COURSE_OWNER = "course"
"""Owner of what belongs to the whole course (its own Spark cluster); nobody may be called so, nor has this slug."""

COURSE_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
USER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]*")
DATA_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
CLUSTER_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
MAX_COURSE, MAX_USER, MAX_CLUSTER, MAX_DATA = 20, 64, 12, 40
# The longest name is a service of an executor, <course>-<slug>-<cluster>-e<id>: 20+1+20+1+12+2+7 = 63, Swarm's limit.
_MAX_SLUG, _READABLE, _HASH = 20, 11, 7
_PLAIN = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def is_user_name(word: str) -> bool:
    """Whether somebody may be called so."""
    return bool(USER_NAME.fullmatch(word)) and len(word) <= MAX_USER and word != COURSE_OWNER


def slug(username: str) -> str:
    """`username` as a DNS label of at most 20 characters, the same every time, no two users alike.

    A name that is one already stays itself. Any other keeps what is readable and gets `--` and seven
    hexadecimal digits of its SHA-256; a plain name holds no `--`, so the two kinds cannot meet
    (the scheme of JupyterHub's kubespawner, `safe_slug`).
    """
    if len(username) <= _MAX_SLUG and _PLAIN.fullmatch(username) and username != COURSE_OWNER:
        return username
    readable = re.sub(r"[^a-z0-9]+", "-", username.lower()).strip("-")[:_READABLE].strip("-")
    return f"{readable or 'u'}--{hashlib.sha256(username.encode()).hexdigest()[:_HASH]}"


@dataclass(frozen=True)
class Names:
    """Names of the things of one course."""

    course: str

    @property
    def hub(self) -> str:
        return f"{self.course}-hub"

    @property
    def proxy(self) -> str:
        return f"{self.course}-proxy"

    @property
    def gateway(self) -> str:
        return f"{self.course}-gateway"

    @property
    def walls(self) -> str:
        """The service that keeps the rules for containers on every host."""
        return f"{self.course}-walls"

    @property
    def gpus(self) -> str:
        """The service that tells what the GPUs of every host do."""
        return f"{self.course}-gpus"

    @property
    def material(self) -> str:
        """The service that publishes the course's material, and the volume with all of it."""
        return f"{self.course}-material"

    @property
    def walls_table(self) -> str:
        """The nftables table (family inet) with these rules: one for each course, so removing it removes no more."""
        return f"occam-{self.course}"

    @property
    def hub_net(self) -> str:
        """The network of proxy, hub, gateway and every notebook."""
        return f"{self.course}-net"

    @property
    def hub_data(self) -> str:
        """The volume with the hub's database and accounts."""
        return f"{self.course}-hub-data"

    @property
    def data(self) -> str:
        """The volume of every host with the course's data."""
        return f"{self.course}-data"

    @property
    def proxy_token(self) -> str:
        return f"{self.course}-proxy-token"

    @property
    def gateway_token(self) -> str:
        return f"{self.course}-gateway-token"

    @property
    def lock(self) -> str:
        return f"{self.course}-lock"

    def _of(self, owner: str, piece: str) -> str:
        return f"{self.course}-{owner if owner == COURSE_OWNER else slug(owner)}-{piece}"

    def net(self, owner: str) -> str:
        """The network of one user (or of COURSE_OWNER): their notebook, drivers and executors."""
        return self._of(owner, "net")

    def notebook(self, user: str) -> str:
        return self._of(user, "notebook")

    def home(self, user: str) -> str:
        return self._of(user, "home")

    def cluster(self, owner: str, cluster: str) -> str:
        """Prefix of what belongs to one Spark cluster."""
        return self._of(owner, cluster)

    def executor(self, owner: str, cluster: str, number: int) -> str:
        return f"{self.cluster(owner, cluster)}-e{number}"

    def driver(self, owner: str, cluster: str) -> str:
        return f"{self.cluster(owner, cluster)}-driver"


def digest(text: str) -> str:
    """Twelve hexadecimal digits that stand for `text`: spec hashes and image tags."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
