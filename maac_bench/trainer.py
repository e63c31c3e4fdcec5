"""Model-augmented actor-critic (Clavera et al. 2020, Algorithm 1), for stacked seeds.

`Trainer.rollout` is the algorithm, read from top to bottom. Every quantity carries the seed axis;
nothing of one seed reaches another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from maac_bench.agent import Agent
from maac_bench.config import Config
from maac_bench.cuda_graph import CudaGraph
from maac_bench.diagnostics import Totals, agent_columns, model_columns
from maac_bench.episodes import Array, Episodes
from maac_bench.evaluation import Decide, run_episode, run_sampled_episode
from maac_bench.fusion import forget_programs
from maac_bench.imagination import Imagination
from maac_bench.replay import Replay, draw_batches
from maac_bench.streams import Streams
from maac_bench.tasks import TrainingTask
from maac_bench.types import Action, Transition
from maac_bench.world import World

Row: TypeAlias = dict[str, float]
"""One line of metrics.csv."""

# More rows than any run collects: D_env forgets nothing.
_EVERYTHING = 2**40
_STREAMS = ("exploration", "replay", "update", "branch", "evaluation")


class Failure(NamedTuple):
    """A seed that cannot go on, and why."""

    seed: int
    reason: str


class Trainer:
    """A run of one algorithm on one task for several seeds.

    Args:
        training: the task, its environment and the steps of one rollout.
        config: the algorithm.
        seeds: each an independent run.
        device: where nets and replay live.
    """

    def __init__(
        self,
        training: TrainingTask,
        config: Config,
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
    ) -> None:
        task, make = training.task, training.make
        self.task, self.steps, self.config = task, training.steps, config
        self.seeds, self.device = list(seeds), torch.device(device)
        self.env_steps = self.updates = 0
        n, m, count = task.state_size, task.action_size, len(self.seeds)
        self.episodes = Episodes(make, self.seeds, "environment")
        self.evaluations = Episodes(make, self.seeds, "evaluation")
        self.real = Replay(count, _EVERYTHING, n, m, self.device)
        self.streams = {purpose: self.fresh_streams(purpose) for purpose in _STREAMS}
        self.agent = Agent(config, n, m, self.fresh_streams)
        self.imagination = Imagination(training, config, self.seeds, self.fresh_streams)
        self.failures: list[Failure] = []
        self._step: Callable[[World, Transition], dict[str, Tensor]] = self._drawn_update
        self._explore: Callable[[Tensor], Tensor] = self._sampled_action
        self._decide: Decide = self.agent.policy.mean_action
        self._sample: Callable[[Tensor, Tensor], Action] = self.agent.policy.sample
        self._latest: dict[str, Tensor] = {}
        self._seconds = dict.fromkeys(("env", "model", "branch", "update", "evaluate"), 0.0)

    @property
    def rollouts(self) -> int:
        """Rollouts done."""
        return self.env_steps // self.steps

    @property
    def training(self) -> bool:
        """Whether the random rollouts are over."""
        return self.rollouts >= self.config.data.random_rollouts

    def rollout(self, on_step: Callable[[], object] = lambda: None) -> list[Row]:
        """One rollout of the real environments with everything it sets off.

        Args:
            on_step: called after every environment step.

        Returns:
            One row of metrics per seed.
        """
        self._seconds = dict.fromkeys(self._seconds, 0.0)
        begin, data, totals = time.perf_counter(), self.config.data, Totals()
        returns = np.zeros(len(self.seeds), np.float32)
        for step in range(self.steps):
            training = self.training
            if training:
                age = self.env_steps - data.random_rollouts * self.steps
                if age % data.refit_every == 0:
                    self._fit_model()
                if age % data.branch_every == 0:
                    self._branch()
            returns += self._act()
            if training:
                with self._timed("update"):
                    for report in self.learn(data.updates_per_step):
                        self._latest = report
                        totals.add(report)
            if (step + 1) % min(250, self.steps) == 0:
                self._check(totals.mean())
            on_step()
        rows = self._rows(totals.mean(), returns)
        for row in rows:
            row["seconds"] = time.perf_counter() - begin
            row.update({f"seconds_{part}": s for part, s in self._seconds.items()})
        return rows

    def compile(self) -> None:
        """Fuse updates and fits: the same algorithm with other rounding."""
        # Programs of earlier runs in this process count against torch's limit.
        forget_programs()
        self.agent.compile()
        self.imagination.compile()
        if self.device.type == "cuda":
            self.record()

    def record(self) -> None:
        """Launch a GPU's kernels of updates and actions together; no number changes by it."""
        self._step = CudaGraph(self._drawn_update, self.streams["update"])
        self._explore = CudaGraph(self._sampled_action, self.streams["exploration"])
        self._decide = CudaGraph(self.agent.policy.mean_action)
        self._sample = CudaGraph(self.agent.policy.sample)

    def close(self) -> None:
        """Free the environments."""
        self.episodes.close()
        self.evaluations.close()

    def prepare(self) -> None:
        """Fit the model and fill D_model, as training does before its first update."""
        self._fit_model()
        self._branch()

    def _act(self) -> Array:
        """One environment step, into D_env; the rewards."""
        with self._timed("env"):
            observed = torch.from_numpy(self.episodes.begin())
            seen = torch.isfinite(observed).all(dim=-1)
            self._fail(~seen, "the environment's observation is not finite")
            state = observed.to(self.device).unsqueeze(1)
            if self.training:
                with torch.no_grad():
                    action = self._explore(state)
            else:
                stream = self.streams["exploration"]
                action = 2.0 * stream.uniform(1, self.task.action_size) - 1.0
            # One copy that waits for the device; the rest is looked at here.
            chosen = action[:, 0].cpu()
            finite = torch.isfinite(chosen).all(dim=-1)
            if not bool(finite.all()):
                self._check(self._latest)  # the update that broke the policy says more
                self._fail(~finite, "the policy's action is not finite")
                chosen = torch.where(finite.unsqueeze(-1), chosen, 0.0)
                action = chosen.to(self.device).unsqueeze(1)
            step = self.episodes.step(chosen.numpy())
            # Here, too: after an episode's last step `begin` gives the next one's first state.
            seen = torch.isfinite(torch.from_numpy(step.next_state)).all(dim=-1)
            self._fail(~seen, "the environment's observation is not finite")
            paid = torch.isfinite(torch.from_numpy(step.reward))
            self._fail(~paid, "the environment's reward is not finite")
            reward = self._tensor(step.reward)
            self.imagination.see(reward)
            self.real.add(
                Transition(
                    state,
                    action,
                    reward,
                    self._tensor(step.next_state),
                    self._tensor(step.terminated.astype(np.float32)),
                )
            )
            self.env_steps += 1
            return step.reward

    def _sampled_action(self, state: Tensor) -> Tensor:
        noise = self.streams["exploration"].normal(1, self.task.action_size)
        return self.agent.policy.sample(state, noise).value

    def _fit_model(self) -> None:
        """Fit the model to D_env."""
        if not self.config.uses_model:
            return
        with self._timed("model"):
            self.imagination.learn(self.real, self.env_steps)
            for name, fit in self.imagination.fits.items():
                broken = ~torch.isfinite(fit.validation_nll).all(dim=1)
                self._fail(broken, f"the {name}'s validation loss is not finite")

    def _branch(self) -> None:
        """Fill D_model from states of D_env."""
        if not self.config.data.model_rows:
            return
        with self._timed("branch"):
            length = self.config.data.length_at(self.rollouts)
            self.imagination.branch(self.agent, self.real, length, self.streams["branch"])

    def update(self) -> dict[str, Tensor]:
        """One update of the agent."""
        (report,) = self.learn(1)
        return report

    def learn(self, count: int) -> Iterator[dict[str, Tensor]]:
        """Updates of the agent in a row, each on a batch from D_env and D_model; their reports."""
        for batch in self._batches(count):
            self.updates += 1
            yield self._step(self.imagination.world, batch)

    def _drawn_update(self, world: World, batch: Transition) -> dict[str, Tensor]:
        noise = self.agent.draw_noise(self.streams["update"], world, batch.reward.shape[1])
        return self.agent.update(world, batch, noise)

    def _batches(self, count: int) -> list[Transition]:
        """Batches for as many updates. Drawn together: the data do not change between them."""
        data = self.config.data
        shares = (
            (self.real, data.batch_size - data.model_rows),
            (self.imagination.data, data.model_rows),
        )
        return draw_batches(shares, self.streams["replay"], count)

    def _rows(self, means: Mapping[str, Tensor], train_returns: Array) -> list[Row]:
        """Evaluate, diagnose and put everything measured into one row per seed."""
        columns: dict[str, Any] = {"train_return": train_returns}
        with self._timed("evaluate"):
            if self.config.evaluations:
                columns["return"] = self._evaluate()
            columns.update(means)
            if self.updates:
                columns.update(self._diagnose())
        # An episode can be too short to measure anything in it: no value, and no failure.
        # A prediction that is not finite is inf, and is one.
        measured = {
            name: torch.as_tensor(value).nan_to_num(nan=0.0, posinf=torch.inf)
            if name.startswith("prediction_error")
            else value
            for name, value in columns.items()
        }
        self._check(measured)
        rows = []
        for k, seed in enumerate(self.seeds):
            row: Row = {"seed": seed, "rollout": self.rollouts, "env_steps": self.env_steps}
            row["updates"] = self.updates
            numbers = {name: float(value[k]) for name, value in columns.items()}
            row.update({name: number for name, number in numbers.items() if number == number})
            rows.append(row)
        return rows

    def _evaluate(self) -> Tensor:
        """Mean return of the evaluation episodes, [seeds]."""
        count = self.config.evaluations
        scores = [
            run_episode(self._decide, self.evaluations, self.device).returns for _ in range(count)
        ]
        return torch.stack(scores).mean(dim=0)

    def _diagnose(self) -> dict[str, Tensor]:
        """Quality of the current critics, gradient and model."""
        stream, rows = self.streams["evaluation"], self.config.data.batch_size
        episode = run_sampled_episode(
            self._sample, self.evaluations, self.fresh_streams(f"episode-{self.rollouts}")
        )
        batch = self.real.take(stream.integers(len(self.real), rows))
        world = self.imagination.world
        noise = self.agent.draw_noise(stream, world, rows)
        return {
            **agent_columns(self.agent, world, episode, batch, noise),
            **model_columns(world.model, self.imagination.fits, episode),
        }

    def _check(self, values: Mapping[str, Any]) -> None:
        """Mark the seeds in which one of these values is not finite."""
        for name, value in values.items():
            self._fail(~torch.isfinite(torch.as_tensor(value)), f"{name} is not finite")

    def _fail(self, bad: Tensor, reason: str) -> None:
        known = {failure.seed for failure in self.failures}
        for k in bad.nonzero().flatten().tolist():
            if self.seeds[k] not in known:
                where = f"{reason} (environment step {self.env_steps}, update {self.updates})"
                self.failures.append(Failure(self.seeds[k], where))

    def fresh_streams(self, purpose: str) -> Streams:
        """The streams of that purpose, from their beginning."""
        return Streams(self.seeds, purpose, self.device)

    def _tensor(self, array: Array) -> Tensor:
        return torch.from_numpy(array).to(self.device).unsqueeze(1)

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        if self.device.type == "cuda":  # what is queued belongs to this part
            torch.cuda.synchronize(self.device)
        self._seconds[part] += time.perf_counter() - begin
