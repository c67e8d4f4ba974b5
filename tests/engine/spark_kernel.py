"""A kernel for tests: one Spark session, and cells that are sent to it one after another.

    spark_kernel.py PORT ARGUMENTS    inside the notebook image; ARGUMENTS of occam.spark() as JSON

A cell is the body of a POST; the answer is the JSON of what it leaves in `said`, or 500 with its traceback. `spark`,
`sc` and what earlier cells defined are there. `ask(method, path, body)` speaks to the stand-in for the gateway.
"""

from __future__ import annotations

import json
import sys
import traceback
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.request import Request, urlopen

import occam


def ask(method: str, path: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(f"http://127.0.0.1:9900{path}", data=data, method=method), timeout=5) as said:
        return json.loads(said.read())


class Cells(BaseHTTPRequestHandler):
    names: dict[str, Any] = {"ask": ask}  # noqa: RUF012

    def do_POST(self) -> None:
        cell = self.rfile.read(int(self.headers["Content-Length"])).decode()
        try:
            exec(compile(cell, "cell", "exec"), self.names)
            status, answer = 200, json.dumps(self.names.pop("said", None))
        except (Exception, SystemExit):  # noqa: BLE001 a cell may end itself, as programs do; the kernel goes on
            status, answer = 500, traceback.format_exc()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer.encode())))
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *_words: object) -> None:
        """Nobody reads it."""


if __name__ == "__main__":
    # As in a notebook: what a cell defines belongs to __main__, and is sent to workers by value.
    Cells.names["__name__"] = "__main__"
    spark = occam.spark(**json.loads(sys.argv[2]))
    Cells.names |= {"spark": spark, "sc": spark.sparkContext, "occam": occam}
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Cells).serve_forever()
