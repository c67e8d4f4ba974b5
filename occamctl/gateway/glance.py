"""Everything at a glance: hosts with what is reserved on them, notebooks, clusters."""

from __future__ import annotations

from typing import Any

from occamctl.gateway.api import Parts


def glance(parts: Parts) -> dict[str, Any]:
    """`{"nodes", "notebooks", "clusters"}`; memory in bytes. Raises EngineError."""
    seen = parts.sight.look(1)
    used = seen.reserved()
    return {
        "nodes": [
            {
                "name": node.hostname,
                "hostname": node.hostname,
                "role": node.role,
                "state": node.state,
                "availability": node.availability,
                "cpus": node.cpus,
                "memory": node.memory,
                "cpus_used": round(used[node.id][0], 3),
                "memory_used": used[node.id][1],
            }
            for node in sorted(seen.nodes.values(), key=lambda node: node.hostname)
        ],
        "notebooks": parts.notebooks.all(),
        "clusters": [parts.clusters.view(one) for one in parts.clusters.ledger],
    }
