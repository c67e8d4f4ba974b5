"""The bounds of an adaptive cluster: the gateway's, and those of the JVM that is running already."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from py4j.protocol import Py4JError

from occam import starting
from occam.errors import Refused
from occam.held import Held


def adapt(one: Held, bounds: tuple[int, int]) -> None:
    """Other bounds while it runs. Raises NotEnough, Refused."""
    low, high = bounds
    with one.bounding:
        if one.session.cluster.adaptive != bounds:
            one.gateway.ask("PUT", f"{one.path}/adaptive", {"min": low, "max": high}, timeout=90)
        _go_by(one, bounds)


def follow(one: Held) -> None:
    """Go by the bounds that the gateway has: somebody may have scaled the cluster from outside."""
    with one.bounding:
        if bounds := one.session.cluster.adaptive:
            _go_by(one, bounds)


def _go_by(one: Held, bounds: tuple[int, int]) -> None:
    if bounds != one.wish.adaptive:
        _set_bounds(one.session.sparkContext, *bounds)
        one.wish = replace(one.wish, adaptive=bounds)
        starting.remember_again(one)


def _set_bounds(context: Any, low: int, high: int) -> None:
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
