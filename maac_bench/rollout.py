"""The one differentiable loop of the repository."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from maac_bench.streams import Streams
from maac_bench.types import (
    Action,
    Dynamics,
    ModelNoise,
    Policy,
    Problem,
    RolloutNoise,
    Trajectory,
    Transition,
)

Act: TypeAlias = Callable[[int, Tensor], Action]
"""The action at time t in state [*stack, ..., n]."""


def unroll(problem: Problem, act: Act, start: Tensor, noise: Sequence[ModelNoise]) -> Trajectory:
    """Step the dynamics once for every noise.

    Differentiable in whatever `act`, the start state and the dynamics carry. The discount is
    cumulative: once a rollout terminates, every later reward counts 0. It goes on from its start
    then: rewards, dynamics and critics need not be finite beyond an end, and 0 times what is not
    would be NaN.

    Args:
        problem: dynamics, reward, termination and discount.
        act: chooses the actions.
        start: s_0, [*stack, ..., n].
        noise: pre-drawn noise of H transitions.

    Raises:
        ValueError: rewards or terminations that are not a number per transition.
    """
    states, discounts = [start], [torch.ones_like(start[..., 0])]
    actions: list[Action] = []
    rewards: list[Tensor] = []
    reached: list[Tensor] = []
    ends: list[Tensor] = []
    for t, model_noise in enumerate(noise):
        state = states[-1]
        action = act(t, state)
        next_state = problem.dynamics.step(state, action.value, model_noise)
        ended = problem.terminated(state, action.value, next_state)
        reward = problem.reward(state, action.value, next_state)
        batch = torch.broadcast_shapes(action.value.shape[:-1], next_state.shape[:-1])
        ended = _per_transition("terminations", ended, batch)
        actions.append(action)
        rewards.append(_per_transition("rewards", reward, batch))
        reached.append(next_state)
        ends.append(ended)
        states.append(torch.where(ended.unsqueeze(-1) >= 1.0, start, next_state))
        discounts.append(discounts[-1] * problem.discount * (1.0 - ended))
    return Trajectory(
        tuple(states),
        tuple(actions),
        tuple(rewards),
        tuple(discounts),
        tuple(reached),
        tuple(ends),
    )


def rollout(problem: Problem, policy: Policy, start: Tensor, noise: RolloutNoise) -> Trajectory:
    """Follow the policy through the dynamics for as many transitions as `noise` has.

    Differentiable in the policy's parameters; otherwise see `unroll`.

    Args:
        problem: dynamics, reward, termination and discount.
        policy: the acting policy.
        start: s_0, [*stack, ..., n].
        noise: pre-drawn noise of H transitions.

    Raises:
        ValueError: the noises of actions and model differ in number, or are of another batch than
            the start states.
    """
    if len(noise.action) != len(noise.model):
        raise ValueError(
            f"{len(noise.action)} action noises do not fit {len(noise.model)} model noises"
        )

    batch: tuple[int, ...] = start.shape[:-1]
    for drawn in (*noise.action, *(model.normal for model in noise.model)):
        batch = _broadcast(batch, drawn.shape[:-1])

    def act(t: int, state: Tensor) -> Action:
        return policy.sample(state, noise.action[t])

    return unroll(problem, act, start, noise.model)


def _per_transition(what: str, values: Tensor, batch: torch.Size) -> Tensor:
    """One number per transition, [*batch]; ValueError where `values` are something else.

    With one more axis, the discount of each would meet the rewards of all.
    """
    if not isinstance(values, Tensor) or not values.is_floating_point():
        kind = values.dtype if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(f"{what} must be floating-point tensors, got {kind}")
    if values.shape == batch:
        return values
    if values.dim() > len(batch) or any(
        size not in (1, axis) for size, axis in zip(values.shape[::-1], batch[::-1], strict=False)
    ):
        raise ValueError(
            f"{what} must be of the batch's shape {list(batch)}, got {list(values.shape)}"
        )
    return values.expand(batch)


def _broadcast(states: Sequence[int], noises: Sequence[int]) -> tuple[int, ...]:
    """The axes that both have together; ValueError if there are none."""
    length = max(len(states), len(noises))
    padded = [(*[1] * (length - len(axes)), *axes) for axes in (states, noises)]
    if any(a != b and 1 not in (a, b) for a, b in zip(*padded, strict=True)):
        raise ValueError(
            f"noise of batch {list(noises)} does not fit start states of batch {list(states)}"
        )
    return tuple(b if a == 1 else a for a, b in zip(*padded, strict=True))


class Terminal(NamedTuple):
    """The K actions drawn at the end of a rollout, and what the critics make of them.

    state [..., K, n]. action: value and raw [..., K, m], log_prob [..., K].
    values: of every critic, [critics, ..., K].
    """

    state: Tensor
    action: Action
    values: Tensor

    @property
    def value(self) -> Tensor:
        """`min_j mean_k Q_j`, [...]."""
        return self.values.mean(dim=-1).amin(dim=0)


def draw_terminal(problem: Problem, policy: Policy, state: Tensor, noise: Tensor) -> Terminal:
    """Terminal actions at `state`, [..., n], for standard normal noise [..., K, m].

    Raises:
        ValueError: noise of another batch than the states, or critics without an axis in front.
    """
    batch = _broadcast(state.shape[:-1], noise.shape[:-2])
    once = state.unsqueeze(-2)
    # One state, K actions: the policy's net works on the state once.
    action = policy.sample(once, noise)
    each = once.expand(*batch, noise.shape[-2], state.shape[-1])
    values = problem.critic(each, action.value)
    if values.dim() != each.dim():
        raise ValueError(
            f"critics must give [critics, *batch], one more axis than a reward, for states "
            f"{list(each.shape)}; they gave {list(values.shape)}"
        )
    return Terminal(each, action, values)


def transitions(trajectory: Trajectory) -> Transition:
    """A rollout's steps as data, those after an end (from the start again) included.

    Rows are [*stack, H * batch, ...].

    The time axis is laid out behind the stack's: steps of one time stay together.
    """
    return Transition(
        state=torch.cat(trajectory.states[:-1], dim=-2),
        action=torch.cat([action.value for action in trajectory.actions], dim=-2),
        reward=torch.cat(trajectory.rewards, dim=-1),
        next_state=torch.cat(trajectory.reached, dim=-2),
        terminated=torch.cat(trajectory.ended, dim=-1),
    )


def draw_model_noise(
    streams: Streams, dynamics: Dynamics, batch: tuple[int, ...], state_size: int
) -> ModelNoise:
    """Noise of one dynamics step for a batch of shape [seeds, *batch]."""
    normal = streams.normal(*batch, state_size)
    if not dynamics.members:
        return ModelNoise(normal)
    size = int(torch.Size(batch).numel())
    padded = -(-size // dynamics.members) * dynamics.members
    slots = streams.permutations(padded)
    # The inverse permutation. Padding slots repeat the last sample; nothing reads what they give.
    order = torch.arange(padded, device=slots.device).clamp(max=size - 1).expand_as(slots)
    samples = torch.empty_like(slots).scatter_(-1, slots, order)
    return ModelNoise(normal, slots[..., :size], samples)


def draw_rollout_noise(
    streams: Streams,
    dynamics: Dynamics,
    horizon: int,
    batch: tuple[int, ...],
    state_size: int,
    action_size: int,
    terminal_samples: int = 1,
) -> RolloutNoise:
    """Noise of an H-step rollout for a batch of shape [seeds, *batch]."""
    action, model = [], []
    for _ in range(horizon):
        action.append(streams.normal(*batch, action_size))
        model.append(draw_model_noise(streams, dynamics, batch, state_size))
    terminal = streams.normal(*batch, terminal_samples, action_size)
    return RolloutNoise(tuple(action), tuple(model), terminal)
