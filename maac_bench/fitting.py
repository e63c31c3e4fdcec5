"""Fitting the learned parts: the ensemble by maximum likelihood, the critics by TD evaluation.

Every seed's losses are summed, so one optimiser step trains the whole stack and no seed's gradient
reaches another's parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from maac_bench.critics import NeuralCritics, init_critics, polyak
from maac_bench.dynamics import Ensemble, init_ensemble
from maac_bench.nets import fit_normalizer
from maac_bench.objectives.likelihood import gaussian_nll
from maac_bench.objectives.soft_bellman import soft_bellman_target
from maac_bench.streams import Streams
from maac_bench.types import Policy, Transition

StreamFactory = Callable[[str], Streams]
"""Makes the stream of a named purpose for the stack at hand."""


def _require_positive(config: object, *names: str) -> None:
    for name in names:
        if not getattr(config, name) > 0:
            raise ValueError(f"{name} must be positive, got {getattr(config, name)}")


@dataclass(frozen=True)
class ModelConfig:
    """How the dynamics ensemble is built and fitted."""

    members: int = 5
    """ensemble size M"""
    hidden: tuple[int, ...] = (200, 200)
    """hidden layer widths"""
    activation: str = "swish"
    """hidden activation"""
    layer_norm: bool = False
    """normalise hidden layers"""
    noisy: bool = True
    """sample the predicted Gaussian instead of taking its mean"""
    learning_rate: float = 1e-3
    """Adam step size"""
    batch_size: int = 256
    """samples per member and step"""
    validation: float = 0.2
    """share of the data held out for early stopping"""
    max_epochs: int = 200
    """passes over the training data at most"""
    patience: int = 5
    """epochs without improvement before a member stops"""
    min_improvement: float = 1e-3
    """nats per feature that count as an improvement"""

    def __post_init__(self) -> None:
        """Refuse sizes and rates that cannot train."""
        _require_positive(self, "members", "batch_size", "max_epochs", "patience", "learning_rate")
        if not 0 < self.validation < 1:
            raise ValueError(f"validation must lie between 0 and 1, got {self.validation}")


@dataclass(frozen=True)
class CriticConfig:
    """How the critics are built and fitted."""

    count: int = 2
    """number of Q-networks"""
    target: Literal["min", "mean"] = "min"
    """how the target combines them: min is pessimistic, as an actor needs; mean is unbiased"""
    hidden: tuple[int, ...] = (256, 256)
    """hidden layer widths"""
    activation: str = "relu"
    """hidden activation"""
    layer_norm: bool = False
    """normalise hidden layers"""
    learning_rate: float = 3e-4
    """Adam step size"""
    batch_size: int = 256
    """transitions per step"""
    steps: int = 5000
    """gradient steps"""
    target_rate: float = 5e-3
    """Polyak rate of the target networks"""

    def __post_init__(self) -> None:
        """Refuse sizes and rates that cannot train."""
        _require_positive(self, "count", "batch_size", "steps", "learning_rate")
        if self.target not in ("min", "mean"):
            raise ValueError(f"target must be 'min' or 'mean', got {self.target!r}")
        if not 0 < self.target_rate <= 1:
            raise ValueError(f"target_rate must lie in (0, 1], got {self.target_rate}")


class ModelReport(NamedTuple):
    """What fitting measured, per seed and member, [seeds, M] each.

    validation_nll: nats per feature of the standardised change. validation_mse: of the same, in
    units of its variance. epochs: passes until the best validation.
    """

    validation_nll: Tensor
    validation_mse: Tensor
    epochs: Tensor


def require_finite(data: Transition) -> None:
    """ValueError naming the field and the seed where the data are not finite."""
    for name, value in data._asdict().items():
        bad = ~torch.isfinite(value).flatten(1).all(dim=1)
        if bool(bad.any()):
            seed = int(bad.nonzero()[0, 0])
            raise ValueError(f"data.{name} has entries that are not finite (stack index {seed})")


def fit_model(
    data: Transition, config: ModelConfig, streams: StreamFactory
) -> tuple[Ensemble, ModelReport]:
    """Fit a fresh bootstrap ensemble to `data`, each member on its own resample.

    Members stop on their own: each keeps the parameters of its best validation epoch, and is
    finished after `patience` epochs without improvement.

    Args:
        data: real transitions, [seeds, N, ...] each.
        config: architecture and optimisation.
        streams: makes the random streams.

    Raises:
        ValueError: data that are not finite, or too few to split.
        FloatingPointError: the loss became non-finite.
    """
    require_finite(data)
    inputs = torch.cat([data.state, data.action], dim=-1)
    change = data.next_state - data.state
    seeds, count, n = data.state.shape
    held_out = int(config.validation * count)
    if held_out < 1 or count - held_out < 1:
        raise ValueError(f"{count} transitions cannot be split with validation={config.validation}")
    ensemble = init_ensemble(
        streams("model-init"),
        fit_normalizer(inputs),
        fit_normalizer(change),
        hidden=config.hidden,
        members=config.members,
        activation=config.activation,
        layer_norm=config.layer_norm,
        noisy=config.noisy,
    )
    rows = torch.cat([inputs, ensemble.targets(change)], dim=-1)
    rows = _rows(rows, streams("validation-split").permutations(count))
    held, train = rows[:, :held_out].unsqueeze(1), rows[:, held_out:]
    bootstrap = streams("bootstrap").integers(train.shape[1], config.members, train.shape[1])
    shuffle = streams("model-shuffle")

    def predict(model: Ensemble, batch: Tensor) -> tuple[Tensor, Tensor]:
        width = inputs.shape[-1]
        return model.predict(batch[..., :n], batch[..., n:width])

    parameters = [p.detach().requires_grad_() for p in ensemble.parameters]
    optimizer = torch.optim.Adam(parameters, lr=config.learning_rate, fused=True)
    best = _Best(config, (seeds, config.members), parameters)
    for epoch in range(config.max_epochs):
        order = shuffle.permutations(train.shape[1], config.members)
        epoch_rows = torch.take_along_dim(bootstrap, order, dim=-1)
        for index in epoch_rows.split(config.batch_size, dim=-1):
            batch = _rows(train, index.flatten(1)).unflatten(1, index.shape[1:])
            mean, log_var = predict(ensemble.replace(parameters), batch)
            loss = gaussian_nll(mean, log_var, batch[..., -n:]).mean(dim=-1).sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            mean, log_var = predict(ensemble.replace(parameters), held)
            nll = gaussian_nll(mean, log_var, held[..., -n:]).mean(dim=-1)
            mse = (mean - held[..., -n:]).square().mean(dim=(-2, -1))
        if best.update(nll, mse, parameters, epoch):
            break
    return ensemble.replace(best.parameters), ModelReport(best.nll, best.mse, best.epochs)


class _Best:
    """Early stopping per seed and member, by masks."""

    def __init__(
        self, config: ModelConfig, stack: tuple[int, int], parameters: Sequence[Tensor]
    ) -> None:
        self.config = config
        self.nll = torch.full(stack, torch.inf)
        self.mse = torch.full(stack, torch.inf)
        self.epochs = torch.zeros(stack, dtype=torch.int64)
        self.parameters = [p.detach().clone() for p in parameters]
        self._stale = torch.zeros(stack, dtype=torch.int64)

    def update(self, nll: Tensor, mse: Tensor, parameters: Sequence[Tensor], epoch: int) -> bool:
        """Keep what improved; True once every member has run out of patience."""
        if not bool(torch.isfinite(nll).all()):
            where = (~torch.isfinite(nll)).nonzero()[0].tolist()
            raise FloatingPointError(
                f"model loss is not finite at epoch {epoch} (stack index, member) = {where}; "
                "lower the model's learning rate or check the data's scale"
            )
        active = self._stale < self.config.patience
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


def fit_critics(
    data: Transition,
    policy: Policy,
    discount: float,
    config: CriticConfig,
    streams: StreamFactory,
) -> NeuralCritics:
    """Evaluate `policy` from off-policy transitions: TD learning with target networks.

    The next action is drawn from the policy at every step, so the data may come from another one.

    Args:
        data: real transitions, [seeds, N, ...] each.
        policy: the policy to evaluate, stack (seeds,).
        discount: gamma, below 1.
        config: architecture and optimisation.
        streams: makes the random streams.

    Raises:
        ValueError: data that are not finite, or a discount out of range.
        FloatingPointError: the loss became non-finite.
    """
    if not 0.0 <= discount < 1.0:
        raise ValueError(f"discount must lie in [0, 1), got {discount}")
    require_finite(data)
    inputs = torch.cat([data.state, data.action], dim=-1)
    # One unit of the nets' output is the size of a discounted sum of unrelated rewards: so large
    # that few steps go into reaching a value's size, so small that values are still resolved.
    scale = data.reward.square().mean(dim=-1).sqrt() / (1.0 - discount**2) ** 0.5
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    critics = init_critics(
        streams("critic-init"),
        fit_normalizer(inputs),
        scale,
        hidden=config.hidden,
        count=config.count,
        activation=config.activation,
        layer_norm=config.layer_norm,
    )
    n, m = data.state.shape[-1], data.action.shape[-1]
    scalars = torch.stack([data.reward, discount * (1.0 - data.terminated)], dim=-1)
    rows = torch.cat([inputs, data.next_state, scalars], dim=-1)
    replay, noise = streams("critic-replay"), streams("critic-action")
    parameters = [p.detach().requires_grad_() for p in critics.parameters]
    targets = [p.detach().clone() for p in parameters]
    optimizer = torch.optim.Adam(parameters, lr=config.learning_rate, fused=True)
    for step in range(config.steps):
        batch = _rows(rows, replay.integers(rows.shape[1], config.batch_size))
        state, action, next_state, scalar = batch.split([n, m, n, 2], dim=-1)
        with torch.no_grad():
            next_action = policy.sample(next_state, noise.normal(config.batch_size, m))
            next_values = critics.replace(targets)(next_state, next_action.value)
            if config.target == "mean":
                next_values = next_values.mean(dim=0, keepdim=True)
            target = soft_bellman_target(
                scalar[..., 0], scalar[..., 1], next_values, next_action.log_prob
            )
        values = critics.replace(parameters)(state, action)
        error = (values - target) / scale.unsqueeze(-1)
        loss = 0.5 * error.square().mean(dim=-1).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        targets = [
            polyak(old, new.detach(), config.target_rate)
            for old, new in zip(targets, parameters, strict=True)
        ]
        if step % 100 == 0 or step == config.steps - 1:
            _require_finite_loss(loss, step)
    return critics.replace([p.detach() for p in parameters])


def _require_finite_loss(loss: Tensor, step: int) -> None:
    if not bool(torch.isfinite(loss)):
        raise FloatingPointError(
            f"critic loss is not finite at step {step}; lower the critic's learning rate"
        )


def _rows(table: Tensor, index: Tensor) -> Tensor:
    """Rows of table [seeds, N, f] at index [seeds, B] -> [seeds, B, f]."""
    offset = torch.arange(table.shape[0], device=table.device).unsqueeze(1) * table.shape[1]
    flat = table.flatten(0, 1).index_select(0, (index + offset).flatten())
    return flat.reshape(*index.shape, table.shape[-1])
