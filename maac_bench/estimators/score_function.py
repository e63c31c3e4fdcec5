"""Score-function (likelihood-ratio, REINFORCE) policy gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

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
from maac_bench.rollout import rollout
from maac_bench.streams import Streams
from maac_bench.types import Gradient, Policy, Problem


class _Scored(NamedTuple):
    """Actions of one time: states [..., n], raw actions [..., m], weight of their scores [...]."""

    state: Tensor
    raw: Tensor
    weight: Tensor


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

        def surrogate(candidate: Policy) -> Tensor:
            terms = []
            for state, raw, weight in scored:
                log_prob = candidate.log_prob(state, raw)
                terminal_axis = log_prob.dim() > weight.dim()
                terms.append((log_prob.sum(dim=-1) if terminal_axis else log_prob) * weight)
            return torch.stack(terms).sum(dim=0)

        return differentiate(surrogate, policy)

    def _scored_actions(
        self, problem: Problem, policy: Policy, start: Tensor, noise: EstimatorNoise
    ) -> list[_Scored]:
        """Every action with the weight of its score, first action first."""
        trajectory = rollout(problem, policy, start, noise.rollout)
        discounts, to_go = trajectory.discounts, torch.zeros_like(start[..., 0])
        scored, first_log_prob = [], None
        if self.bootstrap:
            draws = noise.rollout.terminal
            state = trajectory.states[-1].unsqueeze(-2).expand(*draws.shape[:-1], start.shape[-1])
            last = policy.sample(state, draws)
            to_go = discounts[-1] * problem.critic(state, last.value).mean(dim=-1).amin(dim=0)
            weight = to_go - self._baseline(problem, policy, trajectory.states[-1], discounts[-1])
            scored.append(_Scored(state, last.raw, weight))
            first_log_prob = last.log_prob.mean(dim=-1)
        for t in reversed(range(len(trajectory.rewards))):
            to_go = to_go + discounts[t] * trajectory.rewards[t]
            weight = to_go - self._baseline(problem, policy, trajectory.states[t], discounts[t])
            scored.append(_Scored(trajectory.states[t], trajectory.actions[t].raw, weight))
            first_log_prob = trajectory.actions[t].log_prob
        scored.reverse()
        if self.settings.temperature > 0 and first_log_prob is not None:
            bonus = -self.settings.temperature * first_log_prob
            scored[0] = scored[0]._replace(weight=scored[0].weight + bonus)
        return scored

    def _baseline(
        self, problem: Problem, policy: Policy, state: Tensor, discount: Tensor
    ) -> Tensor:
        """`gamma^t b(s_t)`, or zero."""
        if not self.baseline:
            return torch.zeros_like(discount)
        return discount * problem.critic(state, policy.mean_action(state)).mean(dim=0)
