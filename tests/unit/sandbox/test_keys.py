"""The key pair that signs in to pretend hosts."""

from __future__ import annotations

from pathlib import Path

import paramiko

from occamctl.sandbox import keys


def test_a_pair_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "state" / "id_ed25519"
    public = keys.ensure_pair(path)
    assert path.stat().st_mode & 0o777 == 0o600
    key = paramiko.Ed25519Key(filename=str(path))
    assert public.split()[:2] == ["ssh-ed25519", key.get_base64()]
    assert path.with_suffix(".pub").read_text() == public
    assert keys.ensure_pair(path) == public
