"""Batched matrix products by the number of digits that their operands keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


@torch.library.custom_op("maac_bench::tf32_bmm", mutates_args=())
def tf32_bmm(left: Tensor, right: Tensor) -> Tensor:
    """`left @ right` [stack, i, k] with operands in TF32, sums in float32; so its backward passes.

    An operator of its own because torch has no other switch than one for all of a backend's
    products, which is this one's while it multiplies. Reverse mode only: nothing here is
    differentiated forward in TF32.
    """
    settings = torch.backends.cuda.matmul
    before = settings.fp32_precision
    settings.fp32_precision = "tf32"
    try:
        return torch.bmm(left, right)
    finally:
        settings.fp32_precision = before


@tf32_bmm.register_fake
def _shape(left: Tensor, right: Tensor) -> Tensor:
    return left.new_empty(left.shape[0], left.shape[1], right.shape[2])


def _keep_operands(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:  # noqa: ANN401
    del output
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:  # noqa: ANN401
    left, right = ctx.saved_tensors
    wants_left, wants_right = ctx.needs_input_grad
    return (
        tf32_bmm(gradient, right.mT) if wants_left else None,
        tf32_bmm(left.mT, gradient) if wants_right else None,
    )


tf32_bmm.register_autograd(_backward, setup_context=_keep_operands)


def _tf32_product(left: Tensor, right: Tensor) -> Tensor:
    return tf32_bmm(left, right) if left.is_cuda else torch.bmm(left, right)


def _bfloat16_product(left: Tensor, right: Tensor) -> Tensor:
    """Of operands rounded to bfloat16, and rounded to it; so are its backward passes."""
    return torch.bmm(left.bfloat16(), right.bfloat16()).to(left.dtype)


PRECISIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "full": torch.bmm,
    "tf32": _tf32_product,
    "bfloat16": _bfloat16_product,
}
"""Products of the operands as they are; of 11 bits of them where a GPU has units for it; of 8."""
