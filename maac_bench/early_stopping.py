"""Early stopping for many regressions side by side: each keeps its best and stops on its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class NotFinite(NamedTuple):
    """Where a validation loss was first not finite."""

    epoch: int
    member: int


class EarlyStopping:
    """The best that each of K members has had, and which of them still look for better.

    nll, mse: of the best validation, [K]. epochs: until then, [K]. parameters: of then, [K, ...].
    active: who has not run out of patience, [K]. broken: where a loss was first not finite.

    Args:
        patience: validations without improvement before a member stops.
        min_improvement: what counts as one.
        parameters: at the start, [K, ...].
    """

    def __init__(self, patience: int, min_improvement: float, parameters: Sequence[Tensor]) -> None:
        self._patience, self._min_improvement = patience, min_improvement
        self.parameters = [p.detach().clone() for p in parameters]
        like, count = parameters[0], len(parameters[0])
        self.nll = like.new_full((count,), torch.inf)
        self.mse = like.new_full((count,), torch.inf)
        self.epochs = torch.zeros(count, dtype=torch.int64, device=like.device)
        self.broken: NotFinite | None = None
        self._stale = torch.zeros_like(self.epochs)
        self._diverged = torch.zeros_like(self.epochs, dtype=torch.bool)

    @property
    def active(self) -> Tensor:
        """Who has not run out of patience, [K]."""
        return self._stale < self._patience

    @property
    def found(self) -> Tensor:
        """The best validation, and infinity for a member whose loss was not finite, [K]."""
        return torch.where(self._diverged, torch.inf, self.nll)

    def update(
        self, members: Tensor, nll: Tensor, mse: Tensor, parameters: Sequence[Tensor], epoch: int
    ) -> None:
        """Keep what improved, after `epoch` (-1: before the first).

        What a member has after its patience does not count. A loss that is not finite is no
        improvement.

        Args:
            members: whose results these are, [k]; the others have stopped.
            nll: validated, [k].
            mse: likewise.
            parameters: what was validated, [k, ...].
            epoch: after which.
        """
        active = self.active[members]
        bad = active & ~torch.isfinite(nll)
        self._diverged[members[bad]] = True
        if self.broken is None and bool(bad.any()):
            self.broken = NotFinite(epoch, int(members[bad][0]))
        better = active & (nll < self.nll[members] - self._min_improvement)
        improved = members[better]
        self.nll[improved], self.mse[improved] = nll[better], mse[better]
        self.epochs[improved] = epoch + 1
        for own, new in zip(self.parameters, parameters, strict=True):
            own[improved] = new.detach()[better]
        self._stale[members] += 1
        self._stale[improved] = 0
