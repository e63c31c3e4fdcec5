"""Score-function (likelihood-ratio, REINFORCE) policy gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from maac_bench.estimators.base import EstimatorNoise, Settings, differentiate, draw_noise
from maac_bench.rollout import rollout
from maac_bench.streams import Streams
from maac_bench.types import Gradient, Policy, Problem


@dataclass(frozen=True)
class ScoreFunction:
    """`sum_t grad log pi(a_t | s_t) [sum_{k>=t} gamma^k r_k (+ critic) - gamma^t b(s_t)]`.

    Reward-to-go (Williams 1992; Sutton et al. 1999). With `bootstrap`, the return is closed after
    H steps by `gamma^H Q(s_H, a_H)` and the score of a_H is included, so that the expectation is
    exactly that of the pathwise H-step estimator; without it the return is cut after H rewards.
    With `baseline`, b(s) is the critic at the policy's mean action: any function of the state
    leaves the expectation alone.
    """

    settings: Settings
    bootstrap: bool = False
    baseline: bool = False
    uses_critic: ClassVar[bool] = True

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
            states, raws, weights = self._weighted_actions(problem, policy, start, noise)

        def surrogate(candidate: Policy) -> Tensor:
            terms = [
                candidate.log_prob(state, raw) * weight
                for state, raw, weight in zip(states, raws, weights, strict=True)
            ]
            return torch.stack(terms).sum(dim=0) if terms else torch.zeros_like(start[..., 0])

        return differentiate(surrogate, policy)

    def _weighted_actions(
        self, problem: Problem, policy: Policy, start: Tensor, noise: EstimatorNoise
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """States, raw actions and the weight of each one's score, time by time."""
        trajectory = rollout(problem, policy, start, noise.rollout)
        discounts = trajectory.discounts
        states, raws = list(trajectory.states), [action.raw for action in trajectory.actions]
        to_go = torch.zeros_like(start[..., 0])
        weights: list[Tensor] = []
        if self.bootstrap:
            last = policy.sample(states[-1], noise.rollout.terminal[..., 0, :])
            raws.append(last.raw)
            to_go = discounts[-1] * problem.critic(states[-1], last.value).mean(dim=0)
            weights.append(to_go)
        for reward, discount in zip(trajectory.rewards[::-1], discounts[-2::-1], strict=True):
            to_go = to_go + discount * reward
            weights.append(to_go)
        weights.reverse()
        states = states[: len(raws)]
        if self.baseline:
            weights = [
                weight - discount * problem.critic(state, policy.mean_action(state)).mean(dim=0)
                for weight, discount, state in zip(weights, discounts, states, strict=False)
            ]
        return states, raws, weights
