"""Evaluation of finished or running runs from their directories."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from maac_bench.agent import Agent
from maac_bench.checkpoint import restore_agent
from maac_bench.config import from_dict
from maac_bench.episodes import Episodes
from maac_bench.evaluation import run_episode
from maac_bench.run import load_checkpoint, read_identity
from maac_bench.streams import Streams
from maac_bench.tasks import make_training_task


def evaluate_run(path: Path, episodes: int) -> pd.DataFrame:
    """Test episodes of every seed's newest policy with the mean action.

    Start states come from a stream of their own; they are the same at every call.

    Args:
        path: run directory.
        episodes: per seed.

    Returns:
        Columns seed, rollout (how long the policy was trained), episode, return, steps.

    Raises:
        ValueError: no run, no checkpoint yet, or a damaged one.
    """
    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, got {episodes}")
    identity, snapshot = read_identity(path), load_checkpoint(path)
    if snapshot is None:
        raise ValueError(f"{path} has no checkpoint yet: let it train for a rollout")
    task, seeds = make_training_task(identity["task"]), snapshot.counters["seeds"]
    config, sizes = from_dict(identity["config"]), (task.task.state_size, task.task.action_size)
    agent = Agent(config, *sizes, lambda purpose: Streams(seeds, purpose))
    restore_agent(agent, snapshot)
    environments, rows = Episodes(task.make, seeds, "test"), []
    for episode in range(episodes):
        record = run_episode(agent.policy, environments)
        for k, seed in enumerate(seeds):
            rows.append(
                {
                    "seed": seed,
                    "rollout": snapshot.counters["rollouts"],
                    "episode": episode,
                    "return": float(record.returns[k]),
                    "steps": int(record.alive[:, k].sum()),
                }
            )
    environments.close()
    return pd.DataFrame(rows)
