"""What a host's GPUs do now, told to the gateway: the program of the service `<course>-gpus`.

It is sent there as text, so it uses the standard library only. `GET /` with the header `Authorization: token …` of the
gateway answers, as JSON:

    {"node": id, "host": name, "age": seconds since it was read, "trouble": "" or words, "gpus": [
        {"uuid": …, "utilization": percent or null, "memory_used": bytes, "memory": bytes, "processes": [pid, …]}]}

`utilization` is null for MIG instances: the driver tells none. `processes` are those that the driver shows to a
container, which may be fewer than there are; memory in use tells that there are any. What was read last stays when the
driver breaks, with `trouble`.
"""

from __future__ import annotations

import hmac
import json
import os
import re
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

EVERY = 5
"""Seconds between two readings."""
DEADLINE = 15
"""Seconds for one call of nvidia-smi."""
_FORMAT = "--format=csv,noheader,nounits"
_MIG_ROW = re.compile(r"\|\s+(\d+)\s+\d+\s+\d+\s+(\d+)\s+\|\s*(\d+)MiB\s*/\s*(\d+)MiB")
_GPU = re.compile(r"GPU (\d+): .+ \(UUID: (GPU-[^)\s]+)\)")
_MIG = re.compile(r"\s+MIG \S+\s+Device\s+(\d+): \(UUID: (MIG-[^)\s]+)\)")


class Hangs(Exception):
    """nvidia-smi does not end."""


class Tool:
    """nvidia-smi. One that hangs cannot be killed when the driver holds it: no other is started until it is gone."""

    def __init__(self) -> None:
        self._hanging: subprocess.Popen[str] | None = None

    def __call__(self, *words: str) -> str:
        """What it prints. Raises Hangs, and OSError when it is not there."""
        if self._hanging is not None and self._hanging.poll() is None:
            raise Hangs
        self._hanging = None
        running = subprocess.Popen(
            ["nvidia-smi", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            return running.communicate(timeout=DEADLINE)[0]
        except subprocess.TimeoutExpired:
            running.kill()
            self._hanging = running
            raise Hangs from None


def read(tool: Tool) -> tuple[list[dict[str, Any]], str]:
    """The GPUs as they are now, and what is wrong with them."""
    listed, table = tool("-L"), tool()
    asked = tool("--query-gpu=uuid,utilization.gpu,memory.used,memory.total", _FORMAT)
    running = tool("--query-compute-apps=gpu_uuid,pid", _FORMAT)
    rows = [[word.strip() for word in line.split(",")] for line in asked.splitlines()]
    slices = _slices(listed, table)
    cut = {owner for owner, _, _, _ in slices}
    # One that is broken may have a row of its own in which nothing is a number.
    well = {row[0]: row for row in rows if len(row) == 4 and row[0].startswith("GPU-") and row[3].isdigit()}
    found = [
        _told(uuid, row[1], int(row[2]) << 20 if row[2].isdigit() else 0, int(row[3]) << 20)
        for uuid, row in well.items()
        if uuid not in cut
    ]
    found += [_told(uuid, "", used, size) for _, uuid, used, size in slices]
    for line in running.splitlines():
        owner, _, process = line.partition(",")
        for one in found:
            if one["uuid"] == owner.strip() and process.strip().isdigit():
                one["processes"].append(int(process))
    wrong = [line for line in asked.splitlines() if line.strip() and line.split(",")[0] not in {*well, *cut}]
    return found, "; ".join(dict.fromkeys(wrong))


def _told(uuid: str, utilization: str, used: int, size: int) -> dict[str, Any]:
    percent = int(utilization) if utilization.isdigit() else None
    return {"uuid": uuid, "utilization": percent, "memory_used": used, "memory": size, "processes": []}


def _slices(listed: str, table: str) -> list[tuple[str, str, int, int]]:
    """MIG instances: UUID of their GPU, their own, bytes used and in all."""
    sizes = {(row[0], row[1]): (int(row[2]) << 20, int(row[3]) << 20) for row in _MIG_ROW.findall(table)}
    owner, found = ("", ""), []
    for line in listed.splitlines():
        if gpu := _GPU.match(line):
            owner = (gpu[1], gpu[2])
        elif mig := _MIG.match(line):
            found.append((owner[1], mig[2], *sizes.get((owner[0], mig[1]), (0, 0))))
    return found


class Last:
    """What was read last."""

    def __init__(self) -> None:
        self.gpus: list[dict[str, Any]] = []
        self.trouble = "not read yet"
        self.at = time.monotonic()

    def look(self, tool: Tool) -> None:
        try:
            found, trouble = read(tool)
        except Hangs:
            self.trouble = f"nvidia-smi does not end within {DEADLINE} s: the driver hangs"
        except OSError as error:
            self.trouble = f"nvidia-smi cannot be run: {error.strerror}"
        else:
            self.gpus, self.trouble, self.at = (found or self.gpus), trouble, time.monotonic()

    def told(self) -> bytes:
        said = {
            "node": os.environ.get("OCCAM_NODE", ""),
            "host": os.environ.get("OCCAM_HOST", ""),
            "age": round(time.monotonic() - self.at, 1),
            "trouble": self.trouble,
            "gpus": self.gpus,
        }
        return json.dumps(said).encode()


def server(port: int, token: str, last: Last) -> ThreadingHTTPServer:
    """Answers whoever has the token, and nobody else."""

    class Answer(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            right = hmac.compare_digest(self.headers.get("Authorization", ""), f"token {token}")
            body = last.told() if right else b"{}"
            self.send_response(200 if right else 403)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """A line for each question would fill the log."""

    return ThreadingHTTPServer(("", port), Answer)


def main(port: int) -> None:
    with open("/run/secrets/gateway-token") as file:
        token = file.read().strip()
    last, tool = Last(), Tool()
    threading.Thread(target=server(port, token, last).serve_forever, daemon=True).start()
    while True:
        last.look(tool)
        time.sleep(EVERY)


if __name__ == "__main__":
    main(int(sys.argv[1]))
