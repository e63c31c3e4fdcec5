"""The actor's gradient with a learned model and critic, against the true dynamics.

The counterpart of `analytic.gradient_error` where there is no closed form: the dynamics are known
and differentiable, so the reference is sampled. Its exact critic is a rollout that goes on.

Five parts, each an estimate and the target it is compared with, at the same start states and noise:

- model: learned model against true model, both closed by the learned critic after H steps.
- critic: true model, closed by the learned critic after H steps, against the *tail*: the true
  rollout goes on for the reference's steps, and the policy acts on but is not differentiated after
  time H. That is the H-step objective with a Monte-Carlo critic.
- truncation: the tail against the reference, in which every action is differentiated. Exact model
  and critic have it too, because an actor update holds its critic fixed.
- critic_and_truncation: true model and learned critic against the reference.
- total: learned model and learned critic against the reference.

The reference is the gradient of the return from the same start states, cut after L steps and closed
by the learned critic: what is left of that critic's error is discounted by gamma^L, and so is the
reference's own truncation. Start states of a replay are not the task's: the reference is the
policy's gradient from there, not the gradient of the return from the task's start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from maac_bench.estimators.base import differentiate, per_sample_policy
from maac_bench.objectives.pathwise import Entropy, actor_objective, h_step_return, path_entropy
from maac_bench.rollout import unroll
from maac_bench.streams import Streams
from maac_bench.types import Action, Policy, Problem, RolloutNoise

PARTS = {
    "model": ("learned", "true"),
    "critic": ("true", "tail"),
    "truncation": ("tail", "reference"),
    "critic_and_truncation": ("true", "reference"),
    "total": ("learned", "reference"),
}
"""Part: which gradient is compared with which."""

RESAMPLES = 200
OUTLIER = 100.0
"""A sample whose gradient is longer than this many medians counts as exploding."""

Gradients: TypeAlias = dict[str, Tensor]
"""Per-sample gradients by name, [seeds, N, parameters] each."""


Objective: TypeAlias = Callable[[Policy], Tensor]
"""Per-sample values of a policy with stack (seeds, N), [seeds, N]."""


class Setting(NamedTuple):
    """What is compared.

    learned, true: problems that differ in their dynamics alone. policy: stack (seeds,).
    temperature: alpha, [seeds]. entropy: which actions the actor's H-step objective counts; tail
    and reference count all, as the soft critic at their end does.
    """

    learned: Problem
    true: Problem
    policy: Policy
    temperature: Tensor
    entropy: Entropy = "path"


class Quality(NamedTuple):
    """An estimate of the mean gradient against its target, [seeds] each; g and g* are the means.

    Fields:
        l1_error: `|g - g*|_1`.
        l2_relative: `|g - g*| / |g*|`.
        cosine: between g and g*.
        cosine_error: its standard error, from samples redrawn with replacement, pairs together.
        cosine_halves: between the target's means over the two halves of the samples: near 1 where
            sampling hardly matters, near 0 where half the samples give noise.
        norm_ratio: `|g| / |g*|`.
        sample_cosine: median over samples of the cosine between a sample's own two gradients:
            another quantity than `cosine`, and one that a few exploding samples cannot decide.
        sample_norm_ratio: likewise the median ratio of a sample's two lengths.
        exploding: share of the estimate's samples longer than `OUTLIER` times their median.
        exploding_target: the same share of the target's.
    """

    l1_error: Tensor
    l2_relative: Tensor
    cosine: Tensor
    cosine_error: Tensor
    cosine_halves: Tensor
    norm_ratio: Tensor
    sample_cosine: Tensor
    sample_norm_ratio: Tensor
    exploding: Tensor
    exploding_target: Tensor


def shortened(noise: RolloutNoise, horizon: int) -> RolloutNoise:
    """The noise of the first `horizon` transitions, with the same terminal actions."""
    return RolloutNoise(noise.action[:horizon], noise.model[:horizon], noise.terminal)


def reference_objective(
    setting: Setting, policy: Policy, start: Tensor, noise: RolloutNoise, horizon: int
) -> Tensor:
    """Soft return of the true rollout, differentiable in the policy up to time `horizon`.

    `sum_{t<L} gamma^t r_t + gamma^L Q(s_L, a_L) + alpha sum_{t<=L} gamma^t (-log pi_t)`; actions
    after `horizon` come from the setting's own policy. With `horizon` >= L it is `actor_objective`.

    Args:
        setting: the true problem and the temperature.
        policy: what is differentiated, stack (seeds, N).
        start: s_0, [seeds, N, n].
        noise: for L transitions.
        horizon: last time at which `policy` acts.

    Returns:
        [seeds, N].
    """
    length = len(noise.action)

    def acting(t: int) -> Policy:
        return policy if t <= horizon else setting.policy

    def act(t: int, state: Tensor) -> Action:
        return acting(t).sample(state, noise.action[t])

    trajectory = unroll(setting.true, act, start, noise.model)
    last = trajectory.states[-1].unsqueeze(-2)
    terminal = acting(length).sample(last, noise.terminal)
    last = last.expand(*noise.terminal.shape[:-1], last.shape[-1])
    value = h_step_return(trajectory, setting.true.critic(last, terminal.value))
    if not bool(setting.temperature.any()):  # a policy without noise: 0 * inf
        return value
    entropy = path_entropy(trajectory, terminal, "path")
    return value + setting.temperature.unsqueeze(-1) * entropy


def tail_gradients(setting: Setting, start: Tensor, noise: RolloutNoise, horizon: int) -> Tensor:
    """Per-sample gradient of `reference_objective`, [seeds, N, parameters].

    With `horizon` = L it is the reference, with a smaller one the tail.
    """

    def objective(candidate: Policy) -> Tensor:
        return reference_objective(setting, candidate, start, noise, horizon)

    return _flat_gradients(objective, setting.policy, start)


def actor_gradients(
    setting: Setting, problem: Problem, start: Tensor, noise: RolloutNoise
) -> Tensor:
    """Per-sample gradient of the actor's objective, [seeds, N, parameters].

    The H-step objective of an actor update (Clavera et al. 2020, Sec. 4.1), H as in `noise`.
    """
    quiet = not bool(setting.temperature.any())
    temperature = 0.0 if quiet else setting.temperature.unsqueeze(-1)

    def objective(candidate: Policy) -> Tensor:
        return actor_objective(problem, candidate, start, noise, temperature, setting.entropy)

    return _flat_gradients(objective, setting.policy, start)


def _flat_gradients(objective: Objective, policy: Policy, start: Tensor) -> Tensor:
    copies = per_sample_policy(policy, start.shape[1])
    return torch.cat([part.flatten(2) for part in differentiate(objective, copies)], dim=-1)


def horizon_gradients(
    setting: Setting, start: Tensor, noise: RolloutNoise, horizons: Sequence[int]
) -> dict[int, Gradients]:
    """The gradients that `PARTS` names, for every H.

    Args:
        setting: what is compared.
        start: s_0, [seeds, N, n].
        noise: for L transitions, shared by all gradients; shorter ones use its beginning.
        horizons: each at most L.

    Raises:
        ValueError: a horizon is out of range.
    """
    length = len(noise.action)
    if not horizons or min(horizons) < 0:
        raise ValueError(f"horizons must be at least 0, got {tuple(horizons)}")
    if max(horizons) > length:
        raise ValueError(
            f"reference_steps must be at least the longest horizon, {max(horizons)}, got {length}"
        )
    reference = tail_gradients(setting, start, noise, length)
    gradients = {}
    for horizon in horizons:
        short = shortened(noise, horizon)
        gradients[horizon] = {
            "learned": actor_gradients(setting, setting.learned, start, short),
            "true": actor_gradients(setting, setting.true, start, short),
            "tail": tail_gradients(setting, start, noise, horizon),
            "reference": reference,
        }
    return gradients


def measure(estimate: Tensor, target: Tensor, streams: Streams) -> Quality:
    """Compare the means of per-sample gradients, [seeds, N, parameters] each; see `Quality`.

    Args:
        estimate: its mean is g.
        target: its mean is g*.
        streams: redraws the samples for the standard error.
    """
    x, y = estimate.double(), target.double()
    seeds, samples = x.shape[:2]
    drawn = streams.integers(samples, RESAMPLES, samples)
    redrawn = torch.zeros(seeds, RESAMPLES, samples, dtype=x.dtype)
    redrawn.scatter_add_(-1, drawn, torch.ones_like(redrawn))
    # Inner products of any weighted means follow from those of the samples.
    xy, xx, yy = x @ y.mT, x @ x.mT, y @ y.mT
    error, size = (x - y).mean(dim=1), y.mean(dim=1).norm(dim=-1)
    sizes = _square(redrawn, xx).sqrt() * _square(redrawn, yy).sqrt()
    return Quality(
        l1_error=error.abs().sum(dim=-1),
        l2_relative=error.norm(dim=-1) / size,
        cosine=torch.cosine_similarity(x.mean(dim=1), y.mean(dim=1), dim=-1),
        cosine_error=(_square(redrawn, xy) / sizes).std(dim=-1),
        cosine_halves=_cosine_halves(y),
        norm_ratio=x.mean(dim=1).norm(dim=-1) / size,
        sample_cosine=torch.cosine_similarity(x, y, dim=-1).median(dim=-1).values,
        sample_norm_ratio=(x.norm(dim=-1) / y.norm(dim=-1)).median(dim=-1).values,
        exploding=exploding_share(x),
        exploding_target=exploding_share(y),
    )


def _square(weights: Tensor, products: Tensor) -> Tensor:
    """`w' P w` for every row of the weights, [seeds, R, N] -> [seeds, R]."""
    return ((weights @ products) * weights).sum(dim=-1)


def _cosine_halves(gradients: Tensor) -> Tensor:
    half = gradients.shape[1] // 2
    first, second = gradients[:, :half].mean(dim=1), gradients[:, half:].mean(dim=1)
    return torch.cosine_similarity(first, second, dim=-1)


def exploding_share(gradients: Tensor) -> Tensor:
    """Share of samples whose gradient is longer than `OUTLIER` times the median one, [seeds]."""
    norms = gradients.norm(dim=-1)
    median = norms.median(dim=-1, keepdim=True).values
    outliers: Tensor = norms > OUTLIER * median
    return outliers.to(norms.dtype).mean(dim=-1)
