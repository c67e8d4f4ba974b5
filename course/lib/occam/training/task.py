"""What a task of the barrier stage does: keep its rows in files, and a process that trains on them."""

from __future__ import annotations

import importlib.metadata
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any

from occam.training.forms import TRAIN, VALIDATION, Form
from occam.training.plan import Go, Order, Plan

if TYPE_CHECKING:
    import pyarrow as pa

    from occam.training.shard import Files

LIBRARIES = ("tensorflow-cpu", "tensorflow", "keras", "tf_keras", "numpy", "pyspark")
DIFFER = "libraries of workers and notebook differ"


class Refusal(Exception):
    """Why a task cannot begin, or did not end well: words for the student, found in Spark's long text by this name."""


def versions(*folders: str) -> dict[str, str]:
    """Python's and the libraries' that matter, by name; quick, since nothing is imported.

    folders  where to look; where imports look when there is none
    """
    found, path = {"Python": ".".join(map(str, sys.version_info[:3]))}, list(folders) or sys.path
    for name in LIBRARIES:
        for one in importlib.metadata.distributions(name=name, path=path):
            found.setdefault(name.removesuffix("-cpu"), one.version)
    return found


def differences(workers: Mapping[str, str], notebooks: Mapping[str, str]) -> str:
    """`keras 3.14 on workers, 3.15 in the notebook; …`, or "" when they are alike."""
    names = [name for name in {**notebooks, **workers} if workers.get(name) != notebooks.get(name)]
    return "; ".join(
        f"{one} {workers.get(one, 'is not')} on workers, {notebooks.get(one, 'none')} in the notebook" for one in names
    )


def run(plan: Plan, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """As mapInArrow calls it, once in each task. Raises Refusal."""
    import pyarrow
    from pyspark import BarrierTaskContext

    from occam.training.shard import Files

    context = BarrierTaskContext.get()
    if wrong := differences(versions(), plan.versions):
        raise Refusal(f"{DIFFER}: {wrong}")
    files = Files.new(plan.forms, plan.parts)
    with tempfile.TemporaryFile() as log:
        child = _start(plan, context, files, log)
        try:
            if plan.listings:
                _read(plan, context.partitionId(), files)
            elif plan.from_spark:
                _spool(plan, context.partitionId(), batches, files)
            _tell(child, _go(plan, context))
            code = child.wait()
        finally:
            child.kill()
            child.wait()
            files.close()
        if code:
            raise Refusal(f"the process of rank {context.partitionId()} {_ended(code)}\n{_end_of(log)}")
    yield pyarrow.RecordBatch.from_pydict({"rank": [context.partitionId()]})


def _start(plan: Plan, context: Any, files: Files, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """It loads TensorFlow while the rows come."""
    gpus = context.resources()["gpu"].addresses if plan.gpus else []
    child = subprocess.Popen(
        [sys.executable, "-m", "occam.training.child"],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        pass_fds=list(files.numbers.values()),
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ",".join(gpus), "TF_CPP_MIN_LOG_LEVEL": "2"},
    )
    _tell(child, Order(plan, context.partitionId(), files.numbers))
    return child


def _tell(child: subprocess.Popen[bytes], words: Order | Go) -> None:
    assert child.stdin
    try:
        pickle.dump(words, child.stdin)
        child.stdin.flush()
    except BrokenPipeError:
        pass  # it has ended, and its code says why


def _go(plan: Plan, context: Any) -> Go:
    """Wait for all ranks' rows, and learn where they are. Ranks in one executor share its cores."""
    from occam.driver import free_port

    executors = [info.address for info in context.getTaskInfos()]
    mine = executors[context.partitionId()]
    host = mine.rpartition(":")[0]
    peers = context.allGather(f"{host}:{free_port(host)}")
    return Go(list(peers), max(1, plan.cores // executors.count(mine)))


def _read(plan: Plan, rank: int, files: Files) -> None:
    """Take the rows from the files that hold them. Raises Refusal for what cannot be trained on."""
    from occam.training import direct

    try:
        for part, listing in plan.listings.items():
            direct.write(listing, plan.layouts[part], rank, plan.forms, part, files)
    except direct.Unfit as error:
        raise Refusal(str(error)) from None
    except OSError as error:
        raise Refusal(f"rank {rank} cannot read its rows, or keep them on its disk: {error}") from None


def _spool(plan: Plan, rank: int, batches: Iterable[pa.RecordBatch], files: Files) -> None:
    """Write the rows, which come in order of part and position. Raises Refusal for what cannot be trained on."""
    import numpy as np

    last, rows = {TRAIN: -1, VALIDATION: -1}, dict.fromkeys(plan.parts, 0)
    for batch in batches:
        parts, positions = batch["part"].to_numpy(), batch["position"].to_numpy()
        for number, part in enumerate(plan.parts):
            first, end = np.searchsorted(parts, [number, number + 1])
            if end == first:
                continue
            inside = positions[first:end]
            if inside[0] <= last[part] or (np.diff(inside) <= 0).any():
                raise _changed()
            last[part] = int(inside[-1])
            rows[part] += int(end - first)
            one = batch.slice(first, end - first)
            try:
                files.write(part, {name: _block(name, one[name], form) for name, form in plan.forms.items()})
            except OSError as error:
                raise Refusal(f"rank {rank} cannot keep its rows on its disk: {error}") from None
    if any(rows[part] != layout.held(rank) for part, layout in plan.layouts.items()):
        raise _changed()


def _block(name: str, column: Any, form: Form) -> Any:
    """The values of a column, one row after the other."""
    what = {"x": "features", "y": "label", "w": "weight"}[name]
    if column.null_count:
        raise Refusal(f"{column.null_count} rows in {len(column)} have no {what} (null): dropna() first")
    values = column.flatten() if form.shape else column
    if values.null_count:
        raise Refusal(f"a value of the {what} is missing (null) in {len(column)} rows: dropna() first")
    if len(values) != len(column) * form.values:
        raise Refusal(f"the {what} have not the same length in all rows, {form.values} values")
    import numpy as np

    return np.ascontiguousarray(values.to_numpy(zero_copy_only=False), form.kind)


def _changed() -> Refusal:
    return Refusal(
        "the rows are others than they were when they were counted: what makes this DataFrame gives each time"
        " something else (a sort, or chance). Write it to Parquet, and train on that"
    )


def _ended(code: int) -> str:
    if code in (3, 5):
        return "lost the notebook" if code == 3 else "lost another rank"
    killed = " (out of memory, or killed by hand)" if code == -9 else ""
    return f"was ended by signal {-code}{killed}" if code < 0 else f"ended with exit code {code}"


def _end_of(log: IO[bytes], most: int = 2000) -> str:
    size = log.seek(0, os.SEEK_END)
    log.seek(max(size - most, 0))
    return log.read().decode(errors="replace")
