"""Members of ensembles in training, each a stack place of its own, so that any of them can leave.

Losses are summed, so one optimiser step trains all, and no gradient reaches another's parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from maac_bench.dynamics import Ensemble
from maac_bench.objectives.likelihood import gaussian_nll
from maac_bench.types import Gradient

# Validation takes three times as long where hidden layers of all rows leave the cache.
_ROWS_AT_ONCE = 512

LikelihoodGradient: TypeAlias = Callable[[Ensemble, Tensor], Gradient]
"""See `likelihood_gradient`."""


def likelihood_gradient(ensemble: Ensemble, rows: Tensor) -> Gradient:
    """Gradient of every member's mean negative log-likelihood of its own rows.

    Args:
        ensemble: its parameters are leaves.
        rows: inputs and standardised targets side by side, [seeds, M, B, i + o].
    """
    outputs = ensemble.targets.mean.shape[-1]
    mean, log_var = ensemble.moments(rows[..., :-outputs])
    losses = gaussian_nll(mean, log_var, rows[..., -outputs:]).mean(dim=-1)
    return torch.autograd.grad(losses.sum(), ensemble.parameters)


class Trainees:
    """Members in training, as K ensembles of one member: a stack [K, 1].

    members: which they are, counted through seeds and their members, [K]. seeds: whose data each
    learns from, [K]. parameters: leaves, [K, 1, ...]. complete: nobody has left.

    Args:
        ensemble: of stack [seeds, M], which stays as it is.
        learning_rate: Adam's.
    """

    def __init__(self, ensemble: Ensemble, learning_rate: float) -> None:
        self._rate = learning_rate
        device = ensemble.parameters[0].device
        self.members = torch.arange(math.prod(ensemble.net.stack), device=device)
        self.seeds = self.members // ensemble.members
        self.complete = True
        flat = (p.detach().flatten(0, 1).unsqueeze(1) for p in ensemble.parameters)
        self.parameters = [p.clone().requires_grad_() for p in flat]
        self._form = _at(ensemble, self.seeds)
        self._optimizer = self._new_optimizer()

    @property
    def ensemble(self) -> Ensemble:
        """As they are now."""
        return self._form.replace(self.parameters)

    def learn(self, gradient: LikelihoodGradient, table: Tensor, index: Tensor) -> None:
        """One step on everyone's rows of its seed's table.

        Args:
            gradient: `likelihood_gradient`, or the same as one program.
            table: inputs and standardised targets side by side, [seeds, N, i + o].
            index: rows, [K, B].
        """
        offset = (self.seeds * table.shape[1]).unsqueeze(1)
        rows = table.flatten(0, 1).index_select(0, (index + offset).flatten())
        found = gradient(self.ensemble, rows.reshape(len(index), 1, index.shape[1], -1))
        for parameter, derivative in zip(self.parameters, found, strict=True):
            parameter.grad = derivative
        self._optimizer.step()

    @torch.no_grad()
    def validate(self, held: Tensor) -> tuple[Tensor, Tensor]:
        """Negative log-likelihood and squared error, [K] each, on held-out rows [seeds, N, i + o].

        They are in the form of `learn`'s table.
        """
        ensemble, found = self.ensemble, []
        outputs = ensemble.targets.mean.shape[-1]
        for chunk in held.split(_ROWS_AT_ONCE, dim=1):
            rows = chunk[self.seeds].unsqueeze(1)
            mean, log_var = ensemble.moments(rows[..., :-outputs])
            target = rows[..., -outputs:]
            squared = (mean - target).square().mean(dim=-1)
            found.append((gaussian_nll(mean, log_var, target), squared))
        nll, mse = (torch.cat(parts, dim=-1).mean(dim=-1) for parts in zip(*found, strict=True))
        return nll.squeeze(1), mse.squeeze(1)

    def keep(self, which: Tensor) -> None:
        """Let the others go; `which` is a mask [K]."""
        memories = [self._optimizer.state[p] for p in self.parameters]
        self.members, self.seeds = self.members[which], self.seeds[which]
        self._form = _at(self._form, which)
        self.parameters = [p.detach()[which].requires_grad_() for p in self.parameters]
        self.complete = False
        self._optimizer = self._new_optimizer()
        for parameter, memory in zip(self.parameters, memories, strict=True):
            self._optimizer.state[parameter] = {
                name: value[which] if value.dim() else value for name, value in memory.items()
            }

    def _new_optimizer(self) -> torch.optim.Adam:
        return torch.optim.Adam(self.parameters, lr=self._rate, fused=True)


def _at(ensemble: Ensemble, index: Tensor) -> Ensemble:
    """The same nets with the normalisers of the first stack axis at `index`."""
    return ensemble._replace(inputs=ensemble.inputs.at(index), targets=ensemble.targets.at(index))
