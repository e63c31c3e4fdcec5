"""What a researcher wants to know about a model, a critic and a gradient while they are learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from maac_bench.agent import Agent, UpdateNoise
from maac_bench.dynamics import Ensemble, EveryMember
from maac_bench.evaluation import Record
from maac_bench.model_fitting import ModelReport
from maac_bench.types import ModelNoise, Transition
from maac_bench.world import World

PREDICTION_STEPS = (1, 2, 4, 8)
# Of a feature's size: what float32 makes of one that does not vary.
_ROUNDING = 1e-6


def agent_columns(
    agent: Agent, world: World, episode: Record, batch: Transition, noise: UpdateNoise
) -> dict[str, Tensor]:
    """Columns of metrics.csv about critics and gradient, [seeds] each.

    Args:
        agent: what is looked at.
        world: what it imagines with.
        episode: a real one with sampled actions.
        batch: real transitions for the gradient.
        noise: of an update with this batch.
    """
    bias, truth = critic_bias(agent, world, episode)
    norm, cosine = gradient_signal(agent, world, batch, noise)
    return {
        "sampled_return": episode.returns,
        "critic_bias": bias,
        "soft_return": truth,
        "actor_gradient_norm": norm,
        "actor_gradient_cosine": cosine,
    }


def model_columns(
    model: Ensemble | None, fits: Mapping[str, ModelReport], episode: Record
) -> dict[str, Tensor]:
    """Columns of metrics.csv about the model and the last fits; none without a model."""
    if model is None:
        return {}
    errors = prediction_errors(model, episode)
    columns = {f"prediction_error_{steps}": error for steps, error in errors.items()}
    for name, fit in fits.items():
        for member in range(fit.validation_nll.shape[1]):
            columns[f"{name}_nll_{member}"] = fit.validation_nll[:, member]
            columns[f"{name}_mse_{member}"] = fit.validation_mse[:, member]
        columns[f"{name}_epochs"] = fit.epochs.float().mean(dim=1)
    return columns


def prediction_errors(
    model: Ensemble, record: Record, steps: Sequence[int] = PREDICTION_STEPS
) -> dict[int, Tensor]:
    """Open-loop error of the members' noise-free rollouts after k real steps, [seeds] each.

    Root-mean-square over members, features and start times, each feature in units of its standard
    deviation along the episode; those that do not vary in it are left out. Start times are those
    with all k steps in the episode: NaN for a seed that has none or where nothing varies, no entry
    where the episode is too short for any; infinite where a prediction is not finite.

    Args:
        model: the ensemble.
        record: a real episode; its actions are played in the model.
        steps: which k.
    """
    states, actions = record.states.transpose(0, 1), record.actions.transpose(0, 1)
    alive, total = record.alive.transpose(0, 1), len(record.actions)
    unit = _deviation(states, torch.cat([alive[:, :1], alive], dim=1)).unsqueeze(1)
    varying = unit.isfinite().sum(dim=(1, 2, 3))
    every, noise = EveryMember(model._replace(noisy=False)), ModelNoise(torch.zeros(()))
    imagined, errors = states[:, :-1].unsqueeze(1), {}
    with torch.no_grad():
        for k in range(1, min(max(steps), total) + 1):
            # Start times 0 ... total - k: the last one of the step before has no k-th action.
            start = imagined[:, :, : total - k + 1]
            imagined = every.step(start, actions[:, k - 1 :].unsqueeze(1), noise)
            if k in steps:
                relative = (imagined - states[:, k:].unsqueeze(1)) / unit
                squared = relative.square().mean(dim=1).sum(dim=-1).nan_to_num(nan=torch.inf)
                lived = alive[:, k - 1 :] > 0
                total_error = torch.where(lived, squared, 0.0).sum(dim=1)
                errors[k] = (total_error / (lived.sum(dim=1) * varying)).sqrt()
    return errors


def _deviation(states: Tensor, seen: Tensor) -> Tensor:
    """Standard deviation over the states that were visited, infinite if none, [seeds, 1, n]."""
    weight, count = seen.unsqueeze(-1), seen.sum(dim=1).reshape(-1, 1, 1)
    mean = (weight * states).sum(dim=1, keepdim=True) / count
    variance = (weight * (states - mean).square()).sum(dim=1, keepdim=True) / (count - 1.0)
    deviation = variance.sqrt()
    return torch.where(deviation > _ROUNDING * (1.0 + mean.abs()), deviation, torch.inf)


def critic_bias(agent: Agent, world: World, record: Record) -> tuple[Tensor, Tensor]:
    """Mean of `min_j Q_j - G` and of G, the soft Monte-Carlo return, [seeds] each.

    Over the first half of the episode: the critic's own value closes the sum at a time limit. With
    1000 steps and a discount of 0.99 it hardly counts; with 200 it has a mean weight of 0.23, and
    hides as much of a constant bias.

    Args:
        agent: critics and temperature.
        world: the discount.
        record: an episode with sampled actions.
    """
    states, actions = record.states.transpose(0, 1), record.actions.transpose(0, 1)
    with torch.no_grad():
        values = agent.critics(states[:, :-1], actions).amin(dim=0).T
    total = soft_returns(agent.temperature, world.discount, record, values)
    # Over the first half of each seed's episode.
    elapsed = record.alive.cumsum(dim=0) - 1.0
    half = record.alive * (elapsed < 0.5 * record.alive.sum(dim=0))
    weight = half / half.sum(dim=0).clamp(min=1.0)
    return ((values - total) * weight).sum(dim=0), (total * weight).sum(dim=0)


def soft_returns(temperature: Tensor, discount: float, record: Record, closing: Tensor) -> Tensor:
    """`G_t = r_t + gamma (G_tp1 - alpha log pi_tp1)` along an episode, [T, seeds].

    Args:
        temperature: alpha, [seeds].
        discount: gamma.
        record: an episode with sampled actions.
        closing: what the last step of an episode cut by its time limit is worth, [T, seeds].
    """
    last = torch.cat([record.alive[1:], torch.zeros_like(record.alive[:1])]) == 0
    gain, total = torch.zeros_like(temperature), []
    for t in reversed(range(len(record.rewards))):
        end = torch.where(record.terminated > 0, record.rewards[t], closing[t])
        now = torch.where(last[t], end, record.rewards[t] + discount * gain)
        total.append(now)
        gain = now - temperature * record.log_probs[t]
    return torch.stack(total[::-1])


def gradient_signal(
    agent: Agent, world: World, batch: Transition, noise: UpdateNoise
) -> tuple[Tensor, Tensor]:
    """Norm of the actor's gradient, and the cosine between those of the batch's halves, [seeds].

    The cosine estimates the signal-to-noise ratio: near 1 where sampling hardly matters, near 0
    where the gradient of half a batch is noise.
    """
    terms = agent.actor_terms(world, batch.state, noise.actor)
    loss = -terms.objective(agent.temperature)
    half = loss.shape[-1] // 2
    parameters = agent.policy.parameters
    first, second = (
        _flat(torch.autograd.grad(part.mean(dim=-1).sum(), parameters, retain_graph=True))
        for part in (loss[:, :half], loss[:, half : 2 * half])
    )
    norm = (0.5 * (first + second)).norm(dim=-1)
    return norm, torch.cosine_similarity(first, second, dim=-1)


def _flat(gradient: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.flatten(1) for part in gradient], dim=1)


class Totals:
    """Running means of what updates report."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def add(self, info: Mapping[str, Tensor]) -> None:
        """Take in one update's report."""
        for name, value in info.items():
            self._sums[name] = self._sums[name] + value if self._count else value
        self._count += 1

    def mean(self) -> dict[str, Tensor]:
        """What was taken in, averaged; nothing if there was nothing."""
        return {name: value / self._count for name, value in self._sums.items()}
