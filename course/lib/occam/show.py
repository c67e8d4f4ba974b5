"""How clusters and sessions look, as text and as HTML."""

from __future__ import annotations

import sys
from collections import Counter
from html import escape
from typing import TYPE_CHECKING

from occam import kernel

if TYPE_CHECKING:
    from occam.cluster import Cluster

_GIB = 1 << 30
_TABLE = "border-collapse:collapse;margin:.4em 0"
_CELL = "text-align:left;padding:.1em 1.2em .1em 0"


class Log(str):
    """Lines of a log; a notebook shows them as they are."""

    def __repr__(self) -> str:
        return str(self)


class Link(str):
    """A path in the student's browser."""

    def _repr_html_(self) -> str:
        return f'<a href="{escape(self)}" target="_blank">Open the Spark UI</a>' if self else ""


def tell(text: str) -> None:
    """Show a student something that they did not ask for."""
    if not kernel.in_notebook():
        print(f"occam: {text}", file=sys.stderr, flush=True)
        return
    from IPython.display import display

    html = f'<div style="border-left:4px solid #e0a800;padding:.2em .8em;white-space:pre-wrap">{escape(text)}</div>'
    display({"text/plain": text, "text/html": html}, raw=True)


def is_adaptive(name: str, bounds: tuple[int, int]) -> tuple[str, str]:
    """Why an adaptive cluster has no fixed number of workers, and what to do."""
    low, high = bounds
    return (
        f"the cluster {name!r} is adaptive: Spark chooses between {low} and {high} workers",
        f"spark.cluster.adapt({low}, {high + 1}) changes that; a fixed one needs spark.stop() first",
    )


def size(amount: int) -> str:
    """`2147483648` as `2 GB`."""
    return f"{amount / _GIB:.1f}".removesuffix(".0") + " GB" if amount else "?"


def plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def facts(cluster: Cluster, workers: int | None = None) -> dict[str, str]:
    """What a student wants to know of a cluster. `workers` is how many the driver has, if it was asked."""
    there = cluster.running if workers is None else workers
    each = f"{plural(cluster.cores, 'core')} and {size(cluster.memory)} each"
    told = {
        "workers": f"{there} of {cluster.workers}, {each}" if there != cluster.workers else f"{there}, {each}",
        "hosts": ", ".join(cluster.hosts) or "–",
    }
    if gpus := Counter(gpu for one in cluster.executors if one.state != "lost" for gpu in one.gpus):
        told["GPUs"] = ", ".join(f"{many} {model}" for model, many in sorted(gpus.items()))
    if cluster.adaptive:
        told["adaptive"] = "between {} and {} workers, by what its jobs need".format(*cluster.adaptive)
    if cluster.message:
        told["message"] = cluster.message
    return told | ({"notice": cluster.notices[-1].text} if cluster.notices else {})


def cluster_text(cluster: Cluster) -> str:
    told = "; ".join(f"{key}: {value}" for key, value in facts(cluster).items())
    return f"<cluster {cluster.name}, {cluster.state}; {told}>"


def cluster_html(cluster: Cluster) -> str:
    return _table(f"Cluster {cluster.name}", {"state": cluster.state} | facts(cluster), cluster.ui)


def session_text(cluster: Cluster, workers: int, version: str, link: str) -> str:
    told = "; ".join(f"{key}: {value}" for key, value in facts(cluster, workers).items())
    return f"<Spark {version} on cluster {cluster.name}; {told}; UI: {link}>"


def session_html(cluster: Cluster, workers: int, version: str, link: str) -> str:
    return _table(f"Spark {version} on cluster {cluster.name}", facts(cluster, workers), link)


def _table(title: str, rows: dict[str, str], link: str) -> str:
    lines = "".join(
        f'<tr><th style="{_CELL}">{escape(key)}</th><td style="{_CELL}">{escape(value)}</td></tr>'
        for key, value in rows.items()
    )
    there = f'<a href="{escape(link)}" target="_blank">Open the Spark UI</a>' if link else ""
    return f'<div><b>{escape(title)}</b><table style="{_TABLE}">{lines}</table>{there}</div>'


def grid(title: str, columns: list[str], rows: dict[str, dict[str, str]]) -> str:
    """A table with a line for each of `rows`; a cell that is not there stays empty."""
    head = "".join(f'<th style="{_CELL}">{escape(column)}</th>' for column in columns)
    lines = "".join(
        f'<tr><th style="{_CELL}">{escape(name)}</th>'
        + "".join(f'<td style="{_CELL}">{escape(row.get(column, ""))}</td>' for column in columns)
        + "</tr>"
        for name, row in rows.items()
    )
    return f'<div><b>{escape(title)}</b><table style="{_TABLE}"><tr><th></th>{head}</tr>{lines}</table></div>'
