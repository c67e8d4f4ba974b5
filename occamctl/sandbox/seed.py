"""Give a pretend host images in seconds: hard links of this machine's layers, before the host's engine starts.

Loading an image of 3 GB through the API takes minutes for each host. The layers are the same read-only files, so links
serve, where this machine's engine keeps them in the overlay2 store and this process may read it. Where not, nothing is
lost: `course up` delivers what a host lacks.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from occamctl.engine.client import Engine, speaking_to

COPY_SECONDS = 300


def seed(engine: Engine, volume: str, tags: Sequence[str], say: Callable[[str], None]) -> bool:
    """Clone `tags` of this machine's engine into a volume that will be another engine's data. False: not possible."""
    with speaking_to(engine.name):
        info = engine.api.info()
        target = Path(engine.api.inspect_volume(volume)["Mountpoint"])
        wanted = {tag: engine.api.inspect_image(tag) for tag in tags}
    source = Path(info["DockerRootDir"])
    store = source / "image" / "overlay2"
    if info["Driver"] != "overlay2" or os.geteuid() or not store.is_dir() or not target.is_dir():
        return False
    say(f"cloning {len(tags)} images")
    repositories: dict[str, dict[str, str]] = {}
    for tag, image in wanted.items():
        for chain in _chains(image["RootFS"]["Layers"]):
            _layer(store, source, target, chain)
        _config(store, target, image["Id"])
        repositories.setdefault(tag.rpartition(":")[0], {})[tag] = image["Id"]
    (target / "image" / "overlay2" / "repositories.json").write_text(json.dumps({"Repositories": repositories}))
    return True


def _chains(layers: Sequence[str]) -> Iterator[str]:
    """Chain ids of the layers, the lowest first (OCI image specification, "Layer ChainID")."""
    chain = ""
    for layer in layers:
        chain = f"sha256:{hashlib.sha256(f'{chain} {layer}'.encode()).hexdigest()}" if chain else layer
        yield chain.removeprefix("sha256:")


def _layer(store: Path, source: Path, target: Path, chain: str) -> None:
    there = store / "layerdb" / "sha256" / chain
    to = target / "image" / "overlay2" / "layerdb" / "sha256" / chain
    if to.exists():
        return
    cache = (there / "cache-id").read_text()
    to.parent.mkdir(parents=True, exist_ok=True)
    files, links = target / "overlay2", target / "overlay2" / "l"
    links.mkdir(parents=True, exist_ok=True)
    (files / cache).mkdir(mode=0o710)
    for part in ("diff", "link", "lower", "committed"):
        if (source / "overlay2" / cache / part).exists():
            subprocess.run(
                ["cp", "-al", str(source / "overlay2" / cache / part), str(files / cache / part)],
                check=True,
                timeout=COPY_SECONDS,
            )
    if (files / cache / "lower").exists():
        (files / cache / "work").mkdir(mode=0o700, exist_ok=True)
    os.symlink(f"../{cache}/diff", links / (files / cache / "link").read_text())
    shutil.copytree(there, to)


def _config(store: Path, target: Path, image: str) -> None:
    number = image.removeprefix("sha256:")
    to = target / "image" / "overlay2" / "imagedb" / "content" / "sha256"
    to.mkdir(parents=True, exist_ok=True)
    shutil.copy2(store / "imagedb" / "content" / "sha256" / number, to / number)
