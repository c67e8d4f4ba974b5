"""Curves of a training as SVG, for a notebook. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 340, 200, 52, 24, 28
_COLOURS = ("#1f77b4", "#d95f02", "#2a7f2a", "#9467bd")


def svg(history: Mapping[str, Sequence[float]]) -> str:
    """A picture for each quantity, with that of the validation data in it."""
    names = [name for name in history if not name.startswith("val_") and name != "learning_rate"]
    names.sort(key=lambda name: name != "loss")
    return "".join(_picture(name, _lines(name, history)) for name in names)


def _lines(name: str, history: Mapping[str, Sequence[float]]) -> dict[str, Sequence[float]]:
    found = {"training": history[name]}
    return found | ({"validation": history[f"val_{name}"]} if f"val_{name}" in history else {})


def _picture(name: str, lines: Mapping[str, Sequence[float]]) -> str:
    values = [value for line in lines.values() for value in line if math.isfinite(value)]
    if not values:
        return ""
    low, high = min(values), max(values)
    if high - low < 1e-12:
        low, high = low - 0.5, high + 0.5
    epochs = max(map(len, lines.values()))

    def place(epoch: int, value: float) -> str:
        x = _LEFT + (_WIDTH - _LEFT - 10) * (epoch / max(epochs - 1, 1))
        y = _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - (value - low) / (high - low))
        return f"{x:.1f},{y:.1f}"

    drawn = [f'<text x="{_LEFT}" y="14" font-weight="bold">{escape(name)}</text>', *_axes(low, high, epochs)]
    for number, (what, line) in enumerate(lines.items()):
        colour = _COLOURS[number]
        points = [place(epoch, value) for epoch, value in enumerate(line) if math.isfinite(value)]
        drawn.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        drawn += [
            f'<circle cx="{one.split(",")[0]}" cy="{one.split(",")[1]}" r="2" fill="{colour}"/>' for one in points
        ]
        drawn.append(f'<text x="{_WIDTH - 130 + 66 * number}" y="14" fill="{colour}">{what}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" role="img"'
        f' aria-label="{escape(name)} by epoch" font-family="sans-serif" font-size="11" fill="currentColor">'
        f"{''.join(drawn)}</svg>"
    )


def _axes(low: float, high: float, epochs: int) -> list[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - 10
    grey = 'stroke="currentColor" stroke-opacity=".4"'
    return [
        f'<path d="M{_LEFT},{_TOP} V{bottom} H{right}" fill="none" {grey}/>',
        f'<text x="{_LEFT - 4}" y="{_TOP + 4}" text-anchor="end">{high:.4g}</text>',
        f'<text x="{_LEFT - 4}" y="{bottom}" text-anchor="end">{low:.4g}</text>',
        f'<text x="{_LEFT}" y="{_HEIGHT - 12}">1</text>',
        f'<text x="{right}" y="{_HEIGHT - 12}" text-anchor="end">{epochs}</text>',
        f'<text x="{(_LEFT + right) / 2}" y="{_HEIGHT - 12}" text-anchor="middle">epoch</text>',
    ]
