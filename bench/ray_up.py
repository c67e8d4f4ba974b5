"""Ray by `ray up`: its local provider, containers of one image on every host."""

from __future__ import annotations

RAY = "ray[default]==2.60.0"
DOCKERFILE = """\
ARG BASE
FROM ${{BASE}}
RUN python3 -m venv /opt/ray \\
 && /opt/ray/bin/pip install --quiet --no-cache-dir "{ray}" \\
 && export DEBIAN_FRONTEND=noninteractive \\
 && apt-get update -q && apt-get install -qy --no-install-recommends openssh-client rsync \\
 && rm -rf /var/lib/apt/lists/*
"""
"""ssh and rsync: `ray up` brings its files to the hosts with them."""

CLUSTER = """\
cluster_name: bench
provider: {{type: local, head_ip: {head}, worker_ips: [{workers}]}}
auth: {{ssh_user: ops, ssh_private_key: /work/id_ed25519}}
min_workers: {many}
max_workers: {many}
docker: {{image: "{image}", container_name: ray, pull_before_run: false}}
initialization_commands: []
setup_commands: []
head_setup_commands: []
worker_setup_commands: []
head_start_ray_commands:
  - >-
    /opt/ray/bin/ray start --head --port=6379 --num-cpus=2 --object-store-memory=100000000
    --autoscaling-config=~/ray_bootstrap_config.yaml
worker_start_ray_commands:
  - /opt/ray/bin/ray start --address=$RAY_HEAD_IP:6379 --num-cpus=1 --object-store-memory=100000000
"""

TASK = """
import os, socket, time
import ray
ray.init(address="auto", log_to_driver=False)
@ray.remote(num_cpus=1)
def where():
    time.sleep(0.1)
    return socket.gethostname(), os.getpid()
seen = set()
while len(seen) < 4:
    seen |= set(ray.get([where.remote() for _ in range(4)]))
"""
"""On the head, which has two of the four CPUs."""

ENVIRONMENT = {"RAY_UP_enable_autoscaler_v2": "0", "PATH": "/opt/ray/bin:/usr/bin:/bin"}
"""With the new autoscaler of 2.60 the local provider starts only the first of several workers."""
