"""The floor of a computation: the time its matrix products take on their own."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from maac_bench.precisions import tf32_bmm

_MATRIX_PRODUCTS = {
    torch.ops.aten.mm.default: (0, 1),
    torch.ops.aten.bmm.default: (0, 1),
    torch.ops.aten.addmm.default: (1, 2),
    torch.ops.aten.baddbmm.default: (1, 2),
    torch.ops.maac_bench.tf32_bmm.default: (0, 1),
}

Row: TypeAlias = dict[str, Any]
"""One line of results.csv."""

REPEATS = 15


class Operand(NamedTuple):
    """What a matrix is, but for its numbers."""

    shape: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype


class Product(NamedTuple):
    """What a matrix product is made of; tf32: whether of operands in TF32."""

    left: Operand
    right: Operand
    tf32: bool


Shapes = Counter[Product]


class _Recorder(TorchDispatchMode):
    """Counts the operands of every matrix product, forward and backward."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: Shapes = Counter()

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        if func in _MATRIX_PRODUCTS:
            left, right = (args[i] for i in _MATRIX_PRODUCTS[func])
            tf32 = func == torch.ops.maac_bench.tf32_bmm.default
            self.shapes[Product(_described(left), _described(right), tf32)] += 1
        return func(*args, **(kwargs or {}))


def matrix_products(function: Callable[[], object]) -> Shapes:
    """The operands of every matrix product in one call, with their counts."""
    with _Recorder() as recorder:
        function()
    return recorder.shapes


def flops(shapes: Shapes) -> float:
    """Floating-point operations of these products: two per multiply-add."""
    return float(
        sum(2 * made.left.shape.numel() * made.right.shape[-1] * n for made, n in shapes.items())
    )


def replay(shapes: Shapes, device: str = "cpu") -> Callable[[], None]:
    """A function that does nothing but these products, on fresh random operands."""
    drawn = [
        (tf32_bmm if tf32 else torch.matmul, _drawn(left, device), _drawn(right, device), count)
        for (left, right, tf32), count in shapes.items()
    ]

    def run() -> None:
        for multiply, left, right, count in drawn:
            for _ in range(count):
                multiply(left, right)

    return run


def _described(matrix: Tensor) -> Operand:
    return Operand(matrix.shape, matrix.stride(), matrix.dtype)


def _drawn(operand: Operand, device: str) -> Tensor:
    shape, stride, dtype = operand
    extent = 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    return torch.randn(extent, device=device).to(dtype).as_strided(tuple(shape), stride)


def paired_medians(
    first: Callable[[], object], second: Callable[[], object], repeats: int
) -> tuple[float, float, float]:
    """Median seconds of each, taken in turn, and the median of their ratios."""
    first(), second()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        first()
        middle = time.perf_counter()
        second()
        times.append((middle - begin, time.perf_counter() - middle))
    return (
        median(a for a, _ in times),
        median(b for _, b in times),
        median(a / b for a, b in times),
    )


def measured(
    name: str, function: Callable[[], object], prepare: Callable[[], object] | None = None
) -> Row:
    """A row for `function`: its time, its floor's and the median of their ratio.

    Args:
        name: of the row.
        function: what to measure.
        prepare: called after the matrix products are counted, such as to compile.
    """
    function()
    shapes = matrix_products(function)
    if prepare is not None:
        prepare()
        function()
    seconds, floor, ratio = paired_medians(function, replay(shapes), REPEATS)
    return {
        "name": name,
        "ms": 1e3 * seconds,
        "floor_ms": 1e3 * floor,
        "ratio": ratio,
        "per_second": 1.0 / seconds,
        "gflop": flops(shapes) / 1e9,
        "threads": torch.get_num_threads(),
    }
