"""More than a quota allows, in words: what was asked for, what is held, and what would do. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from occamctl.errors import DoesNotFit
from occamctl.gateway.quotas import Amount, Limits, human


@dataclass(frozen=True)
class Over:
    """One resource of which there would be too much.

    name    of the resource
    whose   whose quota it is; "" for the own one
    others  what is held beside what was asked for
    """

    name: str
    whose: str
    limits: Limits
    others: Amount

    @property
    def quota(self) -> str:
        limit = getattr(self.limits, self.name)
        return f"the quota of {self.whose + ', ' if self.whose else ''}{self._said(limit)}"

    @property
    def rest(self) -> str:
        held = getattr(self.others, self.name)
        # Notebooks hold GPUs as well, and clusters hold no clusters.
        by = "by all" if self.whose else "already" if self.name in ("gpus", "clusters") else "by other clusters"
        return f", {self._said(held)} held {by}" if held else ""

    def _said(self, amount: float) -> str:
        return str(amount) if self.name == "workers" else human(self.name, amount)


def notebook(owner: str, what: str, asked: Amount, over: Over) -> DoesNotFit:
    """A notebook does not fit; `what` it is called."""
    return DoesNotFit(
        f"{what} needs {human(over.name, getattr(asked, over.name))}; {over.quota} does not allow it{over.rest}",
        where=owner,
        fix="stop a cluster that you do not need",
    )


def cluster(owner: str, workers: int, asked: Amount, over: Over, *, weight: int, fits: int) -> DoesNotFit:
    """A cluster does not fit.

    weight  as how many workers of the course's size one counts
    fits    how many workers of its first size would do
    """
    if over.name == "clusters":
        return DoesNotFit(
            f"one more cluster is over {over.quota}{over.rest}", where=owner, fix="stop one that you do not need"
        )
    one = workers == 1
    counted = (f" that counts {weight}" if one else f" that count {weight} each") if weight > 1 else ""
    if over.name != "workers":
        counted = f" with {human(over.name, getattr(asked, over.name))}"
    less = "stop a cluster that you do not need" if over.rest else "ask for smaller workers"
    return DoesNotFit(
        f"{human('workers', workers)}{counted} {'is' if one else 'are'} over {over.quota}{over.rest}; {fits} would do",
        where=owner,
        fix=f"ask for {fits}" if fits else less,
    )
