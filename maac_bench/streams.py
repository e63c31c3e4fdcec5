"""Random streams: one generator per seed and purpose, so that stacked seeds never share draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor


class Streams:
    """One random stream per seed for one purpose; every draw has the seed axis in front.

    Seed k's numbers depend on k and the purpose alone, not on which seeds it is stacked with.
    Nothing here touches a global generator.

    Args:
        seeds: one entry per stacked program; an entry may be a tuple such as (seed, cell).
        purpose: name of the stream, such as "bootstrap"; other names, other numbers.
        device: where the draws live.

    Raises:
        ValueError: a seed is negative.
    """

    def __init__(
        self,
        seeds: Sequence[int | tuple[int, ...]],
        purpose: str,
        device: torch.device | str = "cpu",
    ) -> None:
        key = list(purpose.encode())
        self.device = torch.device(device)
        self._generators = []
        for seed in seeds:
            parts = (seed,) if isinstance(seed, int) else seed
            if min(parts) < 0:
                raise ValueError(f"seeds must be at least 0, got {seed}")
            entropy = np.random.SeedSequence([len(parts), *parts, *key])
            state = entropy.generate_state(1, np.uint64)[0]
            generator = torch.Generator(device=self.device)
            generator.manual_seed(int(state >> np.uint64(1)))
            self._generators.append(generator)

    def __len__(self) -> int:
        return len(self._generators)

    @property
    def generators(self) -> tuple[torch.Generator, ...]:
        """One per seed."""
        return tuple(self._generators)

    def state(self) -> Tensor:
        """Every generator's state as bytes, [seeds, state]: what `restore` needs."""
        return torch.stack([generator.get_state() for generator in self._generators])

    def restore(self, state: Tensor) -> None:
        """Continue where `state` was taken."""
        for generator, row in zip(self._generators, state, strict=True):
            generator.set_state(row.clone())

    def normal(self, *shape: int) -> Tensor:
        """Standard normal draws, [seeds, *shape]."""
        return self._fill(torch.Tensor.normal_, shape, torch.get_default_dtype())

    def uniform(self, *shape: int) -> Tensor:
        """Uniform draws in [0, 1), [seeds, *shape]."""
        return self._fill(torch.Tensor.uniform_, shape, torch.get_default_dtype())

    def integers(self, high: int, *shape: int) -> Tensor:
        """Uniform integers in [0, high), [seeds, *shape]."""
        return self._fill(partial(torch.Tensor.random_, to=high), shape, torch.int64)

    def _fill(
        self, draw: Callable[..., object], shape: tuple[int, ...], dtype: torch.dtype
    ) -> Tensor:
        """Each seed's part from its own generator, in place: one kernel per seed."""
        table = torch.empty(len(self), *shape, dtype=dtype, device=self.device)
        for rows, generator in zip(table, self._generators, strict=True):
            draw(rows, generator=generator)
        return table

    def permutations(self, size: int, *shape: int) -> Tensor:
        """Uniform permutations of 0 ... size-1 along the last axis, [seeds, *shape, size]."""
        return self.uniform(*shape, size).argsort(dim=-1, stable=True)


StreamFactory: TypeAlias = Callable[[str], Streams]
"""Makes the stream of a named purpose for the stack at hand."""
