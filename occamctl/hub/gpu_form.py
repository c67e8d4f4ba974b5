"""The question for a GPU before a server starts: shown only where there is something to choose. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

FIELD = "gpu"
_LONGEST = 500


def form(told: Mapping[str, Any]) -> str:
    """What JupyterHub shows between its own heading and button; "" when the server can start without a question.

    told  what the gateway says of somebody's GPUs (GET /users/U/gpu)

    No question is put where no host lends a GPU, where the quota allows none, and to whom one was given already.
    """
    if not told.get("lends") or not told.get("left") or told.get("gpus"):
        return ""
    choices = [("", "No GPU")]
    choices += [(json.dumps(one["gpu"]), str(one["label"])) for one in told.get("choices") or ()]
    listed = "".join(f'<option value="{escape(value)}">{escape(label)}</option>' for value, label in choices)
    why = escape(str(told.get("why_none") or "")) if len(choices) == 1 else ""
    note = f"All GPUs are taken: {why}" if why else "It is yours until the server stops. Stop it when you are done."
    return (
        f'<div class="mb-3"><label for="{FIELD}" class="form-label">GPU</label>'
        f'<select id="{FIELD}" name="{FIELD}" class="form-select" aria-describedby="{FIELD}-note">{listed}</select>'
        f'<div id="{FIELD}-note" class="form-text">{note}</div></div>'
    )


def chosen(sent: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The user's options as the form sent them; the gateway checks the wish itself. Raises ValueError."""
    value = next(iter(sent.get(FIELD) or ()), "")
    if not value:
        return {}
    try:
        wish = json.loads(value[:_LONGEST])
    except (ValueError, RecursionError):
        raise ValueError("this is no choice of the form") from None
    return {FIELD: wish}
