"""The model-augmented actor objective (Clavera et al. 2020, Sec. 4.1 and 4.3)."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from maac_bench.objectives.temperature import is_zero
from maac_bench.rollout import draw_terminal, rollout
from maac_bench.types import Action, Policy, Problem, RolloutNoise, Trajectory

Entropy: TypeAlias = Literal["first", "path"]


def h_step_return(trajectory: Trajectory, terminal_value: Tensor) -> Tensor:
    """`sum_{t<H} discount_t r_t + discount_H V(s_H)`.

    With `V = min_j mean_k Q_j(s_H, a_H^k)` (`rollout.Terminal.value`) it is the minimum over the
    critics j of whole sums, too: rewards do not depend on j.

    Args:
        trajectory: an H-step rollout with batch [...].
        terminal_value: V at its last state, [...].

    Returns:
        [...].
    """
    terms = [d * r for d, r in zip(trajectory.discounts[:-1], trajectory.rewards, strict=True)]
    # Python's sum keeps H = 0 out of the special cases; the critic term is always there.
    return sum(terms, trajectory.discounts[-1] * terminal_value)


def path_entropy(trajectory: Trajectory, terminal: Action, scope: Entropy) -> Tensor:
    """Sampled entropy bonus `-log pi`, of the first action or discounted along the path.

    With H = 0 the first action is the terminal one, so both scopes are the SAC actor's.

    Args:
        trajectory: an H-step rollout with batch [...].
        terminal: the K actions at s_H, log_prob [..., K].
        scope: "first" (the authors' code, and SAC) or "path".

    Returns:
        [...].
    """
    log_probs = [action.log_prob for action in trajectory.actions]
    log_probs.append(terminal.log_prob.mean(dim=-1))
    if scope == "first":
        return -log_probs[0]
    return -torch.stack(
        [d * log_prob for d, log_prob in zip(trajectory.discounts, log_probs, strict=True)]
    ).sum(dim=0)


class ActorTerms(NamedTuple):
    """What an actor update needs of one H-step rollout.

    value: the H-step return, [*stack, ...]. log_prob: of the first action, likewise.
    entropy: the entropy bonus before the temperature, likewise.
    """

    value: Tensor
    log_prob: Tensor
    entropy: Tensor

    def objective(self, temperature: Tensor | float) -> Tensor:
        """`value + alpha * entropy`, [*stack, ...]; see `actor_objective`."""
        if is_zero(temperature):  # a deterministic policy's entropy is minus infinity
            return self.value
        if isinstance(temperature, Tensor):
            temperature = _along(temperature, self.value)
        return self.value + temperature * self.entropy


def actor_terms(
    problem: Problem,
    policy: Policy,
    start: Tensor,
    noise: RolloutNoise,
    entropy: Entropy = "first",
) -> ActorTerms:
    """The parts of `actor_objective`, with the same arguments."""
    trajectory = rollout(problem, policy, start, noise)
    last = draw_terminal(problem, policy, trajectory.states[-1], noise.terminal)
    terminal, value = last.action, h_step_return(trajectory, last.value)
    if trajectory.actions:
        log_prob = trajectory.actions[0].log_prob
    else:
        log_prob = terminal.log_prob.mean(dim=-1)
    return ActorTerms(value, log_prob, path_entropy(trajectory, terminal, entropy))


def actor_objective(
    problem: Problem,
    policy: Policy,
    start: Tensor,
    noise: RolloutNoise,
    temperature: Tensor | float = 0.0,
    entropy: Entropy = "first",
) -> Tensor:
    """Per-sample value of what the actor maximises; its gradient is the pathwise estimator.

    `min_j [ sum_{t<H} gamma^t r(s_t, a_t) + gamma^H mean_k Q_j(s_H, a_H^k) ] + alpha * entropy`,
    with H the number of noises in `noise` and K its terminal actions. Deterministic: all randomness
    is in the arguments.

    Args:
        problem: model, task functions, critics and discount; held fixed by the caller.
        policy: the policy that is differentiated.
        start: s_0, [*stack, ..., n].
        noise: for H transitions and K terminal actions.
        temperature: alpha: a number, or one for each element of the leading axes, such as [seeds].
        entropy: which actions the bonus counts.

    Returns:
        [*stack, ...].

    Raises:
        ValueError: temperatures that do not fit the leading axes.
    """
    return actor_terms(problem, policy, start, noise, entropy).objective(temperature)


def _along(leading: Tensor, value: Tensor) -> Tensor:
    """With axes of size 1 behind, as many as `value` has."""
    fits = zip(leading.shape, value.shape, strict=False)
    if leading.dim() > value.dim() or any(own not in (1, other) for own, other in fits):
        raise ValueError(
            f"temperature of shape {list(leading.shape)} does not fit the leading axes of "
            f"{list(value.shape)}"
        )
    return leading.reshape(*leading.shape, *[1] * (value.dim() - leading.dim()))
