"""Leave out of an image's archive the layers that its receiver has. Pure.

`docker load` opens the file of a layer only when it lacks that layer, so an archive without the file is as good, and a
change of our own code sends megabytes where the whole image has gigabytes. How files of an archive are called:

- since Docker 25 by the hash of their content: `blobs/sha256/<layer>`;
- before by an id of their own, `<id>/layer.tar`. It is a hash over the layer, those below it, and a configuration that
  is empty for every layer but the last (moby: image/v1/imagev1.go, CreateID). An id that we compute wrongly, because
  an engine does it differently, matches no file: then nothing is left out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence

_BLOCK = 512
_ABOUT_NEXT = (b"x", b"g", b"L", b"K")
"""Types of headers that say something about the header after them."""
_NOTHING = (
    '{"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":false,"AttachStderr":false,"Tty":false,'
    '"OpenStdin":false,"StdinOnce":false,"Env":null,"Cmd":null,"Image":"","Volumes":null,"WorkingDir":"","Entrypoint":null,'
    '"OnBuild":null,"Labels":null}'
)


def shared(wanted: Sequence[str], there: Iterable[Sequence[str]]) -> int:
    """How many of the lowest layers of `wanted` one of the images `there` has too, in the same order."""
    most = 0
    for layers in there:
        same = 0
        for mine, theirs in zip(wanted, layers, strict=False):
            if mine != theirs:
                break
            same += 1
        most = max(most, same)
    return most


def files(layers: Sequence[str], count: int) -> frozenset[str]:
    """Names in the archive of the lowest `count` layers; `layers` are all digests of the image, lowest first."""
    blobs = {f"blobs/sha256/{digest.removeprefix('sha256:')}" for digest in layers[:count]}
    return frozenset(blobs | {f"{one}/layer.tar" for one in _old_ids(layers[: min(count, len(layers) - 1)])})


def _old_ids(layers: Sequence[str]) -> Iterator[str]:
    chain = parent = ""
    for digest in layers:
        chain = f"sha256:{_sha(f'{chain} {digest}')}" if chain else digest
        fields = {"container_config": _NOTHING, "created": '"1970-01-01T00:00:00Z"', "layer_id": json.dumps(chain)}
        if parent:
            fields["parent"] = json.dumps(f"sha256:{parent}")
        parent = _sha("{" + ",".join(f'"{key}":{fields[key]}' for key in sorted(fields)) + "}")
        yield parent


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class _Reader:
    """Bytes of a stream of chunks."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks, self._held = iter(chunks), b""

    def exactly(self, count: int) -> bytes:
        """`count` bytes; fewer at the end of the stream."""
        while len(self._held) < count:
            more = next(self._chunks, b"")
            if not more:
                break
            self._held += more
        taken, self._held = self._held[:count], self._held[count:]
        return taken

    def pieces(self, count: int) -> Iterator[bytes]:
        """`count` bytes, as they come."""
        while count > 0:
            piece = self._held or next(self._chunks, b"")
            if not piece:
                return
            taken, self._held = piece[:count], piece[count:]
            count -= len(taken)
            yield taken

    def rest(self) -> Iterator[bytes]:
        yield self._held
        yield from self._chunks


def without(chunks: Iterable[bytes], names: frozenset[str]) -> Iterator[bytes]:
    """The same tar archive without the files called `names`."""
    stream, about = _Reader(chunks), b""
    while True:
        header = stream.exactly(_BLOCK)
        if len(header) < _BLOCK or not header.strip(b"\0"):
            yield about + header
            yield from stream.rest()
            return
        size = -(-_size(header) // _BLOCK) * _BLOCK
        if header[156:157] in _ABOUT_NEXT:
            about += header + stream.exactly(size)
            continue
        body = stream.pieces(size)
        if _name(header) in names:
            for _ in body:
                pass
        else:
            yield about + header
            yield from body
        about = b""


def _size(header: bytes) -> int:
    field = header[124:136]
    if field[0] & 0x80:  # too big for octal digits: GNU tar's binary form
        return int.from_bytes(field[1:], "big")
    return int(field.split(b"\0", 1)[0].strip() or b"0", 8)


def _name(header: bytes) -> str:
    prefix, name = header[345:500].split(b"\0", 1)[0], header[:100].split(b"\0", 1)[0]
    path = prefix + b"/" + name if prefix and header[257:262] == b"ustar" and header[262:263] == b"\0" else name
    return path.decode(errors="replace")
