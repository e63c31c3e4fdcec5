"""Offline policy evaluation: fitting critics to transitions by TD learning.

Every seed's losses are summed, so one optimiser step trains the whole stack and no seed's gradient
reaches another's parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from maac_bench.checks import require_finite, require_positive, require_whole
from maac_bench.critics import NeuralCritics, init_critics, polyak
from maac_bench.nets import Hidden, fit_normalizer
from maac_bench.objectives.soft_bellman import soft_bellman_target
from maac_bench.replay import take_rows
from maac_bench.streams import StreamFactory
from maac_bench.types import Policy, Transition


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
        require_whole(self)
        require_positive(self, "count", "hidden", "batch_size", "steps", "learning_rate")
        if self.target not in ("min", "mean"):
            raise ValueError(f"target must be 'min' or 'mean', got {self.target!r}")
        if not 0 < self.target_rate <= 1:
            raise ValueError(f"target_rate must lie in (0, 1], got {self.target_rate}")


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
        FloatingPointError: the loss or the critics became non-finite.
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
        Hidden(config.hidden, config.activation, config.layer_norm),
        count=config.count,
    )
    n, m = data.state.shape[-1], data.action.shape[-1]
    scalars = torch.stack([data.reward, discount * (1.0 - data.terminated)], dim=-1)
    rows = torch.cat([inputs, data.next_state, scalars], dim=-1)
    replay, noise = streams("critic-replay"), streams("critic-action")
    parameters = [p.detach().requires_grad_() for p in critics.parameters]
    targets = [p.detach().clone() for p in parameters]
    optimizer = torch.optim.Adam(parameters, lr=config.learning_rate, fused=True)
    for step in range(config.steps):
        batch = take_rows(rows, replay.integers(rows.shape[1], config.batch_size))
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
            _require_finite([loss], f"critic loss is not finite at step {step}")
    # The last loss is from before the last step.
    _require_finite(parameters, f"critics are not finite after step {config.steps - 1}")
    return critics.replace([p.detach() for p in parameters])


def _require_finite(tensors: Sequence[Tensor], failure: str) -> None:
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors):
        raise FloatingPointError(f"{failure}; lower the critic's learning rate")
