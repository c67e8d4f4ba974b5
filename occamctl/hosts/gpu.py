"""A host's GPUs, and what is around them: a part of the command that reads its facts, and pure parsers.

nvidia-smi may hang for ever when a driver is broken, in a system call that no signal ends. So each call has a deadline
of its own, and whoever reads its output ends without it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from occamctl.plan.gpu_setup import CONFIG, DAEMON
from occamctl.plan.observed import Gpu, GpuSupport, HostFile

DEADLINE = 15
"""Seconds for one call of nvidia-smi: without persistence mode it wakes every GPU first, eight of them for ten."""
_TIMED_OUT = ("124", "137")
_NVIDIA = "0x10de"
# PCI classes 0x03…: display controllers. A host without a card and without nvidia-smi pays for two small commands.
LOOK = rf"""
part gpucards; grep -ls {_NVIDIA} /sys/bus/pci/devices/*/vendor | sed 's/vendor$/class/' | xargs -r grep -hs '^0x03'
smi() {{
  as=$1; shift
  {{
    timeout -s KILL {DEADLINE + 2} timeout -k 1 {DEADLINE} nvidia-smi "$@" 2>&1 </dev/null
    printf '\nexit %s\n' "$?"
  }} | while IFS= read -r line; do
    printf '%s: %s\n' "$as" "$line"
    case $line in 'exit '*) break;; esac
  done
}}
file() {{ if [ -r "$1" ]; then echo text; cat "$1"; elif [ -e "$1" ]; then echo unreadable; else echo none; fi; }}
if command -v nvidia-smi >/dev/null; then
  part gpus
  smi list -L & smi table &
  smi query --query-gpu=index,uuid,name,memory.total,driver_version --format=csv,noheader,nounits & wait
  part gputoolkit; command -v nvidia-container-runtime >/dev/null && timeout 10 nvidia-container-runtime --version 2>&1
  part gpuconfig; file {CONFIG}
  part gpudaemon; file {DAEMON}
fi
"""
_GPU = re.compile(r"GPU (\d+): (.+) \(UUID: (GPU-[^)\s]+)\)")
_MIG = re.compile(r"\s+MIG (\S+)\s+Device\s+(\d+): \(UUID: (MIG-[^)\s]+)\)")
_MIG_ROW = re.compile(r"\|\s+(\d+)\s+\d+\s+\d+\s+(\d+)\s+\|\s*\d+MiB\s*/\s*(\d+)MiB")
_GPU_ROW = re.compile(r"\|\s+(\d+)\s+\S.*\|.*\|.*\|$")
_SIZE = re.compile(r"\.(\d+)gb")


def gpus(parts: Mapping[str, str]) -> tuple[Gpu, ...]:
    """The GPUs that can be given to somebody; for one in MIG mode its instances, of which there may be none."""
    said = _said(parts)
    sizes = {(row[1], row[2]): int(row[3]) << 20 for line in said["table"] if (row := _MIG_ROW.match(line))}
    whole = {row[0]: Gpu(row[1], row[2], int(row[3]) << 20) for row in _rows(said["query"]) if row[3].isdigit()}
    instances = list(_instances(said["list"], whole, sizes))
    cut = {index for index, _ in instances} | set(_in_mig_mode(said["table"]))
    return (*(gpu for index, gpu in whole.items() if index not in cut), *(gpu for _, gpu in instances))


def support(parts: Mapping[str, str]) -> GpuSupport:
    """What is around the GPUs."""
    said = _said(parts)
    cuda = re.search(r"CUDA (?:UMD )?Version: (\d[\d.]*)", "\n".join(said["table"]))
    version = re.search(r"NVIDIA Container Runtime version (\d[\w.~-]*)", parts.get("gputoolkit", ""))
    return GpuSupport(
        cards=parts.get("gpucards", "").count("0x03"),
        tool="gpus" in parts,
        driver=next((row[4] for row in _rows(said["query"])), ""),
        cuda=cuda[1] if cuda else "",
        hangs=any(one in _TIMED_OUT for one in said["exit"]),
        trouble=tuple(dict.fromkeys(_trouble(said))),
        toolkit=version[1] if version else "",
        config=_file(parts.get("gpuconfig", "")),
        daemon=_file(parts.get("gpudaemon", "")),
    )


def _said(parts: Mapping[str, str]) -> dict[str, list[str]]:
    """What each call printed, line by line, and the exit codes of all."""
    made: dict[str, list[str]] = {"list": [], "table": [], "query": [], "exit": []}
    for call, line in re.findall(r"^(list|table|query): (.*)$", parts.get("gpus", ""), re.MULTILINE):
        made["exit" if line.startswith("exit ") else call].append(line.removeprefix("exit ").rstrip())
    return made


def _rows(lines: list[str]) -> Iterator[list[str]]:
    """Rows of index, UUID, model, MiB, driver."""
    for line in lines:
        words = [word.strip() for word in line.split(",")]
        if len(words) == 5 and words[1].startswith("GPU-"):
            yield words


def _in_mig_mode(table: list[str]) -> Iterator[str]:
    """Numbers of the GPUs whose third line says that MIG is on."""
    index = ""
    for line in table:
        if "MIG devices" in line:
            return
        if row := _GPU_ROW.match(line):
            index = row[1]
        if index and line.strip("| ").rpartition("|")[2].strip(" *") == "Enabled":
            yield index


def _instances(
    listed: list[str], whole: Mapping[str, Gpu], sizes: Mapping[tuple[str, str], int]
) -> Iterator[tuple[str, Gpu]]:
    """MIG instances, each with the number of its GPU. Where the table does not tell a size, the profile's name does."""
    index = ""
    for line in listed:
        if gpu := _GPU.match(line):
            index, model = gpu[1], gpu[2]
        elif index and (mig := _MIG.match(line)):
            named = _SIZE.search(mig[1])
            size = sizes.get((index, mig[2])) or (int(named[1]) << 30 if named else 0)
            yield index, Gpu(mig[3], whole[index].model if index in whole else model, size, mig[1].lower())


def _trouble(said: Mapping[str, list[str]]) -> Iterator[str]:
    """Lines that are neither a GPU nor empty, and GPUs that nobody can use."""
    for line in said["query"]:
        words = [word.strip() for word in line.split(",")]
        if len(words) == 5 and words[1].startswith("GPU-"):
            if not words[3].isdigit():
                yield f"{words[1]} ({words[2]}) does not tell its memory"
        elif line:
            yield line
    yield from (line for line in said["list"] if line and not _GPU.match(line) and not _MIG.match(line))
    full = {index for index, _ in _instances(said["list"], {}, {})}
    for index in _in_mig_mode(said["table"]):
        if index not in full:
            yield f"GPU {index} is in MIG mode and has no instance"


def _file(part: str) -> HostFile:
    state, _, text = part.partition("\n")
    return HostFile(text if state == "text" else None, state != "unreadable")
