"""Score-function (likelihood-ratio, REINFORCE) policy gradients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from maac_bench.estimators.base import (
    CriticRole,
    EstimatorNoise,
    Settings,
    differentiate,
    draw_noise,
    require_default,
    require_rewards,
)
from maac_bench.objectives.score_function import Scored, score_actions, surrogate, value_baseline
from maac_bench.rollout import draw_terminal, rollout
from maac_bench.streams import Streams
from maac_bench.types import Gradient, Policy, Problem


@dataclass(frozen=True)
class ScoreFunction:
    """`sum_t grad log pi(a_t | s_t) [sum_{k>=t} gamma^k r_k (+ critic) - gamma^t b(s_t)]`.

    Reward-to-go (Williams 1992; Sutton et al. 1999). With `bootstrap`, the return is closed after
    H steps by `gamma^H min_j mean_k Q_j(s_H, a_H^k)` and the scores of all K terminal actions are
    included, so that the expectation is exactly that of the pathwise H-step estimator, where the
    dynamics are smooth and no state ends the episode: where it ends is a step, which has no
    derivative to follow and moves the expectation all the same. Without it the return is cut after
    H rewards. With `baseline`, b(s) is the smallest critic at the
    policy's mean action: any function of the state leaves the expectation alone. The entropy bonus
    is a reward of the first action.
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
    def critic_role(self) -> CriticRole:
        """Whether the critic closes the return, or is its baseline alone."""
        if self.bootstrap:
            return "closes"
        return "baseline" if self.baseline else "none"

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
        trajectory, last = rollout(problem, policy, start, noise.rollout), None
        if self.bootstrap:
            draws = noise.rollout.terminal
            last = draw_terminal(problem, policy, trajectory.states[-1], draws)
        temperature = self.settings.temperature

        def bonus(t: int, log_prob: Tensor) -> Tensor | float:
            return -temperature * log_prob if t == 0 and temperature > 0 else 0.0

        def advantage(t: int, to_go: Tensor) -> Tensor:
            if not self.baseline:
                return to_go
            value = value_baseline(problem, policy, trajectory.states[t])
            return to_go - trajectory.discounts[t] * value

        return score_actions(trajectory, last, bonus, advantage)
