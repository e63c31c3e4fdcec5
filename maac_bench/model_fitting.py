"""Fitting the dynamics ensemble by maximum likelihood, with early stopping."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from maac_bench.checks import require_finite, require_positive, require_whole
from maac_bench.dynamics import Ensemble, init_ensemble
from maac_bench.early_stopping import EarlyStopping
from maac_bench.ensemble_training import LikelihoodGradient, Trainees, likelihood_gradient
from maac_bench.nets import NO_SPREAD, Normalizer, fit_normalizer, require_layers
from maac_bench.replay import take_rows
from maac_bench.streams import StreamFactory, Streams
from maac_bench.types import Transition

# Members that have stopped are trained no further where a step's time grows with their number, as
# soon as no more than this share is left: the gradient for fewer of them is not compiled.
_WORTH_LEAVING = 0.75


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
    """of the products between hidden layers: full, tf32 (on a GPU) or bfloat16"""
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
        require_layers(self)
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
    fitted, report, broken = _maximise_likelihood(
        ensemble, table[:, held_out:], table[:, :held_out], config, streams, likelihood_gradient
    )
    if broken is not None:
        raise FloatingPointError(broken)
    return fitted, report


def refit_model(
    ensemble: Ensemble,
    pairs: Pairs,
    config: ModelConfig,
    streams: StreamFactory,
    split: Streams,
    full_gradient: LikelihoodGradient | None = None,
    max_steps: int | None = None,
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
        max_steps: gradient steps at most; the last pass over the data may then be part of one.
    """
    ensemble = ensemble._replace(inputs=fit_normalizer(pairs.inputs), targets=_fit_targets(pairs))
    table = _table(ensemble, pairs)
    held, train = (
        rows.to(table.device) for rows in held_out_rows(table.shape[1], config.validation, split)
    )
    fitted, report, _ = _maximise_likelihood(
        ensemble,
        take_rows(table, train),
        take_rows(table, held),
        config,
        streams,
        full_gradient or likelihood_gradient,
        warm=True,
        max_steps=max_steps,
    )
    return fitted, report


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
    return build_ensemble(fit_normalizer(pairs.inputs), _fit_targets(pairs), config, init)


def _fit_targets(pairs: Pairs) -> Normalizer:
    """A target that never changes is predicted as that, whatever the net puts out for it."""
    return fit_normalizer(pairs.targets, NO_SPREAD)


def build_ensemble(
    inputs: Normalizer, targets: Normalizer, config: ModelConfig, init: Streams
) -> Ensemble:
    """An untrained ensemble of the configured architecture."""
    return init_ensemble(init, inputs, targets, config, members=config.members, noisy=config.noisy)


def _table(ensemble: Ensemble, pairs: Pairs) -> Tensor:
    """Inputs and standardised targets side by side, [seeds, N, i + o]."""
    return torch.cat([pairs.inputs, ensemble.targets(pairs.targets)], dim=-1)


def _maximise_likelihood(
    ensemble: Ensemble,
    train: Tensor,
    held: Tensor,
    config: ModelConfig,
    streams: StreamFactory,
    full_gradient: LikelihoodGradient,
    warm: bool = False,
    max_steps: int | None = None,
) -> tuple[Ensemble, ModelReport, str | None]:
    """Train on bootstrap resamples of `train` until no member improves on `held`.

    Members stop on their own: each keeps the parameters of its best validation epoch, and is
    finished after `patience` epochs without improvement. With `warm`, the parameters at hand count
    as a first result. After `max_steps` gradient steps all stop, and are validated once more.

    Returns:
        The ensemble, what it achieved, and where a loss was not finite, if one was.
    """
    count, stack = train.shape[1], ensemble.net.stack
    bootstrap = streams("bootstrap").integers(count, config.members, count)
    shuffle = streams("model-shuffle")
    trainees = Trainees(ensemble, config.learning_rate)
    best = EarlyStopping(config.patience, config.min_improvement, trainees.parameters)

    def validate(epoch: int) -> None:
        best.update(trainees.members, *trainees.validate(held), trainees.parameters, epoch)

    if warm:
        validate(-1)
    left = max_steps
    for epoch in range(config.max_epochs):
        # Drawn for all, so that who has stopped does not shift the others' draws.
        order = shuffle.permutations(count, config.members)
        epoch_rows = torch.take_along_dim(bootstrap, order, dim=-1).flatten(0, 1)
        batches = epoch_rows[trainees.members].split(config.batch_size, dim=-1)[:left]
        for index in batches:
            # Only full batches of all members have the size that a compiled gradient was made for.
            usual = index.shape[-1] == config.batch_size and trainees.complete
            gradient = full_gradient if usual else likelihood_gradient
            trainees.learn(gradient, train, index)
        validate(epoch)
        active = best.active[trainees.members]
        left = None if left is None else left - len(batches)
        if left == 0 or not bool(active.any()):
            break
        if train.device.type == "cpu" and float(active.float().mean()) <= _WORTH_LEAVING:
            trainees.keep(active)
    return (
        ensemble.replace([p.reshape(*stack, *p.shape[2:]) for p in best.parameters]),
        ModelReport(*(values.reshape(stack) for values in (best.found, best.mse, best.epochs))),
        None if best.broken is None else _complaint(*best.broken, members=stack[-1]),
    )


def _complaint(epoch: int, member: int, members: int) -> str:
    """Where a loss was not finite, and what to do about it."""
    return (
        f"model loss is not finite at epoch {epoch} (stack index, member) = "
        f"{list(divmod(member, members))}; lower the model's learning rate or check the "
        "data's scale"
    )
