"""What `gpu check` tells a person."""

from __future__ import annotations

from occamctl.actions.gpus import lines

GPU = {"uuid": "GPU-a", "model": "NVIDIA A100-SXM4-40GB", "memory": 40 << 30, "profile": ""}
SLICE = {"uuid": "MIG-x", "model": "NVIDIA A100-SXM4-40GB", "memory": 4864 << 20, "profile": "1g.5gb"}
ROW = {
    "host": "lab1",
    "gpus": [GPU, SLICE],
    "lends": ["GPU-a"],
    "driver": "570.133.20",
    "cuda": "",
    "toolkit": "1.19.1",
    "missing": [
        {"what": "no NVIDIA container toolkit", "fix": "run: occamctl host prepare --gpu"},
        {"what": "its engine's default runtime is runc", "fix": "run: occamctl host prepare --gpu"},
    ],
    "state": "not ready",
}


def test_a_host_in_words() -> None:
    assert lines(ROW) == [
        "lab1: not ready (driver 570.133.20, toolkit 1.19.1)",
        "  A100-SXM4-40GB, 40G, GPU-a",
        "  A100-SXM4-40GB MIG 1g.5gb, 4.8G, MIG-x (not lent)",
        "  missing: no NVIDIA container toolkit",
        "  missing: its engine's default runtime is runc",
        "    fix: run: occamctl host prepare --gpu",
    ]


def test_a_host_without_gpus_is_one_line() -> None:
    bare = ROW | {"gpus": [], "lends": [], "driver": "", "toolkit": "", "missing": [], "state": "no GPU"}
    assert lines(bare) == ["lab1: no GPU"]
