"""Pictures of the small tasks: polylines in metres onto an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Polyline: TypeAlias = Sequence[tuple[float, float]]
"""Corners (x, y), y upwards."""

_SIZE, _SCALE = (480, 320), 90.0  # pixels, pixels per metre
_INK, _PAPER, _WIDTH = (30, 60, 120), (255, 255, 255), 5


def picture(lines: Sequence[Polyline]) -> NDArray[np.uint8]:
    """The lines with the origin in the middle, [320, 480, 3]; what is outside is cut off."""
    image = Image.new("RGB", _SIZE, _PAPER)
    pen = ImageDraw.Draw(image)
    for line in lines:
        corners = [(_SIZE[0] / 2 + _SCALE * x, _SIZE[1] / 2 - _SCALE * y) for x, y in line]
        pen.line(corners, fill=_INK, width=_WIDTH, joint="curve")
    return np.asarray(image)


def box(x: float, y: float, width: float, height: float) -> Polyline:
    """A rectangle around (x, y)."""
    left, right, low, high = x - width / 2, x + width / 2, y - height / 2, y + height / 2
    return [(left, low), (right, low), (right, high), (left, high), (left, low)]


def pendulum_lines(state: Sequence[float]) -> list[Polyline]:
    """Rod of one metre; state [cos, sin, angular velocity], upright at (1, 0)."""
    cosine, sine, _ = state
    return [[(0.0, 0.0), (sine, cosine)], box(0.0, 0.0, 0.1, 0.1)]


def cart_pole_lines(state: Sequence[float]) -> list[Polyline]:
    """Cart and pole on a track; state [x, cos, sin, x velocity, angular velocity]."""
    x, cosine, sine, _, _ = state
    return [
        [(-2.6, -0.15), (2.6, -0.15)],
        box(x, 0.0, 0.5, 0.25),
        [(x, 0.0), (x + sine, cosine)],
    ]


def double_integrator_lines(state: Sequence[float]) -> list[Polyline]:
    """A mass on a line with a mark at its goal; state [position, velocity]."""
    return [[(-2.6, 0.0), (2.6, 0.0)], [(0.0, -0.2), (0.0, 0.2)], box(state[0], 0.0, 0.25, 0.25)]
