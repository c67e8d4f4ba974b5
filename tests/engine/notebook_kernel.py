"""A notebook's kernel as JupyterLab starts it; runs inside the notebook image, for tests of what its cells show."""

from __future__ import annotations

import contextlib
import queue
import time
from typing import Any

from jupyter_client.manager import KernelManager

CELL = 120


class Notebook:
    """One kernel, and its cells' outputs."""

    def __init__(self) -> None:
        self.manager = KernelManager(connection_file="/tmp/kernel-one.json")
        self.manager.start_kernel()
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=CELL)

    def run(self, code: str, *, interrupt_at: str = "") -> list[Any]:
        """What the cell shows: texts, HTML, and ["error", name, message]. `interrupt_at`: when it shows this."""
        asked = self.client.execute(code)
        shown: list[Any] = []
        while True:
            message = self.client.get_iopub_msg(timeout=CELL)
            content, kind = message["content"], message["msg_type"]
            if message["parent_header"].get("msg_id") != asked:
                continue
            if kind == "stream":
                shown.append(content["text"])
            elif kind in ("display_data", "update_display_data", "execute_result"):
                shown.append(content["data"].get("text/html") or content["data"]["text/plain"])
                if interrupt_at and interrupt_at in shown[-1]:
                    interrupt_at = ""
                    self.manager.interrupt_kernel()
            elif kind == "error":
                shown.append(["error", content["ename"], content["evalue"]])
            elif content.get("execution_state") == "idle":
                self._settle()
                return shown

    def restart(self, *, now: bool = False) -> None:
        """now: by kill -9, as when a kernel does not listen any more."""
        self.manager.restart_kernel(now=now)
        self.client.wait_for_ready(timeout=CELL)

    def shut_down(self) -> None:
        self.manager.shutdown_kernel()

    def _settle(self) -> None:
        """After an error a kernel drops what is queued, for a moment."""
        with contextlib.suppress(queue.Empty):
            self.client.get_shell_msg(timeout=5)
        time.sleep(0.3)
