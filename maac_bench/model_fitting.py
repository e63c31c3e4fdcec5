"""Fitting the dynamics ensemble by maximum likelihood, with early stopping.

Every seed's and member's losses are summed, so one optimiser step trains the whole stack and no
gradient reaches another's parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from maac_bench.data import StreamFactory, require_finite, require_positive, require_whole
from maac_bench.dynamics import Ensemble, init_ensemble
from maac_bench.nets import Normalizer, fit_normalizer
from maac_bench.objectives.likelihood import gaussian_nll
from maac_bench.replay import take_rows
from maac_bench.streams import Streams
from maac_bench.types import Gradient, Transition

# Validation takes three times as long where hidden layers of all rows leave the cache.
_ROWS_AT_ONCE = 512


@dataclass(frozen=True)
class ModelConfig:
    """How the dynamics ensemble is built and fitted."""

    members: int = 5
    """ensemble size M"""
    elites: int = 0
    """members with the best validation likelihood, which alone imagine; 0: all"""
    hidden: tuple[int, ...] = (200, 200)
    """hidden layer widths"""
    activation: str = "swish"
    """hidden activation"""
    layer_norm: bool = False
    """normalise hidden layers"""
    precision: str = "full"
    """of the products between hidden layers: full or bfloat16"""
    noisy: bool = True
    """sample the predicted Gaussian instead of taking its mean"""
    learning_rate: float = 1e-3
    """Adam step size"""
    batch_size: int = 256
    """samples per member and step"""
    validation: float = 0.2
    """share of the data held out for early stopping: 1/2, 1/3, ..., one of every so many"""
    max_epochs: int = 200
    """passes over the training data at most"""
    patience: int = 5
    """epochs without improvement before a member stops"""
    min_improvement: float = 1e-3
    """nats per feature that count as an improvement"""

    def __post_init__(self) -> None:
        """Refuse sizes and rates that cannot train."""
        require_whole(self)
        require_positive(self, "members", "batch_size", "max_epochs", "patience", "learning_rate")
        if not 0 < self.validation < 1:
            raise ValueError(f"validation must lie between 0 and 1, got {self.validation}")
        block = round(1.0 / self.validation)
        if block < 2 or abs(block * self.validation - 1.0) > 1e-3:
            raise ValueError(f"validation must be 1/2, 1/3, 1/4, ..., got {self.validation}")
        if not 0 <= self.min_improvement < math.inf:
            raise ValueError(
                f"min_improvement must be at least 0 and finite, got {self.min_improvement}"
            )
        if not 0 <= self.elites <= self.members:
            raise ValueError(
                f"elites must lie between 0 and the ensemble's {self.members} members, "
                f"got {self.elites}"
            )

    @property
    def serving(self) -> int:
        """Members that imagine."""
        return self.elites or self.members


class ModelReport(NamedTuple):
    """What fitting measured, per seed and member, [seeds, M] each.

    validation_nll: nats per feature of the standardised change. validation_mse: of the same, in
    units of its variance. epochs: passes until the best validation.
    """

    validation_nll: Tensor
    validation_mse: Tensor
    epochs: Tensor


def elite_members(ensemble: Ensemble, report: ModelReport, config: ModelConfig) -> Ensemble:
    """The members that `config` lets serve: each seed's best by validation likelihood."""
    if config.serving == config.members:
        return ensemble
    return ensemble.choose(report.validation_nll.argsort(dim=1, stable=True)[:, : config.serving])


LikelihoodGradient: TypeAlias = Callable[[Ensemble, Tensor], Gradient]
"""See `likelihood_gradient`."""


class Pairs(NamedTuple):
    """Regression data. inputs [seeds, N, i], targets [seeds, N, o], in the order they came."""

    inputs: Tensor
    targets: Tensor


def dynamics_pairs(data: Transition) -> Pairs:
    """What the dynamics learn: the change of state from state and action."""
    return Pairs(torch.cat([data.state, data.action], dim=-1), data.next_state - data.state)


def fit_model(
    data: Transition, config: ModelConfig, streams: StreamFactory
) -> tuple[Ensemble, ModelReport]:
    """Fit a fresh bootstrap ensemble to `data`, each member on its own resample.

    Args:
        data: real transitions, [seeds, N, ...] each.
        config: architecture and optimisation.
        streams: makes the random streams.

    Raises:
        ValueError: data that are not finite, or too few to split.
        FloatingPointError: the loss became non-finite.
    """
    require_finite(data)
    pairs, count = dynamics_pairs(data), data.state.shape[1]
    held_out = int(config.validation * count)
    if held_out < 1 or count - held_out < 1:
        raise ValueError(f"{count} transitions cannot be split with validation={config.validation}")
    ensemble = new_ensemble(pairs, config, streams("model-init"))
    order = streams("validation-split").permutations(count)
    table = take_rows(_table(ensemble, pairs), order)
    fitted, best = _maximise_likelihood(
        ensemble, table[:, held_out:], table[:, :held_out], config, streams, likelihood_gradient
    )
    if best.broken is not None:
        raise FloatingPointError(best.broken)
    return fitted, best.report


def refit_model(
    ensemble: Ensemble,
    pairs: Pairs,
    config: ModelConfig,
    streams: StreamFactory,
    split: Streams,
    full_gradient: LikelihoodGradient | None = None,
) -> tuple[Ensemble, ModelReport]:
    """Continue with an ensemble on data that have grown; normalisers follow the data.

    Which rows are held out does not change as data are added, so validation never sees what an
    earlier fit was trained on. A member that cannot improve keeps its parameters; one whose loss
    was not finite before it had run out of patience reports an infinite likelihood.

    Args:
        ensemble: as the last fit left it, or a new one.
        pairs: all data so far.
        config: optimisation.
        streams: makes the random streams of bootstrap and batches.
        split: a stream that starts afresh at every call.
        full_gradient: takes the place of `likelihood_gradient` for full batches.
    """
    ensemble = ensemble._replace(
        inputs=fit_normalizer(pairs.inputs), targets=fit_normalizer(pairs.targets)
    )
    table = _table(ensemble, pairs)
    held, train = (
        rows.to(table.device) for rows in held_out_rows(table.shape[1], config.validation, split)
    )
    fitted, best = _maximise_likelihood(
        ensemble,
        take_rows(table, train),
        take_rows(table, held),
        config,
        streams,
        full_gradient or likelihood_gradient,
        warm=True,
    )
    return fitted, best.report


def held_out_rows(count: int, share: float, split: Streams) -> tuple[Tensor, Tensor]:
    """Indices held out and trained on: one of every 1/share rows in turn, [seeds, ...] each.

    A longer table extends the choice of a shorter one, as long as `split` starts afresh. Rows after
    the last full turn wait for the next: one of them may be held out.
    """
    block = round(1.0 / share)
    blocks = count // block
    if not blocks:
        raise ValueError(f"{count} transitions cannot be split with validation={share}")
    first = torch.arange(blocks, device=split.device) * block
    held = first + split.integers(block, blocks)
    whole = blocks * block
    is_held = torch.zeros(len(split), whole, dtype=torch.bool, device=split.device)
    is_held.scatter_(1, held, True)
    # A stable sort keeps both groups in their order.
    order = is_held.to(torch.int8).argsort(dim=1, stable=True)
    return held, order[:, : whole - blocks]


def new_ensemble(pairs: Pairs, config: ModelConfig, init: Streams) -> Ensemble:
    """An untrained ensemble whose normalisers fit the data."""
    return build_ensemble(fit_normalizer(pairs.inputs), fit_normalizer(pairs.targets), config, init)


def build_ensemble(
    inputs: Normalizer, targets: Normalizer, config: ModelConfig, init: Streams
) -> Ensemble:
    """An untrained ensemble of the configured architecture."""
    return init_ensemble(
        init,
        inputs,
        targets,
        hidden=config.hidden,
        members=config.members,
        activation=config.activation,
        layer_norm=config.layer_norm,
        precision=config.precision,
        noisy=config.noisy,
    )


def _table(ensemble: Ensemble, pairs: Pairs) -> Tensor:
    """Inputs and standardised targets side by side, [seeds, N, i + o]."""
    return torch.cat([pairs.inputs, ensemble.targets(pairs.targets)], dim=-1)


def _validate(ensemble: Ensemble, held: Tensor) -> tuple[Tensor, Tensor]:
    """Negative log-likelihood and squared error on held-out rows, [seeds, M] each."""
    outputs = ensemble.targets.mean.shape[-1]
    found = []
    with torch.no_grad():
        for rows in held.unsqueeze(1).split(_ROWS_AT_ONCE, dim=2):
            mean, log_var = ensemble.moments(rows[..., :-outputs])
            target = rows[..., -outputs:]
            squared = (mean - target).square().mean(dim=-1)
            found.append((gaussian_nll(mean, log_var, target), squared))
    nll, mse = (torch.cat(parts, dim=-1).mean(dim=-1) for parts in zip(*found, strict=True))
    return nll, mse


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


def _maximise_likelihood(
    ensemble: Ensemble,
    train: Tensor,
    held: Tensor,
    config: ModelConfig,
    streams: StreamFactory,
    full_gradient: LikelihoodGradient,
    warm: bool = False,
) -> tuple[Ensemble, _Best]:
    """Train on bootstrap resamples of `train` until no member improves on `held`.

    Members stop on their own: each keeps the parameters of its best validation epoch, and is
    finished after `patience` epochs without improvement. With `warm`, the parameters at hand count
    as a first result.
    """
    count = train.shape[1]
    bootstrap = streams("bootstrap").integers(count, config.members, count)
    shuffle = streams("model-shuffle")
    parameters = [p.detach().clone().requires_grad_() for p in ensemble.parameters]
    optimizer = torch.optim.Adam(parameters, lr=config.learning_rate, fused=True)
    best = _Best(config, ensemble.net.stack, parameters)
    if warm:
        best.update(*_validate(ensemble, held), parameters, -1)
    for epoch in range(config.max_epochs):
        order = shuffle.permutations(count, config.members)
        epoch_rows = torch.take_along_dim(bootstrap, order, dim=-1)
        for index in epoch_rows.split(config.batch_size, dim=-1):
            batch = take_rows(train, index.flatten(1)).unflatten(1, index.shape[1:])
            # Only full batches have the size that a compiled gradient was made for.
            full = index.shape[-1] == config.batch_size
            gradient = full_gradient if full else likelihood_gradient
            found = gradient(ensemble.replace(parameters), batch)
            for parameter, derivative in zip(parameters, found, strict=True):
                parameter.grad = derivative
            optimizer.step()
        nll, mse = _validate(ensemble.replace(parameters), held)
        if best.update(nll, mse, parameters, epoch):
            break
    return ensemble.replace(best.parameters), best


class _Best:
    """Early stopping per seed and member, by masks."""

    def __init__(
        self, config: ModelConfig, stack: tuple[int, ...], parameters: Sequence[Tensor]
    ) -> None:
        self.config = config
        self.broken: str | None = None
        self.nll = parameters[0].new_full(stack, torch.inf)
        self.mse = parameters[0].new_full(stack, torch.inf)
        self.epochs = torch.zeros(stack, dtype=torch.int64, device=parameters[0].device)
        self.parameters = [p.detach().clone() for p in parameters]
        self._stale = torch.zeros(stack, dtype=torch.int64, device=parameters[0].device)
        self._diverged = torch.zeros(stack, dtype=torch.bool, device=parameters[0].device)

    @property
    def report(self) -> ModelReport:
        """What the kept parameters achieved; an infinite likelihood for a fit that diverged."""
        nll = torch.where(self._diverged, torch.inf, self.nll)
        return ModelReport(nll, self.mse, self.epochs)

    def update(self, nll: Tensor, mse: Tensor, parameters: Sequence[Tensor], epoch: int) -> bool:
        """Keep what improved; True once every member has run out of patience.

        A loss that is not finite is no improvement, and `broken` says where it was first seen.
        """
        active = self._stale < self.config.patience
        bad = active & ~torch.isfinite(nll)
        self._diverged |= bad
        if self.broken is None and bool(bad.any()):
            self.broken = (
                f"model loss is not finite at epoch {epoch} (stack index, member) = "
                f"{bad.nonzero()[0].tolist()}; lower the model's learning rate or check the "
                "data's scale"
            )
        better = active & (nll < self.nll - self.config.min_improvement)
        self.nll = torch.where(better, nll, self.nll)
        self.mse = torch.where(better, mse, self.mse)
        self.epochs = torch.where(better, epoch + 1, self.epochs)
        self.parameters = [
            torch.where(better.reshape(*better.shape, *([1] * (new.dim() - 2))), new.detach(), old)
            for new, old in zip(parameters, self.parameters, strict=True)
        ]
        self._stale = torch.where(better, 0, self._stale + 1)
        return not bool((self._stale < self.config.patience).any())
