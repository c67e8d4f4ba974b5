"""This notebook's kernel: its id, which a restart keeps, and whether it is being restarted."""

from __future__ import annotations

import re
import sys
from typing import Any


def ident() -> str:
    """The id of this notebook's kernel, or "" outside of one."""
    if "ipykernel" not in sys.modules:
        return ""
    from ipykernel.connect import get_connection_file

    try:
        found = re.search(r"kernel-(.+)\.json$", get_connection_file())
    except RuntimeError:
        return ""
    return found[1] if found else ""


def shell() -> Any:
    """IPython's shell, or None in a plain Python."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython

    return get_ipython()


def in_notebook() -> bool:
    """Whether what is displayed can be changed later."""
    return hasattr(shell(), "kernel")


def restarts() -> bool:
    """Whether the kernel ends because somebody asked for its restart: then a next one with its id will come."""
    message = getattr(getattr(shell(), "kernel", None), "_shutdown_message", None)
    return bool(message and message["content"].get("restart"))
