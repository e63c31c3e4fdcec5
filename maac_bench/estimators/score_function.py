"""Score-function (likelihood-ratio, REINFORCE) policy gradients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from maac_bench.estimators.base import (
    EstimatorNoise,
    Settings,
    differentiate,
    draw_noise,
    require_default,
    require_rewards,
)
from maac_bench.objectives.score_function import Scored, returns_to_go, surrogate
from maac_bench.rollout import rollout
from maac_bench.streams import Streams
from maac_bench.types import Gradient, Policy, Problem, Trajectory


@dataclass(frozen=True)
class ScoreFunction:
    """`sum_t grad log pi(a_t | s_t) [sum_{k>=t} gamma^k r_k (+ critic) - gamma^t b(s_t)]`.

    Reward-to-go (Williams 1992; Sutton et al. 1999). With `bootstrap`, the return is closed after
    H steps by `gamma^H min_j mean_k Q_j(s_H, a_H^k)` and the scores of all K terminal actions are
    included, so that the expectation is exactly that of the pathwise H-step estimator; without
    it the return is cut after H rewards. With `baseline`, b(s) is the mean critic at the policy's
    mean action: any function of the state leaves the expectation alone. The entropy bonus is a
    reward of the first action.
    """

    settings: Settings
    bootstrap: bool = False
    baseline: bool = False

    def __post_init__(self) -> None:
        """Refuse dials without effect."""
        require_default(self.settings, "the score-function estimator", "smoothing")
        if not self.bootstrap:
            require_rewards(self.settings, "the score-function estimator")
            require_default(self.settings, "the score-function estimator", "terminal_samples")

    @property
    def bootstraps(self) -> bool:
        """Whether the critic closes the return."""
        return self.bootstrap

    def draw(
        self, streams: Streams, problem: Problem, policy: Policy, start: Tensor
    ) -> EstimatorNoise:
        """Rollout noise."""
        return draw_noise(self.settings, streams, problem, policy, start)

    def gradient(
        self, problem: Problem, policy: Policy, start: Tensor, noise: EstimatorNoise
    ) -> Gradient:
        """See `Estimator.gradient`."""
        with torch.no_grad():
            scored = self._scored_actions(problem, policy, start, noise)
        return differentiate(lambda candidate: surrogate(candidate, scored), policy)

    def _scored_actions(
        self, problem: Problem, policy: Policy, start: Tensor, noise: EstimatorNoise
    ) -> list[Scored]:
        """Every action with the weight of its score, first action first."""
        trajectory = rollout(problem, policy, start, noise.rollout)
        drawn = [
            (state, action.raw, action.log_prob)
            for state, action in zip(trajectory.states[:-1], trajectory.actions, strict=True)
        ]
        closing = torch.zeros_like(start[..., 0])
        if self.bootstrap:
            draws = noise.rollout.terminal
            state = trajectory.states[-1].unsqueeze(-2).expand(*draws.shape[:-1], start.shape[-1])
            last = policy.sample(state, draws)
            closing = problem.critic(state, last.value).mean(dim=-1).amin(dim=0)
            drawn.append((state, last.raw, last.log_prob.mean(dim=-1)))
        to_go = returns_to_go(trajectory, [0.0] * len(trajectory.rewards), closing)
        if self.settings.temperature > 0:
            to_go[0] = to_go[0] - self.settings.temperature * drawn[0][2]
        return [
            Scored(state, raw, to_go[t] - self._baseline(problem, policy, trajectory, t))
            for t, (state, raw, _) in enumerate(drawn)
        ]

    def _baseline(
        self, problem: Problem, policy: Policy, trajectory: Trajectory, t: int
    ) -> Tensor | float:
        """`gamma^t b(s_t)`, or zero."""
        if not self.baseline:
            return 0.0
        state = trajectory.states[t]
        value = problem.critic(state, policy.mean_action(state)).mean(dim=0)
        return trajectory.discounts[t] * value
