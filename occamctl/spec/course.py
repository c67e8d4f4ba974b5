"""The course file's sections, one class each. `load.py` turns a file into a `Course`.

`description` of every field is what the example file, the reference page and the JSON Schema say.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, SecretStr, model_validator

from occamctl.spec import names, units

Duration = Annotated[int, BeforeValidator(units.seconds), Field(json_schema_extra={"type": ["string", "integer"]})]
Size = Annotated[int, BeforeValidator(units.size), Field(json_schema_extra={"type": ["string", "integer"]})]
FilePath = Annotated[Path, BeforeValidator(lambda text: Path(str(text)).expanduser()), PlainSerializer(str)]


class Section(BaseModel):
    """A part of the course file: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Term(Section):
    """When the course takes place."""

    start: date = Field(description="First day.")
    end: date = Field(description="Last day.")
    timezone: str = Field("UTC", description="IANA name, such as Europe/Rome.")

    @model_validator(mode="after")
    def _in_order(self) -> Term:
        if self.end < self.start:
            raise ValueError(f"end ({self.end}) is before start ({self.start})")
        return self


class Student(Section):
    """One person of the roster."""

    username: str = Field(description="Name to sign in with; letters, digits and - _ . @ +", max_length=names.MAX_USER)
    name: str = Field("", description="How the person is called.")
    email: str = Field("", description="Where the person is reached.")
    group: str = Field("", description="A group of quotas.groups.")

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, value: Any) -> Any:
        return {"username": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _safe(self) -> Student:
        if not names.USER_NAME.fullmatch(self.username):
            raise ValueError(
                f"{self.username!r} cannot be a user name: start with a letter or digit, then letters, digits and - _ . @ +"
            )
        return self


class Ssh(Section):
    """Defaults for every host reached over SSH; ~/.ssh/config is honoured too."""

    user: str | None = Field(None, description="User to sign in as.")
    port: int | None = Field(None, ge=1, le=65535, description="Port of the SSH server.")
    identity_file: FilePath | None = Field(None, description="Private key.")
    proxy_jump: str | None = Field(None, description="Host to go through, as in ssh -J.")
    known_hosts: FilePath | None = Field(None, description="File of trusted host keys, beside ~/.ssh/known_hosts.")
    sudo_password: SecretStr | None = Field(
        None, description="Password for sudo; write ${SUDO_PASSWORD}, never the password itself."
    )
    connect_timeout: Duration = Field(10, description="How long one host may take to answer.")


class Host(Section):
    """One machine of the course."""

    hostname: str = Field(description="Name or address, or a Host of ~/.ssh/config.")
    manager: bool = Field(False, description="This host runs the hub and manages the swarm; the first one, if none says so.")
    address: str | None = Field(None, description="Address that the other hosts reach this one by; found out when left away.")
    user: str | None = Field(None, description="Instead of ssh.user.")
    port: int | None = Field(None, ge=1, le=65535, description="Instead of ssh.port.")
    identity_file: FilePath | None = Field(None, description="Instead of ssh.identity_file.")
    proxy_jump: str | None = Field(None, description="Instead of ssh.proxy_jump.")
    sudo_password: SecretStr | None = Field(None, description="Instead of ssh.sudo_password.")
    gpus: Literal["auto", "none"] = Field("auto", description="auto: use what is found; none: use no GPU of this host.")
    labels: dict[str, str] = Field({}, description="Labels of this node in the swarm.")

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, value: Any) -> Any:
        return {"hostname": value} if isinstance(value, str) else value


class Tls(Section):
    """Certificate of the proxy."""

    certificate: FilePath = Field(description="PEM file with the certificate chain.")
    key: FilePath = Field(description="PEM file with the private key.")


class Hub(Section):
    """JupyterHub and its front door."""

    port: int = Field(8000, ge=1, le=65535, description="The one port that is published, on the manager.")
    url: str | None = Field(None, description="Address that students use, if a name or TLS stands before the port.")
    tls: Tls | None = Field(None, description="Serve HTTPS with this certificate.")
    auth: Literal["password"] = Field("password", description="How students sign in.")


class Image(Section):
    """What is added to the built-in notebook image, or what stands in its place."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    pip: list[str] = Field([], description="Python packages to add.")
    apt: list[str] = Field([], description="Debian packages to add.")
    from_: str | None = Field(None, alias="from", description="An image of your own, made from the built-in one.")


class Notebook(Section):
    """A student's notebook container."""

    cpu_limit: float = Field(2, gt=0, description="CPUs it may use.")
    mem_limit: Size = Field(units.size("4G"), ge=units.size("512M"), description="Memory it may use.")
    idle_timeout: Duration = Field(7200, description="A notebook without activity for this long is stopped; its files stay. 0: never.")
    homes: Literal["local"] = Field("local", description="Where homes live; local: a volume on the host of the notebook.")


class Worker(Section):
    """Size of one Spark worker (an executor in a container)."""

    cpus: int = Field(1, ge=1, description="CPUs, and tasks at a time.")
    memory: Size = Field(units.size("2G"), ge=units.size("768M"), description="Memory of the container.")


class Cluster(Section):
    """A Spark cluster of the course that is always there."""

    name: str = Field(description="Name of the cluster.", max_length=names.MAX_CLUSTER)
    workers: int = Field(2, ge=0, description="Workers it has.")

    @model_validator(mode="after")
    def _safe(self) -> Cluster:
        if not names.CLUSTER_NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} cannot be a cluster's name: small letters, digits and single hyphens")
        return self


class Spark(Section):
    """Spark clusters."""

    worker: Worker = Field(Worker(), description="Size of a worker.")
    idle_timeout: Duration = Field(1800, description="A cluster without jobs for this long is released. 0: never.")
    lease: Duration = Field(60, ge=10, description="A cluster whose kernel is not heard of for this long is released.")
    clusters: list[Cluster] = Field([], description="Clusters of the course itself.")


class Quota(Section):
    """What one person may hold at a time."""

    workers: int = Field(4, ge=0, description="Spark workers.")
    gpus: int = Field(0, ge=0, description="GPUs.")


class Quotas(Section):
    """Quotas by role and by group."""

    student: Quota = Field(Quota(), description="Of every student.")
    instructor: Quota = Field(Quota(workers=16), description="Of every instructor, and of the course's own clusters.")
    groups: dict[str, Quota] = Field({}, description="Of the students of one group, instead of student.")


class Material(Section):
    """Course material that every home is given."""

    source: FilePath = Field(description="A folder; the word 'labs' is the material that comes with occamctl.")
    into: str = Field("labs", description="Folder in the home.")


class Network(Section):
    """Addresses inside the course."""

    pool: str = Field("10.186.0.0/16", description="Range that the course's networks are cut from; no host may use it.")


class Course(Section):
    """The whole course file."""

    version: Literal[1] = Field(description="Version of this format.")
    course: str = Field(description="Names everything that runs.", max_length=names.MAX_COURSE)
    title: str = Field("", description="Shown on the sign-in page.")
    instructors: list[Student] = Field([], description="People with an instructor's rights and quota.")
    students: list[Student] = Field([], description="A roster file (CSV with the columns username,name,email,group) or a list.")
    term: Term | None = Field(None, description="When the course takes place.")
    ssh: Ssh = Field(Ssh(), description="Defaults of every host.")
    hosts: list[Host] = Field([], description="The machines; none: this machine's Docker engine.")
    hub: Hub = Field(Hub(), description="JupyterHub and its front door.")
    image: Image = Field(Image(), description="What is in the notebooks.")
    notebook: Notebook = Field(Notebook(), description="A student's notebook container.")
    spark: Spark = Field(Spark(), description="Spark clusters.")
    quotas: Quotas = Field(Quotas(), description="What one person may hold at a time.")
    network: Network = Field(Network(), description="Addresses inside the course.")
    material: list[Material] = Field([], description="What every home is given.")

    @property
    def names(self) -> names.Names:
        return names.Names(self.course)

    @property
    def people(self) -> list[Student]:
        return [*self.instructors, *self.students]

    @property
    def manager(self) -> Host | None:
        """The host that runs hub, gateway and proxy; None when the course runs on this machine's engine."""
        return next((host for host in self.hosts if host.manager), self.hosts[0] if self.hosts else None)

    def role(self, username: str) -> Literal["instructor", "student"]:
        return "instructor" if any(person.username == username for person in self.instructors) else "student"
