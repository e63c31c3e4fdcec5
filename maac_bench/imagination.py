"""What the agent learns in besides the real data: the ensemble, a learned outcome, and D_model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from maac_bench.agent import Agent
from maac_bench.config import Config
from maac_bench.cuda_graph import CudaGraph
from maac_bench.dynamics import Ensemble
from maac_bench.ensemble_training import LikelihoodGradient, likelihood_gradient
from maac_bench.fusion import fuse
from maac_bench.model_fitting import (
    ModelReport,
    Pairs,
    dynamics_pairs,
    elite_members,
    new_ensemble,
    refit_model,
)
from maac_bench.outcome import LearnedOutcome, outcome_pairs
from maac_bench.replay import Replay, living
from maac_bench.rollout import draw_rollout_noise, rollout, transitions
from maac_bench.streams import StreamFactory, Streams
from maac_bench.tasks import TrainingTask
from maac_bench.types import Interval
from maac_bench.world import World


class Imagination:
    """The learned world of stacked seeds; model-free configurations leave it empty.

    `world` is what the agent is updated with, `model` every member of the ensemble, `fit` what its
    last fit measured (`outcome_fit` that of the outcome's), `data` D_model.

    Args:
        training: the task.
        config: the algorithm.
        seeds: of the stack.
        streams: makes the random streams of fits, for the same seeds.
    """

    def __init__(
        self,
        training: TrainingTask,
        config: Config,
        seeds: Sequence[int],
        streams: StreamFactory,
    ) -> None:
        task, device = training.task, streams("imagination").device
        self.config, self._seeds, self._streams, self._device = config, seeds, streams, device
        self._sizes = (task.state_size, task.action_size)
        self._learns_outcome = training.learns_outcome
        self.data = Replay(len(seeds), config.data.model_capacity, *self._sizes, device)
        none = torch.full((len(seeds),), torch.inf, device=device)
        self.world = World(
            None,
            task.reward,
            task.terminated,
            task.discount if config.discount is None else config.discount,
            Interval(none, -none) if config.critic.bounded else None,
        )
        self.model: Ensemble | None = None
        self.fit: ModelReport | None = None
        self.outcome: LearnedOutcome | None = None
        self.outcome_fit: ModelReport | None = None
        self._gradient: LikelihoodGradient = likelihood_gradient

    def compile(self) -> None:
        """Fuse what a fit does for every batch into one program."""
        fused = fuse(likelihood_gradient, self._device)
        self._gradient = CudaGraph(fused) if self._device.type == "cuda" else fused

    @property
    def fits(self) -> dict[str, ModelReport]:
        """What the last fits measured, by what was fitted."""
        both = {"model": self.fit, "outcome": self.outcome_fit}
        return {name: fit for name, fit in both.items() if fit is not None}

    def see(self, rewards: Tensor) -> None:
        """Real rewards [seeds, B]: what bounded critics are told of them."""
        if self.world.rewards is not None:
            low, high = self.world.rewards
            least, largest = rewards.aminmax(dim=1)
            seen = Interval(low.minimum(least), high.maximum(largest))
            self.world = self.world._replace(rewards=seen)

    def learn(self, real: Replay, now: int) -> None:
        """Fit the ensembles to D_env at environment step `now`, going on from the last fit."""
        data = real.all()
        self.set_model(*self._refit("model", now, self.model, dynamics_pairs(data)))
        if self._learns_outcome:
            known = None if self.outcome is None else self.outcome.ensemble
            self.set_outcome(*self._refit("outcome", now, known, outcome_pairs(data)))

    def _refit(
        self, name: str, now: int, ensemble: Ensemble | None, pairs: Pairs
    ) -> tuple[Ensemble, ModelReport]:
        config = self.config.model
        if ensemble is None:
            ensemble = new_ensemble(pairs, config, self._streams(f"{name}-init"))
        # On the CPU everywhere: its integers extend shorter draws, an accelerator's need not.
        split = Streams(self._seeds, "validation-split")
        # Fresh for every fit: how long the others' members trained must not shift these draws.
        return refit_model(
            ensemble,
            pairs,
            config,
            lambda purpose: self._streams(f"{purpose}-{name}-{now}"),
            split,
            self._gradient,
            self.config.data.refit_steps or None,
        )

    def set_model(self, fitted: Ensemble, report: ModelReport) -> None:
        """Imagine with the best members of this fit; the next one goes on from all of them."""
        self.model, self.fit = fitted, report
        elites = elite_members(fitted, report, self.config.model)
        self.world = self.world._replace(model=elites)

    def set_outcome(self, fitted: Ensemble, report: ModelReport | None) -> None:
        """Imagine with this fit of reward and termination; all its members serve."""
        self.outcome_fit = report
        if self.outcome is None:
            self.outcome = LearnedOutcome(fitted)
            self.world = self.world._replace(
                reward=self.outcome.reward, terminated=self.outcome.terminated
            )
        else:
            self.outcome.copy_(fitted)

    @torch.no_grad()
    def branch(self, agent: Agent, real: Replay, length: int, stream: Streams) -> None:
        """Roll the policy `length` steps through the model from states of D_env, into D_model."""
        model = self.world.model
        assert model is not None, "a configuration with model rows fits a model first"
        count = self.config.data.branch_transitions // length
        start = real.take(stream.integers(len(real), count)).state
        noise = draw_rollout_noise(stream, model, length, (count,), *self._sizes)
        problem = self.world.problem(model, agent.targets)
        trajectory = rollout(problem, agent.policy, start, noise)
        self.data.add(living(transitions(trajectory), torch.cat(trajectory.alive, dim=-1)))
