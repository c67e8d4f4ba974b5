"""From what was brought to what lies in /data: CSV becomes Parquet, all else stays. Runs where data_inside.py does.

Nothing holds more than a block of rows: the set may be larger than the container's memory.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from data_inside import Told  # type: ignore[import-not-found]
from pyarrow import csv, parquet

ROWS = 250_000
"""Rows of one Parquet file: a few tasks' work, and a fair sample."""
_BYTES = 128 << 20
_BLOCK = 8 << 20
_CSV = (".csv", ".csv.gz", ".csv.zip")


class Unusable(Exception):
    """The source is not what its name says."""

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(what)
        self.fix = fix


def convert(name: str, part: Path, file: str, out: Path) -> int | None:
    """Make the files of the set in `out`; how many rows there are, None when nobody counted.

    file  the source's own name; its content says more: gzip, zip, tar and Parquet are told by their first bytes
    """
    try:
        return _converted(name, part, file, out)
    except (
        pa.ArrowException,
        zipfile.BadZipFile,
        tarfile.TarError,
        EOFError,
        gzip.BadGzipFile,
        zipfile.LargeZipFile,
    ) as error:
        raise Unusable(_line(error), "is it whole, and of the right form?") from None
    except OSError as error:  # pyarrow's way to say that a gzip file ends too soon; the system's have a number
        if error.errno is not None:
            raise
        raise Unusable(_line(error), "is it whole?") from None


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _converted(name: str, part: Path, file: str, out: Path) -> int | None:
    head = _head(part)
    if head.startswith(b"PAR1"):
        return _parquet(name, part, out)
    if _is_tar(head) or (head.startswith(b"\x1f\x8b") and _is_tar(_unpacked_head(part))):
        _tar(part, out)
        return None
    with _plain(part, head) as (text, first):
        if first.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
            raise Unusable("is a web page, no data", "give the address of the file itself")
        if name == "higgs":
            return _higgs(text, first, out, part)
        if file.lower().endswith(_CSV):
            return _csv(text, out, part, csv.ReadOptions(block_size=_BLOCK), None)
    # Anything else is a file that somebody knows how to read.
    (out / Path(file).name).hardlink_to(part)
    return None


def _head(part: Path) -> bytes:
    with part.open("rb") as content:
        return content.read(512)


def _unpacked_head(part: Path) -> bytes:
    with gzip.open(part) as content:
        return content.read(512)


def _is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"


class _plain:
    """The source's text, unpacked on the way: (a stream from its beginning, its first bytes)."""

    def __init__(self, part: Path, head: bytes) -> None:
        self._part, self._head = part, head

    def __enter__(self) -> tuple[Any, bytes]:
        first, _ = self._opened()
        begin = first.read(4096)
        first.close()
        stream, self.file = self._opened()
        return stream, bytes(begin)

    def _opened(self) -> tuple[Any, Any]:
        if self._head.startswith(b"PK\x03\x04"):
            packed = zipfile.ZipFile(self._part)
            inside = [one for one in packed.infolist() if not one.is_dir() and not one.filename.startswith("__MACOSX")]
            if len(inside) != 1:
                raise Unusable(f"holds {len(inside)} files", "give one file, or a tar to have all as they are")
            with packed.open(inside[0]) as content:
                gzipped = content.read(2) == b"\x1f\x8b"
            raw: Any = pa.PythonFile(packed.open(inside[0]), mode="r")
        else:
            gzipped, raw = self._head.startswith(b"\x1f\x8b"), pa.OSFile(str(self._part))
        return (pa.CompressedInputStream(raw, "gzip") if gzipped else raw), raw

    def __exit__(self, *_: object) -> None:
        self.file.close()


def _higgs(text: Any, first: bytes, out: Path, part: Path) -> int:
    """The UCI set has no names in its first line; copies of it that have some are taken too."""
    from occam.higgs.columns import COLUMNS

    line = first.partition(b"\n")[0].decode("utf-8", "replace").strip()
    fields = line.split(",")
    if len(fields) != len(COLUMNS):
        raise Unusable(
            f"has {len(fields)} columns, the HIGGS set has {len(COLUMNS)}", "give HIGGS.csv.gz as UCI has it"
        )
    options = csv.ReadOptions(column_names=list(COLUMNS), block_size=_BLOCK, skip_rows=0 if _number(fields[0]) else 1)
    return _csv(text, out, part, options, dict.fromkeys(COLUMNS, pa.float32()))


def _number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _csv(text: Any, out: Path, part: Path, options: Any, types: dict[str, Any] | None) -> int:
    reader = csv.open_csv(text, options, convert_options=csv.ConvertOptions(column_types=types))
    told, rows, number = Told("writing Parquet"), 0, 0
    for table in _tables(reader):
        parquet.write_table(table, out / f"part-{number:05}.parquet", compression="zstd")
        number, rows = number + 1, rows + table.num_rows
        told.doing = f"writing Parquet: {rows:,} rows"
        told.at(sum(one.stat().st_size for one in out.iterdir()))
    if not rows:
        raise Unusable("has no rows")
    return rows


def _tables(batches: Iterator[Any]) -> Iterator[Any]:
    """Batches put together into tables of ROWS rows, or fewer large ones."""
    held: list[Any] = []
    for batch in batches:
        while batch.num_rows:
            piece = batch.slice(0, ROWS - sum(one.num_rows for one in held))
            held.append(piece)
            batch = batch.slice(piece.num_rows)
            if sum(one.num_rows for one in held) == ROWS or sum(one.nbytes for one in held) > _BYTES:
                yield pa.Table.from_batches(held)
                held = []
    if held:
        yield pa.Table.from_batches(held)


def _parquet(name: str, part: Path, out: Path) -> int:
    there = parquet.ParquetFile(part)
    if name == "higgs":
        from occam.higgs.columns import COLUMNS

        if tuple(there.schema_arrow.names) != COLUMNS:
            raise Unusable("has other columns than the HIGGS set", "see docs/reference/higgs.md")
    (out / "part-00000.parquet").hardlink_to(part)
    return int(there.metadata.num_rows)


def _tar(part: Path, out: Path) -> None:
    """Unpacked as it is."""
    with tarfile.open(part) as packed:
        for one in packed:
            target = Path(os.path.normpath(out / one.name))
            if not target.is_relative_to(out) or not (one.isfile() or one.isdir()):
                raise Unusable(f"holds {one.name}, which is no file inside it", "pack plain files and folders only")
            if one.isdir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with packed.extractfile(one) as content, target.open("wb") as file:  # type: ignore[union-attr]
                shutil.copyfileobj(content, file, 1 << 20)
