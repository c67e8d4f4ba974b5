"""The single-user server of a course's notebook."""

from __future__ import annotations

import aiohttp.connector
from aiohttp.resolver import ThreadedResolver

# JupyterHub's client would ask through c-ares, which keeps an address as long as the engine's name server allows: ten
# minutes, in which nobody could open a notebook after the hub was replaced. The client takes no settings here.
aiohttp.connector.DefaultResolver = ThreadedResolver  # type: ignore[misc]

c = get_config()  # noqa: F821

c.ServerApp.ip = "0.0.0.0"
c.ServerApp.port = 8888
c.ServerApp.port_retries = 0
c.ServerApp.open_browser = False
c.ServerApp.root_dir = "/home/student"
c.ServerApp.default_url = "/lab"
c.ServerApp.terminals_enabled = True
# Half-written notebooks after a kill: write beside the file, then rename.
c.FileContentsManager.use_atomic_writing = True
# Kernels end before the server does, within the service's grace period of 30 s.
c.KernelManager.shutdown_wait_time = 8.0
# What is installed is the course's; a student adds packages with pip, in the own home.
c.LabApp.extension_manager = "readonly"
# Spark's page and the like are reached at proxy/<port>/, inside this container only.
c.ServerProxy.host_allowlist = ["localhost", "127.0.0.1"]
# Material that is released while the notebook runs.
c.ServerApp.jpserver_extensions = {"occam.rounds": True}
