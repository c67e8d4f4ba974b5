"""How a container becomes a pretend host: sshd and an engine in it, without --privileged."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from occamctl.engine.client import Engine

# All that Docker 20.10 knows but SYS_RESOURCE, which is not to be had on every machine: so no --privileged.
_CAPABILITIES = [
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
]


def create(
    engine: Engine,
    container: str,
    *,
    image: str,
    network: str,
    address: str,
    volume: str,
    labels: Mapping[str, str],
    options: Mapping[str, str],
    public_key: str,
) -> None:
    """Create (not start) a pretend host. The engine inside has its own data volume."""
    host_config: dict[str, Any] = engine.api.create_host_config(
        cap_add=list(_CAPABILITIES),
        security_opt=["seccomp=unconfined", "apparmor=unconfined"],
        device_cgroup_rules=["a *:* rwm"],
        binds=["/sys/fs/cgroup:/sys/fs/cgroup:rw", f"{volume}:/var/lib/docker"],
        network_mode=network,
    )
    # What `docker run --security-opt systempaths=unconfined` sends: an engine writes to /proc/sys for its networks.
    # The control groups that are mounted are this machine's: with cgroup v2 a name space of its own would not fit them.
    host_config |= {"MaskedPaths": [], "ReadonlyPaths": [], "CgroupnsMode": "host"}
    engine.api.create_container(
        image,
        name=container,
        hostname=container,
        labels=dict(labels),
        environment={**_dns(), **options},
        host_config=host_config,
        networking_config=engine.api.create_networking_config(
            {network: engine.api.create_endpoint_config(ipv4_address=address)}
        ),
    )
    engine.api.put_archive(container, "/", _file("etc/occam/authorized_keys", public_key.encode()))


def _dns() -> dict[str, str]:
    """This machine's name server, for containers in the pretend hosts: the one that Docker gives these is theirs."""
    lines = Path("/etc/resolv.conf").read_text().splitlines() if Path("/etc/resolv.conf").exists() else []
    servers = [line.split()[1] for line in lines if line.startswith("nameserver") and len(line.split()) > 1]
    usable = [server for server in servers if not server.startswith("127.")]
    return {"OCCAM_DNS": usable[0]} if usable else {}


def _file(path: str, content: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        folder = tarfile.TarInfo(str(Path(path).parent))
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(folder)
        entry = tarfile.TarInfo(path)
        entry.size, entry.mode = len(content), 0o644
        archive.addfile(entry, io.BytesIO(content))
    return made.getvalue()
