"""Evaluation of finished or running runs from their directories."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd
import torch

from maac_bench.agent import Agent, World
from maac_bench.checkpoint import Snapshot, restore_agent, restore_ensemble
from maac_bench.config import Config, from_dict
from maac_bench.episodes import Episodes
from maac_bench.evaluation import Decider, run_episode
from maac_bench.outcome import LearnedOutcome
from maac_bench.planning import Planner, PlannerSettings
from maac_bench.run import read_identity, require_checkpoint
from maac_bench.streams import Streams
from maac_bench.tasks import TrainingTask, make_training_task


def evaluate_run(path: Path, episodes: int, planner: PlannerSettings | None = None) -> pd.DataFrame:
    """Test episodes of every seed's newest policy with the mean action, or with planning.

    Start states come from a stream of their own; they are the same at every call.

    Args:
        path: run directory.
        episodes: per seed.
        planner: plan every action with the learned model.

    Returns:
        Columns task, algo, seed, rollout (how long the policy was trained), mpc (0 or 1), episode,
        return, steps, ms_per_decision (of all seeds together).

    Raises:
        ValueError: no run, no checkpoint yet, a damaged one, or planning without a model.
    """
    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, got {episodes}")
    identity, snapshot = read_identity(path), require_checkpoint(path)
    task, seeds = make_training_task(identity["task"]), snapshot.counters["seeds"]
    agent, world = restore_parts(snapshot, from_dict(identity["config"]), task)
    environments, rows = Episodes(task.make, seeds, "test"), []
    for episode in range(episodes):
        # A new planner: the last episode's plan is of no use to this one.
        decider: Decider = (
            agent.policy
            if planner is None
            else Planner(agent, world, planner, Streams(seeds, f"planning-{episode}"))
        )
        begin = time.perf_counter()
        record = run_episode(decider, environments)
        duration = time.perf_counter() - begin
        for k, seed in enumerate(seeds):
            rows.append(
                {
                    "task": identity["task"],
                    "algo": identity["algorithm"],
                    "seed": seed,
                    "rollout": snapshot.counters["rollouts"],
                    "mpc": int(planner is not None),
                    "episode": episode,
                    "return": float(record.returns[k]),
                    "steps": int(record.alive[:, k].sum()),
                    "ms_per_decision": 1e3 * duration / len(record.rewards),
                }
            )
    environments.close()
    return pd.DataFrame(rows)


def restore_parts(snapshot: Snapshot, config: Config, task: TrainingTask) -> tuple[Agent, World]:
    """Agent and world of a snapshot, on the CPU."""
    seeds, device = snapshot.counters["seeds"], torch.device("cpu")
    agent = Agent(
        config,
        task.task.state_size,
        task.task.action_size,
        lambda purpose: Streams(seeds, purpose),
    )
    restore_agent(agent, snapshot)
    discount = task.task.discount if config.discount is None else config.discount
    model = restore_ensemble(snapshot, config, device, "model")
    world = World(model, task.task.reward, task.task.terminated, discount)
    outcome = restore_ensemble(snapshot, config, device, "outcome")
    if outcome is not None:
        learned = LearnedOutcome(outcome)
        world = world._replace(reward=learned.reward, terminated=learned.terminated)
    return agent, world
