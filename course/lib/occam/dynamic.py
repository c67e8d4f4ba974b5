"""The bounds of an adaptive cluster, in the JVM that is running already."""

from __future__ import annotations

from typing import Any

from py4j.protocol import Py4JError

from occam.errors import Refused


def set_bounds(context: Any, low: int, high: int) -> None:
    """Spark reads its bounds when it starts and has no way to change them; so its own fields are set.

    The gateway holds the same bounds, and gives no more whatever Spark asks for. Raises Refused.
    """
    manager = context._jsc.sc().executorAllocationManager()
    if manager.isEmpty():
        raise Refused("the number of this cluster's workers is fixed", "stop it, and start it with adaptive=")
    there = manager.get()
    try:
        for name, value in (("minNumExecutors", low), ("maxNumExecutors", high)):
            field = there.getClass().getDeclaredField(name)
            field.setAccessible(True)
            field.setInt(there, value)
    except Py4JError as error:
        raise Refused("this Spark cannot change the bounds while it runs", "stop it, and start it anew") from error
