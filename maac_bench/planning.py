"""Planning at test time: the cross-entropy method started from the policy (paper, Sec. 5.4).

The policy proposes the first population by acting in the learned model, the model rolls it out and
the critic closes it. A Gaussian is refitted to the elites; its mean, shifted by a step, is a
candidate of the next decision.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from maac_bench.agent import Agent
from maac_bench.checks import require_whole
from maac_bench.objectives.pathwise import h_step_return
from maac_bench.rollout import Act, draw_model_noise, unroll
from maac_bench.streams import Streams
from maac_bench.types import Action, ModelNoise
from maac_bench.world import World


@dataclass(frozen=True)
class PlannerSettings:
    """Size of the search."""

    horizon: int = 10
    """model steps before the critic"""
    population: int = 200
    """action sequences per iteration"""
    elites: int = 20
    """sequences the next distribution is fitted to"""
    iterations: int = 3
    """evaluations of a population, the policy's own included"""

    def __post_init__(self) -> None:
        """Refuse a search that cannot be done."""
        require_whole(self)
        for name in ("horizon", "iterations"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 2 <= self.elites <= self.population:
            raise ValueError(
                f"elites must lie between 2 and the population {self.population}, got {self.elites}"
            )


class Candidates(NamedTuple):
    """Action sequences [seeds, P, H, m] and what they promise, [seeds, P]."""

    actions: Tensor
    returns: Tensor

    def best(self, count: int) -> Candidates:
        """The `count` most promising of every seed; one whose rollout diverged is the last.

        Those of a seed that has fewer which did not diverge are NaN: the others go on.

        Raises:
            FloatingPointError: that is so of all seeds.
        """
        finite = self.returns.isfinite()
        enough = finite.sum(dim=1) >= count
        if not bool(enough.any()):
            raise FloatingPointError(
                f"planning: of {finite.shape[1]} sequences only {finite.sum(dim=1).tolist()} have "
                f"a finite return (per seed), and {count} are needed: the learned model diverges, "
                "or the state is not finite"
            )
        returns, index = self.returns.where(finite, -math.inf).topk(count, dim=1)
        index = index[..., None, None].expand(-1, -1, *self.actions.shape[2:])
        chosen = self.actions.gather(1, index)
        return Candidates(chosen.where(enough[:, None, None, None], math.nan), returns)

    def merge(self, other: Candidates) -> Candidates:
        """Both together."""
        return Candidates(*(torch.cat(pair, dim=1) for pair in zip(self, other, strict=True)))


class Planner:
    """Acts by planning; stands where a policy's mean action is asked for.

    Args:
        agent: policy and critics.
        world: the learned model; its mean predictions are used, a random member per step.
        settings: size of the search.
        streams: the search's noise, one stream per seed.

    Raises:
        ValueError: there is no model.
    """

    def __init__(
        self, agent: Agent, world: World, settings: PlannerSettings, streams: Streams
    ) -> None:
        if world.model is None:
            reason = "has fitted none yet" if agent.config.uses_model else "learns none"
            raise ValueError(f"planning needs a model, and this run {reason}")
        self._agent, self._settings, self._streams = agent, settings, streams
        self._problem = world.problem(world.model._replace(noisy=False), agent.critics)
        self._plan: Tensor | None = None

    def mean_action(self, state: Tensor) -> Tensor:
        """The first action of the plan for state [seeds, 1, n]; remembers the rest of it."""
        settings = self._settings
        with torch.no_grad():
            best = self._propose(state).best(settings.elites)
            for _ in range(settings.iterations - 1):
                best = self._refine(state, best).merge(best).best(settings.elites)
            self._plan = best.actions.mean(dim=1)
            return self._plan[:, :1]

    def _propose(self, state: Tensor) -> Candidates:
        """What the policy would do, and the last plan if there is one."""
        settings, m = self._settings, self._agent.sizes[1]
        noise = self._streams.normal(settings.horizon, settings.population, m)

        def act(t: int, state: Tensor) -> Action:
            return self._agent.policy.sample(state, noise[:, t])

        proposed = self._evaluate(state, act, settings.population)
        if self._plan is None:
            return proposed
        shifted = torch.cat([self._plan[:, 1:], self._plan[:, -1:]], dim=1)
        return proposed.merge(self._follow(state, shifted.unsqueeze(1)))

    def _refine(self, state: Tensor, elites: Candidates) -> Candidates:
        """A new population around the elites."""
        count, (mean, std) = self._settings.population, _moments(elites.actions)
        noise = self._streams.normal(count, *elites.actions.shape[2:])
        return self._follow(state, (mean + std * noise).clamp(-1.0, 1.0))

    def _follow(self, state: Tensor, actions: Tensor) -> Candidates:
        def act(t: int, state: Tensor) -> Action:
            value = actions[:, :, t]
            return Action(value, value, torch.zeros_like(value[..., 0]))

        return self._evaluate(state, act, actions.shape[1])

    def _evaluate(self, state: Tensor, act: Act, count: int) -> Candidates:
        """Roll `count` sequences out from state [seeds, 1, n]."""
        start = state.expand(-1, count, -1)
        trajectory = unroll(self._problem, act, start, self._model_noise(count))
        last = trajectory.states[-1]
        closing = self._problem.critic(last, self._agent.policy.mean_action(last))
        actions = torch.stack([action.value for action in trajectory.actions], dim=2)
        return Candidates(actions, h_step_return(trajectory, closing.amin(dim=0)))

    def _model_noise(self, count: int) -> list[ModelNoise]:
        n, dynamics = self._agent.sizes[0], self._problem.dynamics
        return [
            draw_model_noise(self._streams, dynamics, (count,), n)
            for _ in range(self._settings.horizon)
        ]


def _moments(actions: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over the elites, [seeds, 1, H, m] each."""
    return actions.mean(dim=1, keepdim=True), actions.std(dim=1, keepdim=True)
