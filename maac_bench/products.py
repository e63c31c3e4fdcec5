"""Matrix products on the faster of torch's two libraries, where it is as exact.

Float32 products go to MKL, which can leave half of the vector width unused (it does on an AMD
processor with AVX-512); oneDNN does not. The only way to hand them to it is to permit bfloat16
inside, a permission that it needs and takes on processors with matrix units alone. Whether it does
is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor

# Of a product, relative: float32 leaves 3e-7, bfloat16 3e-3.
_TOLERANCE = 1e-5
_SHAPES = ((1, 256, 256, 256), (2, 64, 1024, 64), (8, 160, 200, 200))


@contextmanager
def fast_products() -> Iterator[bool]:
    """Within, float32 products are oneDNN's if that keeps float32's accuracy; True if so.

    The last digits differ from those of the products outside, as they do between processors.
    """
    settings = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = settings.fp32_precision
    exact = torch.backends.mkldnn.is_available() and _permitted_is_exact()
    if exact:
        settings.fp32_precision = "bf16"
    try:
        yield exact
    finally:
        settings.fp32_precision = before


@cache
def _permitted_is_exact() -> bool:
    """Whether products with the permission have float32's accuracy on this processor."""
    settings = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = settings.fp32_precision
    settings.fp32_precision = "bf16"
    try:
        return all(_error(*shape) < _TOLERANCE for shape in _SHAPES)
    finally:
        settings.fp32_precision = before


def _error(stack: int, rows: int, inner: int, columns: int) -> float:
    """Largest relative error of a product, and of its transposed operands'."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(stack, *shape, generator=generator, dtype=torch.float32)

    left, right = draw(rows, inner), draw(inner, columns)
    turned = left.mT.contiguous().mT @ right.mT.contiguous().mT
    exact = left.double() @ right.double()
    return max(float((got - exact).norm() / exact.norm()) for got in (left @ right, turned))
