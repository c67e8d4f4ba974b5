"""`occamctl spark …`: what scripts rest on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from occamctl.cli.main import main

CLUSTER: dict[str, Any] = {
    "owner": "anna", "name": "lab", "state": "failed", "exit_code": None, "wanted": 1, "cores": 1, "memory": 1 << 30,
    "gpu": "", "gpu_workers": 0, "driver": "connect", "app_id": "app-1", "since": "", "connect_url": "",
    "message": "out of luck", "executors": [], "registered": None, "lease_left": None,
}  # fmt: skip


@pytest.mark.parametrize("output", ["table", "json", "yaml"])
@pytest.mark.parametrize(("state", "code"), [("failed", 1), ("running", 0), ("finished", 0)])
def test_the_exit_code_of_status_is_the_same_however_it_is_shown(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    output: str,
    state: str,
    code: int,
) -> None:
    monkeypatch.setattr("occamctl.actions.session.connect_all", lambda course, only=None: ({}, {}))
    monkeypatch.setattr("occamctl.actions.clusters.find", lambda session, user, name: CLUSTER | {"state": state})
    file = tmp_path / "occam.yaml"
    file.write_text("version: 1\ncourse: ml\n")
    with pytest.raises(SystemExit) as ended:
        main(["spark", "status", "-c", str(file), "-o", output])
    assert ended.value.code == code
    shown = capsys.readouterr().out
    assert json.loads(shown)["state"] == state if output == "json" else "out of luck" in shown
