"""`%sc 2` and `%sc`: the shortest way to Spark in a notebook."""

from __future__ import annotations

from typing import Any

from occam import session
from occam.errors import Refused


def load(shell: Any) -> None:
    """Register `%sc` in an IPython shell."""

    def sc(line: str) -> Any:
        """%sc 2      start Spark with 2 workers, or scale to 2; sets `spark` and `sc`, and returns `sc`
        %sc        the SparkContext of this kernel
        %sc stop   stop it
        """
        word = line.strip()
        if word == "stop":
            return session.stop()
        if not word:
            spark = session.current()
            return spark.sparkContext if spark else print("No Spark here yet: %sc 2 starts it with 2 workers.")
        if not word.isdigit():
            raise Refused(f"%sc does not know {word!r}", "%sc 2 starts 2 workers, %sc stop stops them")
        spark = session.spark(workers=int(word))
        shell.user_ns.update(spark=spark, sc=spark.sparkContext)
        return spark.sparkContext

    shell.register_magic_function(sc, "line", "sc")
