"""The course file's sections, one class each. `load.py` turns a file into a `Course`.

`description` of every field is what the example file, the reference page and the JSON Schema say.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    ValidationInfo,
    model_validator,
)

from occamctl.spec import names, units, words


def _path(value: object, info: ValidationInfo) -> Path:
    """A path; a relative one is relative to the course file's folder, when that is known."""
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError("must be a path")
    try:
        path = Path(value).expanduser()
    except RuntimeError:
        raise ValueError(f"{str(value)!r}: there is no such user") from None
    return Path((info.context or {}).get("folder", "")) / path


def _source(value: object, info: ValidationInfo) -> str:
    """An address of a file, or a path."""
    if isinstance(value, str) and words.is_address(value):
        return words.web_address(value)
    return str(_path(value, info))


Duration = Annotated[int, BeforeValidator(units.seconds), Field(json_schema_extra={"type": ["string", "integer"]})]
Size = Annotated[int, BeforeValidator(units.size), Field(json_schema_extra={"type": ["string", "integer"]})]
FilePath = Annotated[Path, BeforeValidator(_path), PlainSerializer(str)]
Source = Annotated[str, BeforeValidator(_source), Field(json_schema_extra={"type": "string"})]
UserName = Annotated[str, AfterValidator(words.user_name)]
HostName = Annotated[str, AfterValidator(words.host_name)]
Login = Annotated[str, AfterValidator(words.login)]
Jump = Annotated[str, AfterValidator(words.jump)]
Label = Annotated[str, AfterValidator(words.label)]
Url = Annotated[str, AfterValidator(words.url)]
Pool = Annotated[str, AfterValidator(words.pool)]
TimeZone = Annotated[str, AfterValidator(words.timezone)]
CourseName = Annotated[str, AfterValidator(words.course_name)]
ClusterName = Annotated[str, AfterValidator(words.cluster_name)]
NotebookSize = Annotated[Size, AfterValidator(words.at_least("512M"))]
WorkerSize = Annotated[Size, AfterValidator(words.at_least("768M"))]
Lease = Annotated[Duration, AfterValidator(words.at_least_seconds(10))]
GitUrl = Annotated[str, AfterValidator(words.git_url)]
Branch = Annotated[str, AfterValidator(words.branch)]
Into = Annotated[str, AfterValidator(words.home_folder)]
Release = Annotated[
    dict[str, datetime], BeforeValidator(words.release), Field(json_schema_extra={"type": ["string", "object"]})
]
Gpus = Annotated[Literal["auto", "none"] | list[str], BeforeValidator(words.gpus)]
Address = Annotated[str, AfterValidator(words.address)]
Version = Annotated[Literal[1], BeforeValidator(lambda value: 1 if value == "1" else value)]


class Section(BaseModel):
    """A part of the course file: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Term(Section):
    """When the course takes place."""

    start: date = Field(description="First day.")
    end: date = Field(description="Last day.")
    timezone: TimeZone = Field("UTC", description="IANA name, such as Europe/Rome.")

    @model_validator(mode="after")
    def _in_order(self) -> Term:
        if self.end < self.start:
            raise ValueError(f"end ({self.end}) is before start ({self.start})")
        return self


class Student(Section):
    """One person of the roster."""

    username: UserName = Field(
        description="Name to sign in with; letters, digits and - _ . @ +", max_length=names.MAX_USER
    )
    name: str = Field("", description="How the person is called.")
    email: str = Field("", description="Where the person is reached.")
    group: Annotated[str, AfterValidator(words.group)] = Field("", description="A group of quotas.groups.")

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, value: Any) -> Any:
        return {"username": value} if isinstance(value, str) else value


class Ssh(Section):
    """Defaults for every host reached over SSH; ~/.ssh/config is honoured too."""

    user: Login | None = Field(None, description="User to sign in as.")
    port: int | None = Field(None, ge=1, le=65535, description="Port of the SSH server.")
    identity_file: FilePath | None = Field(None, description="Private key.")
    proxy_jump: Jump | None = Field(None, description="Host to go through, as in ssh -J.")
    known_hosts: FilePath | None = Field(None, description="File of trusted host keys, beside ~/.ssh/known_hosts.")
    sudo_password: SecretStr | None = Field(
        None, description="Password for sudo; write ${SUDO_PASSWORD}, never the password itself."
    )
    connect_timeout: Duration = Field(10, description="How long one host may take to answer.")


class Host(Section):
    """One machine of the course."""

    hostname: HostName = Field(description="Name or address, or a Host of ~/.ssh/config.")
    manager: bool = Field(
        False, description="It runs the hub and manages the swarm; if none says so, the first host does."
    )
    address: Address | None = Field(None, description="Address for the other hosts; found out when left away.")
    user: Login | None = Field(None, description="Instead of ssh.user.")
    port: int | None = Field(None, ge=1, le=65535, description="Instead of ssh.port.")
    identity_file: FilePath | None = Field(None, description="Instead of ssh.identity_file.")
    proxy_jump: Jump | None = Field(None, description="Instead of ssh.proxy_jump.")
    sudo_password: SecretStr | None = Field(None, description="Instead of ssh.sudo_password.")
    gpus: Gpus = Field("auto", description="auto: all that are found are lent; none; or a list of GPUs by their UUID.")
    labels: dict[Label, str] = Field({}, description="Labels of this node in the swarm.")

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
    url: Url | None = Field(None, description="Address for students, if a name or TLS stands before the port.")
    tls: Tls | None = Field(None, description="Serve HTTPS with this certificate.")
    auth: Literal["password"] = Field("password", description="How students sign in.")


class Image(Section):
    """What is added to the built-in notebook image, or what stands in its place."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    pip: list[Annotated[str, AfterValidator(words.requirement)]] = Field([], description="Python packages to add.")
    apt: list[Annotated[str, AfterValidator(words.package)]] = Field([], description="Debian packages to add.")
    from_: Annotated[str, AfterValidator(words.image)] | None = Field(
        None, alias="from", description="An image of your own, made from the built-in one; instead of pip and apt."
    )
    gpu: bool = Field(False, description="TensorFlow with CUDA for containers with GPUs; 6 GB more on hosts with GPUs.")

    @model_validator(mode="after")
    def _one_way(self) -> Image:
        if self.from_ and (self.pip or self.apt):
            raise words.Unfit("'from' brings its own packages", "leave pip and apt away, or 'from'")
        return self


class Notebook(Section):
    """A student's notebook container."""

    cpu_limit: float = Field(2, gt=0, description="CPUs it may use.")
    mem_limit: NotebookSize = Field(units.size("4G"), description="Memory it may use.")
    idle_timeout: Duration = Field(7200, description="Stopped when idle for this long; files stay. 0: never.")
    gpu_idle_timeout: Duration = Field(
        1800, description="A GPU not used for this long is announced and then taken back. 0: never."
    )
    gpu_idle_utilization: float = Field(5, ge=0, le=100, description="Percent up to which a GPU counts as not used.")
    homes: Literal["local"] = Field("local", description="Where homes live; local: on the notebook's host.")


class Worker(Section):
    """Size of one Spark worker (an executor in a container)."""

    cpus: int = Field(1, ge=1, description="CPUs, and tasks at a time.")
    memory: WorkerSize = Field(units.size("2G"), description="Memory of the container.")


class Cluster(Section):
    """A Spark cluster of the course that is always there."""

    name: ClusterName = Field(description="Name of the cluster.")
    workers: int = Field(2, ge=0, description="Workers it has.")


class Spark(Section):
    """Spark clusters."""

    worker: Worker = Field(Worker(), description="Size of a worker.")
    idle_timeout: Duration = Field(
        1800,
        description="A notebook's cluster without jobs for this long is released; the course's own stay. 0: never.",
    )
    lease: Lease = Field(60, description="A cluster whose kernel is silent for this long is released.")
    clusters: list[Cluster] = Field([], description="Clusters of the course itself.")


class Limits(Section):
    """What may be held at a time, all in all; what is left away has no limit."""

    workers: int | None = Field(None, ge=0, description="Spark workers; a larger one counts as several.")
    cpus: float | None = Field(None, ge=0, description="CPUs of workers and notebooks together.")
    memory: Size | None = Field(None, description="Memory of workers, drivers and notebooks together.")
    gpus: int | None = Field(None, ge=0, description="GPUs.")
    clusters: int | None = Field(None, ge=0, description="Spark clusters.")


class Quota(Limits):
    """What one person may hold at a time."""

    workers: int = Field(4, ge=0, description="Spark workers; a larger one counts as several.")
    gpus: int | None = Field(1, ge=0, description="GPUs.")
    guarantee: int = Field(0, ge=0, description="Workers that are always to be had: others give back what they borrow.")

    @model_validator(mode="after")
    def _within(self) -> Quota:
        if self.guarantee > self.workers:
            raise ValueError(f"guarantee ({self.guarantee}) is more than workers ({self.workers})")
        return self


class InstructorQuota(Quota):
    """What an instructor may hold at a time."""

    workers: int = Field(16, ge=0, description="Spark workers; a larger one counts as several.")
    gpus: int | None = Field(None, ge=0, description="GPUs.")


class GroupQuota(Quota):
    """What each student of a group may hold at a time, and what the whole group may."""

    together: Limits = Field(Limits(), description="What all of the group may hold together.")


class Quotas(Section):
    """Quotas by role, by group and by person. A person's own stands before the group's, and that before the role's."""

    student: Quota = Field(Quota(), description="Of every student.")
    instructor: InstructorQuota = Field(
        InstructorQuota(), description="Of every instructor, and of the course's own clusters."
    )
    groups: dict[str, GroupQuota] = Field({}, description="Of the students of one group, instead of student.")
    users: dict[UserName, Quota] = Field({}, description="Of one person, instead of the others.")
    course: Limits = Field(Limits(), description="What everybody may hold together.")


class DataSet(Section):
    """Data that every notebook and worker has under /data, read-only."""

    name: Annotated[str, AfterValidator(words.data_name)] = Field(
        description="The folder under /data; higgs is the UCI HIGGS set, which occam.data.higgs() reads."
    )
    source: Source = Field(
        description="Where it comes from: https://… or a path of this machine. CSV becomes Parquet, the rest stays."
    )
    sha256: Annotated[str, AfterValidator(words.sha256)] | None = Field(
        None, description="Of the source; a source with another one is refused."
    )

    @property
    def shown(self) -> str:
        """The source as students may see it: no password or key of an address, no folders of somebody's machine."""
        if not words.is_address(self.source):
            return Path(self.source).name
        parts = urlsplit(self.source)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class Network(Section):
    """Addresses inside the course."""

    pool: Pool = Field("10.186.0.0/16", description="Range for the course's networks; no host may use it.")


class Material(Section):
    """Files that come into every home, from a git repository, a folder, or what occamctl brings along."""

    git: GitUrl | None = Field(None, description="A git repository; credentials are those of your own git.")
    branch: Branch = Field("", description="Its branch or tag; without: the one that it names itself.")
    folder: FilePath | None = Field(None, description="Instead of git: a folder of this machine.")
    built_in: Literal["labs", "solutions"] | None = Field(
        None, description="Instead of git: the course's own labs, or their solutions."
    )
    into: Into = Field(description="Folder in the home that it comes into; one for each entry.")
    release: Release = Field(
        {},
        description="When students get it: a date and time, or one for each pattern of file names.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Material:
        given = [key for key in ("git", "folder", "built_in") if getattr(self, key) is not None]
        if len(given) != 1:
            what = " and ".join(given) + " contradict each other" if given else "names no source"
            raise words.Unfit(what, "write one of git, folder and built_in")
        if self.branch and self.git is None:
            raise words.Unfit("branch needs git", "leave branch away")
        return self

    @property
    def source(self) -> str:
        """Where it comes from, in a few words."""
        if self.git is not None:
            return f"{self.git}{f' ({self.branch})' if self.branch else ''}"
        return str(self.folder) if self.folder is not None else f"built-in {self.built_in}"


class Course(Section):
    """The whole course file."""

    version: Version = Field(description="Version of this format.")
    course: CourseName = Field(description="Names everything that runs.")
    title: str = Field("", description="Shown on the sign-in page.")
    instructors: list[Student] = Field([], description="People with an instructor's rights and quota.")
    students: list[Student] = Field([], description="A roster file (CSV: username,name,email,group) or a list.")
    term: Term | None = Field(None, description="When the course takes place.")
    ssh: Ssh = Field(Ssh(), description="Defaults of every host.")
    hosts: list[Host] = Field([], description="The machines; none: this machine's Docker engine.")
    hub: Hub = Field(Hub(), description="JupyterHub and its front door.")
    image: Image = Field(Image(), description="What is in the notebooks.")
    notebook: Notebook = Field(Notebook(), description="A student's notebook container.")
    spark: Spark = Field(Spark(), description="Spark clusters.")
    quotas: Quotas = Field(Quotas(), description="What one person may hold at a time.")
    data: list[DataSet] = Field([], description="Data sets under /data.")
    network: Network = Field(Network(), description="Addresses inside the course.")
    material: list[Material] = Field(
        [Material(built_in="labs", into="labs")], description="What comes into every home; []: nothing."
    )

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

    def moment(self, written: datetime) -> datetime:
        """A date of the file as a moment: in the course's time zone, unless it names an offset."""
        if written.tzinfo is not None:
            return written
        try:
            return written.replace(tzinfo=ZoneInfo(self.term.timezone) if self.term else UTC)
        except ZoneInfoNotFoundError:  # a container without tzdata; nobody asks there
            return written.replace(tzinfo=UTC)
