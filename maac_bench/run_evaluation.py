"""Evaluation of finished or running runs from their directories."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from maac_bench.agent import Agent
from maac_bench.checkpoint import Snapshot, restore_agent, restore_world
from maac_bench.config import Config, from_dict
from maac_bench.episodes import Episodes
from maac_bench.evaluation import Decide, run_episode
from maac_bench.imagination import Imagination
from maac_bench.planning import Planner, PlannerSettings
from maac_bench.products import fast_products
from maac_bench.run_checkpoints import require_checkpoint
from maac_bench.run_records import read_identity
from maac_bench.streams import Streams
from maac_bench.tasks import TrainingTask, make_training_task
from maac_bench.world import World


class OpenRun(NamedTuple):
    """A run's newest policies, or those of an earlier checkpoint, ready to act.

    name: its task's. algorithm: the preset's. seeds: those of the checkpoint. rollouts: how long
    they were trained.
    """

    name: str
    algorithm: str
    seeds: list[int]
    rollouts: int
    task: TrainingTask
    agent: Agent
    world: World

    def decider(self, planner: PlannerSettings | None, episode: int) -> Decide:
        """What acts in a test episode: the mean action, or a new planner.

        An old planner's plan would be of no use in another episode.
        """
        if planner is None:
            return self.agent.policy.mean_action
        noise = Streams(self.seeds, f"planning-{episode}")
        return Planner(self.agent, self.world, planner, noise).mean_action


def open_run(path: Path | str, rollout: int | None = None) -> OpenRun:
    """Read a run directory.

    Args:
        path: run directory.
        rollout: which checkpoint; default: the newest.

    Raises:
        ValueError: no run, no such checkpoint, or a damaged one.
    """
    path = Path(path)
    identity = read_identity(path)
    snapshot = require_checkpoint(path, rollout)
    task = make_training_task(identity["task"])
    agent, world = restore_parts(snapshot, from_dict(identity["config"]), task)
    seeds, rollouts = snapshot.counters["seeds"], snapshot.counters["rollouts"]
    return OpenRun(identity["task"], identity["algorithm"], seeds, rollouts, task, agent, world)


def evaluate_run(
    run: OpenRun,
    episodes: int,
    planner: PlannerSettings | None = None,
    on_episode: Callable[[], object] = lambda: None,
) -> pd.DataFrame:
    """Test episodes of every seed of a run with the mean action, or with planning.

    Start states come from a stream of their own; they are the same at every call.

    Args:
        run: from `open_run`.
        episodes: per seed.
        planner: plan every action with the learned model.
        on_episode: called after every episode, of all seeds together.

    Returns:
        Columns task, algo, seed, rollout (how long the policy was trained), mpc (0 or 1), episode,
        return, steps, ms_per_decision (of all seeds together, the environments' steps included).

    Raises:
        ValueError: too few episodes, or planning without a model.
    """
    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, got {episodes}")
    environments, rows = Episodes(run.task.make, run.seeds, "test"), []
    for episode in range(episodes):
        decide = run.decider(planner, episode)
        begin = time.perf_counter()
        with fast_products():
            record = run_episode(decide, environments)
        duration = time.perf_counter() - begin
        for k, seed in enumerate(run.seeds):
            rows.append(
                {
                    "task": run.name,
                    "algo": run.algorithm,
                    "seed": seed,
                    "rollout": run.rollouts,
                    "mpc": int(planner is not None),
                    "episode": episode,
                    "return": float(record.returns[k]),
                    "steps": int(record.alive[:, k].sum()),
                    "ms_per_decision": 1e3 * duration / len(record.rewards),
                }
            )
        on_episode()
    environments.close()
    return pd.DataFrame(rows)


def begins_with(longer: pd.DataFrame, table: pd.DataFrame) -> bool:
    """Whether an evaluation has all that another one has, and further episodes.

    Start states and planners' noise repeat, so a shorter evaluation of the same policies is the
    beginning of a longer one.
    """
    key = ["seed", "rollout", "episode"]
    columns = [*key, "return"]
    if not set(columns) <= set(longer.columns) or len(longer) <= len(table):
        return False
    known = longer[columns].apply(pd.to_numeric, errors="coerce").dropna(subset=key)
    both = table[columns].merge(known, on=key, suffixes=("", "_longer"))
    one, other = both["return"], both["return_longer"]
    return len(both) == len(table) and np.allclose(one, other, equal_nan=True)


def require_finite_returns(table: pd.DataFrame) -> None:
    """FloatingPointError naming the seeds and episodes of an evaluation without a finite return."""
    broken = table[~np.isfinite(table["return"])]
    if len(broken):
        which = [
            f"seed {seed} in episode {', '.join(map(str, rows['episode']))}"
            for seed, rows in broken.groupby("seed")
        ]
        raise FloatingPointError(
            f"the return is not finite: {'; '.join(which)}. The environment, the policy or "
            "planning gave a number that is not finite"
        )


def restore_parts(snapshot: Snapshot, config: Config, task: TrainingTask) -> tuple[Agent, World]:
    """Agent and world of a snapshot, on the CPU; ValueError if it is not of this configuration."""
    seeds = snapshot.counters["seeds"]

    def streams(purpose: str) -> Streams:
        return Streams(seeds, purpose)

    agent = Agent(config, task.task.state_size, task.task.action_size, streams)
    imagination = Imagination(task, config, seeds, streams)
    try:
        restore_agent(agent, snapshot)
        restore_world(imagination, snapshot)
    except (KeyError, RuntimeError, ValueError) as error:
        reason = f"the checkpoint does not fit the run's task and configuration: {error}"
        raise ValueError(reason) from error
    return agent, imagination.world
