"""Run directories small enough for a test."""

from pathlib import Path

import torch

from maac_bench.checkpoint import Snapshot
from maac_bench.config import ActorSettings, Config, to_dict
from maac_bench.run import RunDirectory

CONFIG = to_dict(Config(actor=ActorSettings(hidden=(8, 8))))
IDENTITY = {"task": "t", "algorithm": "a", "seeds": [0, 1], "config": CONFIG}


def snapshot_of(rollouts: int) -> Snapshot:
    tensors = {"x.0": torch.full((2, 3), float(rollouts)), "y.0": torch.arange(4).reshape(2, 2)}
    return Snapshot(tensors, {"rollouts": rollouts, "seeds": [0, 1]})


def rows_of_rollout(rollout: int, **columns: float):
    common = {"rollout": rollout, "env_steps": 10 * rollout, **columns}
    return [{"seed": seed, **common, "return": seed + rollout / 3} for seed in (0, 1)]


def reach(run: RunDirectory, rollout: int, keep_every: int = 0) -> None:
    """What training does after a rollout."""
    run.log(rows_of_rollout(rollout))
    run.save(snapshot_of(rollout), keep_every)


def newest(path: Path, suffix: str = ".json") -> Path:
    return sorted((path / "checkpoint").glob(f"*{suffix}"))[-1]


def begin(opened, path, identity=IDENTITY):
    """Leave a run that has a rollout."""
    run = opened(path, identity)
    run.log(rows_of_rollout(1))
    run.close()
