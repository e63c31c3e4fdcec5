"""Settings and data that cannot train are refused by name."""

from __future__ import annotations

import math
from dataclasses import fields
from numbers import Integral
from typing import TYPE_CHECKING

import torch

from maac_bench.types import Transition

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def require_positive(config: object, *names: str) -> None:
    """ValueError naming the first of these fields that is not positive and finite."""
    for name in names:
        value = getattr(config, name)
        numbers = value if isinstance(value, tuple) else (value,)
        if not all(number > 0 for number in numbers):
            raise ValueError(f"{name} must be positive, got {value}")
        if math.inf in numbers:
            raise ValueError(f"{name} must be finite, got {value}")


def require_whole(config: DataclassInstance) -> None:
    """ValueError naming the first field declared as int or as several that holds others.

    Others are also integers beyond 64 bits, which no tensor could count with.

    None is no number, and fine where it is declared.
    """
    for field in fields(config):
        value, declared = getattr(config, field.name), str(field.type)
        if value is None and declared.endswith("| None"):
            continue
        if declared.startswith("tuple[int") and not isinstance(value, tuple):
            raise ValueError(f"{field.name} must be a tuple, got {value}")
        if declared.startswith(("int", "tuple[int")):
            numbers = value if isinstance(value, tuple) else (value,)
            # bool is an int to Python, and no count
            if any(not isinstance(x, Integral) or isinstance(x, bool) for x in numbers):
                raise ValueError(f"{field.name} must be whole, got {value}")
            if any(not -(2**63) <= x < 2**63 for x in numbers):
                raise ValueError(f"{field.name} must fit into 64 bits, got {value}")


def require_distinct(config: object, *names: str) -> None:
    """ValueError naming the first of these fields that has a value twice."""
    for name in names:
        values = getattr(config, name)
        if len(set(values)) < len(values):
            raise ValueError(f"{name} has a value twice: {' '.join(map(str, values))}")


def require_finite(data: Transition) -> None:
    """ValueError naming the field and the seed where the data are not finite."""
    for name, value in data._asdict().items():
        bad = ~torch.isfinite(value).flatten(1).all(dim=1)
        if bool(bad.any()):
            seed = int(bad.nonzero()[0, 0])
            raise ValueError(f"data.{name} has entries that are not finite (stack index {seed})")
