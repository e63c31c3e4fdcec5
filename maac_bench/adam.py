"""Adam as a function, so that an update and its optimiser are one program."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

_MEAN_RATE, _SQUARE_RATE, _EPSILON = 0.9, 0.999, 1e-8


class Adam(NamedTuple):
    """What Adam remembers; changed in place.

    steps: done so far, [], a tensor so that a captured program counts on. means, squares: running
    averages of the gradient and of its square, a tensor like each parameter.
    """

    steps: Tensor
    means: tuple[Tensor, ...]
    squares: tuple[Tensor, ...]


def init_adam(parameters: Sequence[Tensor]) -> Adam:
    """Before the first step."""
    return Adam(
        # Not float64: torch.compile takes such a scalar for a constant, and steps stay 0.
        torch.zeros((), dtype=torch.int64, device=parameters[0].device),
        tuple(torch.zeros_like(p, requires_grad=False) for p in parameters),
        tuple(torch.zeros_like(p, requires_grad=False) for p in parameters),
    )


@torch.no_grad()
def adam_step(
    adam: Adam, parameters: Sequence[Tensor], gradient: Sequence[Tensor], learning_rate: float
) -> None:
    """One step down the gradient (Kingma and Ba 2015, Algorithm 1), in place.

    Args:
        adam: its memory of these parameters.
        parameters: leaves.
        gradient: of the same shapes.
        learning_rate: step size.
    """
    adam.steps.add_(1)
    # On a CPU torch.compile stores an `exp` that is used repeatedly, but computes an `expm1` anew
    # for every parameter. In float64, so that 1 - rate^steps does not cancel.
    steps, dtype = adam.steps.double(), parameters[0].dtype
    mean_weight = 1.0 - torch.exp(math.log(_MEAN_RATE) * steps)
    square_weight = 1.0 - torch.exp(math.log(_SQUARE_RATE) * steps)
    step_size, root = (learning_rate / mean_weight).to(dtype), square_weight.rsqrt().to(dtype)
    for parameter, g, mean, square in zip(
        parameters, gradient, adam.means, adam.squares, strict=True
    ):
        mean.lerp_(g, 1.0 - _MEAN_RATE)
        square.lerp_(g.square(), 1.0 - _SQUARE_RATE)
        parameter.sub_(step_size * mean / (root * square.sqrt() + _EPSILON))
