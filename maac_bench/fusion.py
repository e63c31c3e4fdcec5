"""Functions of tensors as one compiled program: same mathematics, other rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch

_Function = TypeVar("_Function", bound=Callable[..., Any])


def fuse(function: _Function, device: torch.device) -> _Function:
    """`function` with everything between its matrix products fused, backward passes included.

    It is compiled when first called, and again for arguments of other sizes: torch keeps eight
    programs of one function until `forget_programs`. What cannot be fused is an error there.
    """
    # Losses and their backward pass in one graph: torch's own split of the two recomputes
    # activations in a transposed layout, which costs more than fusion gains.
    torch._dynamo.config.trace_autograd_ops = True
    options: dict[str, Any] = {
        # Between the fused parts, without Python.
        "cpp_wrapper": device.type == "cpu",
        # A GPU's kernels are chosen by timing them, and how a sum is split changes its rounding.
        "deterministic": device.type == "cuda",
    }
    compiled = torch.compile(function, fullgraph=True, dynamic=False, options=options)
    return cast(_Function, compiled)


def forget_programs() -> None:
    """Make room for new programs. Those still in use are taken from torch's cache again."""
    torch._dynamo.reset()
