"""The actor's gradient with a learned model and critic, against the true dynamics.

The counterpart of `analytic.gradient_error` where there is no closed form: the dynamics are known,
so the reference is sampled. Its exact critic is a rollout that goes on.

Five parts, each an estimate and the target it is compared with, at the same start states:

- model: learned model against true model, both closed by the learned critic after H steps. At
  H = 0, where neither is asked, it is what their estimates differ in by noise.
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

What goes through the true dynamics is estimated in one of two ways with the same expectation,
where the dynamics are smooth and no state ends the episode:

- pathwise: through the dynamics' derivative, with the learned gradient's noise. Contacts make it
  heavy-tailed at long horizons.
- score_function: from returns alone. The policy's own noise smooths contacts; it takes many
  replicates of every start state. Where states can end the episode it has what moving their
  border does to the return, and the learned gradient has not, however good the model: `model`,
  `critic` and `total` then include that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from maac_bench.estimators.base import differentiate, per_sample_policy
from maac_bench.objectives.pathwise import Entropy, actor_objective, h_step_return, path_entropy
from maac_bench.objectives.score_function import Scored, score_actions, surrogate, value_baseline
from maac_bench.rollout import draw_terminal, rollout, unroll
from maac_bench.types import Action, Policy, Problem, RolloutNoise, Trajectory

PARTS = {
    "model": ("learned", "true"),
    "critic": ("true", "tail"),
    "truncation": ("tail", "reference"),
    "critic_and_truncation": ("true", "reference"),
    "total": ("learned", "reference"),
}
"""Part: which gradient is compared with which."""

Through: TypeAlias = Literal["pathwise", "score_function"]
"""How a gradient goes through the true dynamics."""

Gradients: TypeAlias = dict[str, Tensor]
"""Gradients per start state by name, [seeds, N, parameters] each."""

Objective: TypeAlias = Callable[[Policy], Tensor]
"""Values of a policy with stack (seeds, N), [seeds, N, ...]."""


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

    def bonus(self, log_prob: Tensor) -> Tensor | float:
        """`-alpha log pi`, [seeds, ...]; 0 without temperature, also for a policy without noise."""
        if not bool(self.temperature.any()):
            return 0.0
        return -self.temperature.reshape(-1, *[1] * (log_prob.dim() - 1)) * log_prob


def horizon_gradients(
    setting: Setting,
    start: Tensor,
    noise: RolloutNoise,
    horizons: Sequence[int],
    through: Through = "pathwise",
) -> dict[int, Gradients]:
    """The gradients that `PARTS` names, for every H.

    Args:
        setting: what is compared.
        start: s_0, [seeds, N, ..., n]; axes behind N are replicates, and are averaged.
        noise: for L transitions, shared by all gradients; shorter ones use its beginning.
        horizons: each at most L.
        through: how the true dynamics are differentiated; score functions need a replicate axis.

    Raises:
        ValueError: a horizon is out of range, or there are no replicates to compare with.
    """
    length = len(noise.action)
    if not horizons or min(horizons) < 0:
        raise ValueError(f"horizons must be one or more, each at least 0, got {tuple(horizons)}")
    if max(horizons) > length:
        raise ValueError(
            f"reference_steps must be at least the longest horizon, {max(horizons)}, got {length}"
        )
    if through == "score_function":
        true, tail = score_gradients(setting, start, noise, horizons)
    else:
        true = partial(_closed, setting, setting.true, start, noise)
        tail = partial(tail_gradients, setting, start, noise)
    reference = tail(length)
    return {
        horizon: {
            "learned": _closed(setting, setting.learned, start, noise, horizon),
            "true": true(horizon),
            "tail": tail(horizon),
            "reference": reference,
        }
        for horizon in horizons
    }


def shortened(noise: RolloutNoise, horizon: int) -> RolloutNoise:
    """The noise of the first `horizon` transitions, with the same terminal actions."""
    return RolloutNoise(noise.action[:horizon], noise.model[:horizon], noise.terminal)


def actor_gradients(
    setting: Setting, problem: Problem, start: Tensor, noise: RolloutNoise
) -> Tensor:
    """Gradient of the actor's objective at every start state, [seeds, N, parameters].

    The H-step objective of an actor update (Clavera et al. 2020, Sec. 4.1), H as in `noise`.
    """
    temperature = setting.temperature if bool(setting.temperature.any()) else 0.0

    def objective(candidate: Policy) -> Tensor:
        return actor_objective(problem, candidate, start, noise, temperature, setting.entropy)

    return _flat_gradients(objective, setting.policy, start)


def _closed(
    setting: Setting, problem: Problem, start: Tensor, noise: RolloutNoise, horizon: int
) -> Tensor:
    return actor_gradients(setting, problem, start, shortened(noise, horizon))


def reference_objective(
    setting: Setting, policy: Policy, start: Tensor, noise: RolloutNoise, horizon: int
) -> Tensor:
    """Soft return of the true rollout, differentiable in the policy up to time `horizon`.

    `sum_{t<L} gamma^t r_t + gamma^L Q(s_L, a_L) + alpha sum_{t<=L} gamma^t (-log pi_t)`; actions
    after `horizon` come from the setting's own policy. With `horizon` >= L it is `actor_objective`.

    Args:
        setting: the true problem and the temperature.
        policy: what is differentiated, stack (seeds, N).
        start: s_0, [seeds, N, ..., n].
        noise: for L transitions.
        horizon: last time at which `policy` acts.

    Returns:
        [seeds, N, ...].
    """
    length = len(noise.action)

    def acting(t: int) -> Policy:
        return policy if t <= horizon else setting.policy

    def act(t: int, state: Tensor) -> Action:
        return acting(t).sample(state, noise.action[t])

    trajectory = unroll(setting.true, act, start, noise.model)
    last = draw_terminal(setting.true, acting(length), trajectory.states[-1], noise.terminal)
    value = h_step_return(trajectory, last.value)
    return value + setting.bonus(-path_entropy(trajectory, last.action, "path"))


def tail_gradients(setting: Setting, start: Tensor, noise: RolloutNoise, horizon: int) -> Tensor:
    """Gradient of `reference_objective` at every start state, [seeds, N, parameters].

    With `horizon` = L it is the reference, with a smaller one the tail.
    """

    def objective(candidate: Policy) -> Tensor:
        return reference_objective(setting, candidate, start, noise, horizon)

    return _flat_gradients(objective, setting.policy, start)


def score_gradients(
    setting: Setting, start: Tensor, noise: RolloutNoise, horizons: Sequence[int]
) -> tuple[Callable[[int], Tensor], Callable[[int], Tensor]]:
    """The gradients `true` and `tail` as functions of H, from returns of the same rollouts alone.

    Their expectations are those of `actor_gradients` on the true problem and of `tail_gradients`,
    where the dynamics are smooth and no state ends the episode.

    Args:
        setting: the true problem, policy and temperature.
        start: s_0, [seeds, N, R, n]: R replicates of N start states.
        noise: for L transitions.
        horizons: what `tail` will be asked for besides L.

    Raises:
        ValueError: fewer than two replicates.
    """
    if start.dim() != 4 or start.shape[2] < 2:
        raise ValueError("score functions need at least 2 replicates of every start state")
    with torch.no_grad():
        rollouts = rollout(setting.true, setting.policy, start, noise)
        full = _scored(setting, rollouts, noise.terminal, "path")
    # A time's term does not depend on the horizon: tails are sums of the same ones.
    tails, sums = {}, torch.zeros(())
    for t, one in enumerate(full):
        sums = sums + _score_gradient(setting, start, [one])
        if t in horizons or t == len(full) - 1:
            tails[t] = sums

    def true(horizon: int) -> Tensor:
        with torch.no_grad():
            scored = _scored(setting, _cut(rollouts, horizon), noise.terminal, setting.entropy)
        return _score_gradient(setting, start, scored)

    return true, tails.__getitem__


def _cut(rollouts: Trajectory, horizon: int) -> Trajectory:
    """The first `horizon` transitions."""
    return Trajectory(
        rollouts.states[: horizon + 1],
        rollouts.actions[:horizon],
        rollouts.rewards[:horizon],
        rollouts.discounts[: horizon + 1],
        rollouts.reached[:horizon],
        rollouts.ended[:horizon],
    )


def _scored(
    setting: Setting, rollouts: Trajectory, terminal: Tensor, entropy: Entropy
) -> list[Scored]:
    """Every action with the soft return that followed it, closed by the critic at the end."""
    last = draw_terminal(setting.true, setting.policy, rollouts.states[-1], terminal)

    def bonus(t: int, log_prob: Tensor) -> Tensor | float:
        return setting.bonus(log_prob) if entropy == "path" or t == 0 else 0.0

    def advantage(t: int, to_go: Tensor) -> Tensor:
        """Without what state and start let expect: neither depends on the action.

        The critic at the mean action, and then the mean over the other replicates of the start.
        What is done after an end has no part in it.
        """
        value = value_baseline(setting.true, setting.policy, rollouts.states[t])
        rest, replicates = to_go - rollouts.discounts[t] * value, to_go.shape[-1]
        others = (rest - rest.mean(dim=-1, keepdim=True)) * (replicates / (replicates - 1))
        return torch.where(rollouts.discounts[t] > 0, others, 0.0)

    return score_actions(rollouts, last, bonus, advantage)


def _score_gradient(setting: Setting, start: Tensor, scored: Sequence[Scored]) -> Tensor:
    return _flat_gradients(lambda policy: surrogate(policy, scored), setting.policy, start)


def _flat_gradients(objective: Objective, policy: Policy, start: Tensor) -> Tensor:
    copies = per_sample_policy(policy, start.shape[1])
    return torch.cat([part.flatten(2) for part in differentiate(objective, copies)], dim=-1)
