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
    by      who holds that, where several share the quota
    """

    name: str
    whose: str
    limits: Limits
    others: Amount
    by: str = ""

    @property
    def quota(self) -> str:
        limit = getattr(self.limits, self.name)
        return f"the quota of {self.whose + ', ' if self.whose else ''}{self._said(limit)}"

    @property
    def rest(self) -> str:
        held = getattr(self.others, self.name)
        if not held:
            return ""
        if self.whose:
            return f", {self._said(max(0, getattr(self.limits, self.name) - held))} free; held: {self.by}"
        # Notebooks hold GPUs as well, and clusters hold no clusters.
        return f", {self._said(held)} held {'already' if self.name in ('gpus', 'clusters') else 'by other clusters'}"

    def _said(self, amount: float) -> str:
        return str(amount) if self.name == "workers" else human(self.name, amount)


def notebook(owner: str, what: str, asked: Amount, over: Over) -> DoesNotFit:
    """A notebook does not fit; `what` it is called."""
    return DoesNotFit(
        f"{what} needs {human(over.name, getattr(asked, over.name))}; {over.quota} does not allow it{over.rest}",
        where=owner,
        fix="stop a cluster that you do not need",
    )


def cluster(
    owner: str, workers: int, asked: Amount, over: Over, *, weight: int, beside: int, fits: int, would: int
) -> DoesNotFit:
    """A cluster does not fit.

    weight  as how many workers of the course's size one counts
    beside  how many of the workers are of another size
    fits    how many of the others all quotas allow
    would   how many of them would be granted now
    """
    if over.name == "clusters":
        return DoesNotFit(
            f"one more cluster is over {over.quota}{over.rest}",
            where=owner,
            fix="wait until others are done" if over.whose else "stop one that you do not need",
        )
    one = workers == 1
    counted = (f" that counts {weight}" if one else f" that count {weight} each") if weight > 1 else ""
    if over.name != "workers":
        counted = f" with {human(over.name, getattr(asked, over.name))}"
    full = ", more find no room now" if would < fits else ""
    return DoesNotFit(
        f"{human('workers', workers)}{counted} {'is' if one else 'are'} over {over.quota}{over.rest}; "
        f"{would + beside} would do{full}",
        where=owner,
        fix=f"ask for {would}" if would else _less(over, fits),
    )


def _less(over: Over, fits: int) -> str:
    """What to do when not one worker would do."""
    if fits or (over.whose and over.rest):
        return "wait until others are done"
    return "stop a cluster that you do not need" if over.rest else "ask for smaller workers"
