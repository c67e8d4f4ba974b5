"""How large a lab is: what a class uses, or small, as in the course's own tests (OCCAM_LABS=quick)."""

from __future__ import annotations

import os
from typing import TypeVar

Size = TypeVar("Size")


def size(full: Size, quick: Size) -> Size:
    """`full`, unless the environment asks for a quick pass."""
    return quick if os.environ.get("OCCAM_LABS") == "quick" else full
