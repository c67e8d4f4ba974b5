"""From what was brought to what lies in /data: CSV becomes Parquet, all else stays. Runs where data_inside.py does.

Nothing holds more than a block of rows: the set may be larger than the container's memory.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from data_inside import Told, say  # type: ignore[import-not-found]
from pyarrow import csv, parquet

ROWS = 250_000
"""Rows of one Parquet file: a few tasks' work, and a fair sample."""
GROUP = 25_000
"""Rows of a row group, of which Spark makes no two tasks: a small set is work for several workers, too."""
_BYTES = 128 << 20
_BLOCK = 8 << 20
_CSV = (".csv", ".csv.gz")
_LINES = csv.ParseOptions(newlines_in_values=True)
_MISFIT = re.compile(
    r"In CSV column #(\d+): (?:Row #\d+: )?CSV conversion error to ([^:]+): (?:invalid value '(.*)'|.*)", re.DOTALL
)
"""pyarrow's words for a value that is none of its column's type: the column, the type and the value."""
_WIDER = {
    ("int64", "double"), ("date32[day]", "timestamp[s]"), ("date32[day]", "timestamp[ns]"),
    ("timestamp[s]", "timestamp[ns]"),
}  # fmt: skip
"""Types whose values all are of another one, too; all others have their text in common."""
_FORM = "is it whole, and of the right form?"


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
        raise Unusable(_line(error), _FORM) from None
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
    member = None
    # Much that is no archive to those who use it begins as one: .npz, .keras, .xlsx.
    if head.startswith(b"PK\x03\x04") and (name == "higgs" or file.lower().endswith(".zip")):
        inside = _names(part)
        if name == "higgs" and len(inside) != 1:
            raise Unusable(f"holds {len(inside)} files", "give HIGGS.csv.gz as UCI has it, or a zip of that alone")
        if name != "higgs" and not (len(inside) == 1 and (_is_csv(inside[0]) or _is_csv(file[: -len(".zip")]))):
            _zip(part, inside, out)
            return None
        member = inside[0]
    text = _Text(part, member)
    first = text.first()
    if _is_web_page(first):
        raise Unusable("is a web page, no data", "give the address of the file itself")
    if name == "higgs":
        return _higgs(text, first, out)
    if member is not None or _is_csv(file):
        return _csv(text, out)
    # Anything else is a file that somebody knows how to read.
    (out / Path(file).name).hardlink_to(part)
    return None


def _is_csv(file: str) -> bool:
    return file.lower().endswith(_CSV)


def _is_web_page(first: bytes) -> bool:
    """XHTML is one that begins as any XML does."""
    begin = first.lstrip().lower()
    return begin.startswith((b"<!doctype html", b"<html")) or (begin.startswith(b"<?xml") and b"<html" in begin)


def _head(part: Path) -> bytes:
    with part.open("rb") as content:
        return content.read(512)


def _unpacked_head(part: Path) -> bytes:
    with gzip.open(part) as content:
        return content.read(512)


def _is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"


def _names(part: Path) -> list[str]:
    """The files of a zip."""
    with zipfile.ZipFile(part) as packed:
        return [one for one in packed.namelist() if not one.endswith("/") and not one.startswith("__MACOSX")]


class _Text:
    """The source's text, or that of a zip's `member`, unpacked on the way; each `with` begins anew."""

    def __init__(self, part: Path, member: str | None) -> None:
        self._part, self._member = part, member

    def first(self) -> bytes:
        with self as stream:
            return bytes(stream.read(4096))

    def __enter__(self) -> Any:
        raw: Any = pa.OSFile(str(self._part))
        if self._member is not None:
            packed = zipfile.ZipFile(self._part)
            with packed.open(self._member) as content:
                gzipped = content.read(2) == b"\x1f\x8b"
            raw = pa.PythonFile(packed.open(self._member), mode="r")
        else:
            gzipped = _head(self._part).startswith(b"\x1f\x8b")
        self._file = raw
        return pa.CompressedInputStream(raw, "gzip") if gzipped else raw

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _higgs(text: _Text, first: bytes, out: Path) -> int:
    """The UCI set has no names in its first line; copies of it that have some are taken too."""
    from occam.higgs.columns import COLUMNS

    line = first.partition(b"\n")[0].decode("utf-8", "replace").strip()
    fields = line.split(",")
    if len(fields) != len(COLUMNS):
        raise Unusable(
            f"has {len(fields)} columns, the HIGGS set has {len(COLUMNS)}", "give HIGGS.csv.gz as UCI has it"
        )
    options = csv.ReadOptions(column_names=list(COLUMNS), block_size=_BLOCK, skip_rows=0 if _number(fields[0]) else 1)
    types = csv.ConvertOptions(column_types=dict.fromkeys(COLUMNS, pa.float32()))
    with text as stream:
        return _written(csv.open_csv(stream, options, convert_options=types), out)


def _number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _csv(text: _Text, out: Path) -> int:
    """A column's type is what its first block looks like. Where a later value is something else, all is read again."""
    types: dict[str, Any] = {}
    while True:
        for one in out.iterdir():
            one.unlink()
        options = csv.ReadOptions(block_size=_BLOCK), _LINES, csv.ConvertOptions(column_types=types)
        with text as stream:
            reader = csv.open_csv(stream, *options)
            try:
                return _written(reader, out)
            except pa.ArrowInvalid as error:
                types |= _wider(reader.schema.names, error)


def _wider(names: list[str], error: Exception) -> dict[str, Any]:
    """The column that pyarrow could not read on, and the type that it needs. Raises Unusable."""
    found = _MISFIT.match(str(error))
    if not found:
        raise error
    column, kind, value = names[int(found[1])], found[2], found[3]
    if value is None:
        raise Unusable(f"column {column}: {_line(error)}", "is its text UTF-8?") from None
    quoted = value.replace('"', '""')
    looks = csv.read_csv(io.BytesIO(f'x\n"{quoted}"\n'.encode()), parse_options=_LINES).schema.field(0).type
    wider = looks if kind == "null" or (kind, str(looks)) in _WIDER else pa.string()
    say(f"column {column}: {value[:40]!r} is no {kind}; it becomes {wider}, from the beginning")
    return {column: wider}


def _written(batches: Iterator[Any], out: Path) -> int:
    told, rows, number = Told("writing Parquet"), 0, 0
    say("writing Parquet")
    for table in _tables(batches):
        parquet.write_table(table, out / f"part-{number:05}.parquet", compression="zstd", row_group_size=GROUP)
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
    """As it is; the HIGGS set in the form that it has when it comes as CSV."""
    there = parquet.ParquetFile(part)
    if name != "higgs":
        (out / "part-00000.parquet").hardlink_to(part)
        return int(there.metadata.num_rows)
    from occam.higgs.columns import COLUMNS

    if tuple(there.schema_arrow.names) != COLUMNS:
        raise Unusable("has other columns than the HIGGS set", "see docs/reference/higgs.md")
    form = pa.schema([(one, pa.float32()) for one in COLUMNS])
    return _written((one.cast(form) for one in there.iter_batches(GROUP)), out)


def _tar(part: Path, out: Path) -> None:
    """Unpacked as it is."""
    with tarfile.open(part) as packed:
        for one in packed:
            target = _inside(out, one.name, one.isfile() or one.isdir())
            if one.isdir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            with packed.extractfile(one) as content:  # type: ignore[union-attr]
                _unpack(content, target)


def _zip(part: Path, names: list[str], out: Path) -> None:
    """These files of it, unpacked as they are."""
    with zipfile.ZipFile(part) as packed:
        for name in names:
            target = _inside(out, name, not stat.S_ISLNK(packed.getinfo(name).external_attr >> 16))
            with packed.open(name) as content:
                _unpack(content, target)


def _inside(out: Path, name: str, plain: bool) -> Path:
    target = Path(os.path.normpath(out / name))
    if not target.is_relative_to(out) or not plain:
        raise Unusable(f"holds {name}, which is no file inside it", "pack plain files and folders only")
    return target


def _unpack(content: Any, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        shutil.copyfileobj(content, file, 1 << 20)
