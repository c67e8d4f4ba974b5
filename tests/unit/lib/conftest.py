"""The student's library lies outside of the package: it is tested from its folder."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "course" / "lib"))
