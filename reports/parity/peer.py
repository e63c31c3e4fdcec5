"""The other side of the parity check: soft actor-critic of stable-baselines3.

It is trained with the hyper-parameters of one of our runs and evaluated as ours are: after every
`time limit` steps, one episode with the mean action on an environment of its own.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
import torch

from maac_bench.config import Config
from maac_bench.presets import preset
from maac_bench.tasks import make_training_task
from reports.files import write_csv
from reports.training_runs import TrainingRun

_PACKAGES = ("torch", "numpy", "gymnasium", "mujoco")


def sac_options(run: TrainingRun) -> dict[str, Any]:
    """The keyword arguments of `stable_baselines3.SAC` that mean what our configuration means.

    Raises:
        ValueError: the run has settings that the other side lacks.
    """
    config, training = run.settings, make_training_task(run.task)
    actor, critic, data = config.actor, config.critic, config.data
    if config != _with_options(config):
        raise ValueError(f"stable-baselines3's SAC cannot be set up like {run.name}")
    return {
        "learning_rate": actor.learning_rate,
        "batch_size": data.batch_size,
        "learning_starts": data.random_rollouts * training.steps,
        "gradient_steps": data.updates_per_step,
        "tau": critic.target_rate,
        "gamma": training.task.discount if config.discount is None else config.discount,
        "ent_coef": f"auto_{actor.initial_temperature:g}",
        "target_entropy": actor.target_entropy * training.task.action_size,
        "policy_kwargs": {
            "net_arch": {"pi": list(actor.hidden), "qf": list(critic.hidden)},
            "n_critics": critic.count,
        },
    }


def _with_options(config: Config) -> Config:
    """Plain SAC with what the other side has an option for as it is in `config`."""
    plain = preset("sac", "Pendulum-v1")
    actor, critic, data = config.actor, config.critic, config.data
    rate = actor.learning_rate
    return replace(
        plain,
        discount=config.discount,
        actor=replace(
            plain.actor,
            hidden=actor.hidden,
            learning_rate=rate,
            temperature_learning_rate=rate,
            initial_temperature=actor.initial_temperature,
            target_entropy=actor.target_entropy,
        ),
        critic=replace(
            plain.critic,
            hidden=critic.hidden,
            count=critic.count,
            learning_rate=rate,
            target_rate=critic.target_rate,
        ),
        data=replace(
            plain.data,
            random_rollouts=data.random_rollouts,
            updates_per_step=data.updates_per_step,
            batch_size=data.batch_size,
        ),
    )


def peer_version() -> str:
    """The release of stable-baselines3; ValueError where it is not installed."""
    try:
        return version("stable-baselines3")
    except PackageNotFoundError as error:
        raise ValueError(
            "parity needs stable-baselines3: make parity installs it, "
            "or pip install 'maac-bench[peers]'"
        ) from error


def peer_path(run: TrainingRun, seed: int, folder: Path) -> Path:
    """Where a finished seed's table is: the name covers everything its numbers depend on.

    Raises:
        ValueError: stable-baselines3 is not installed.
    """
    versions = [peer_version(), *(version(name) for name in _PACKAGES)]
    identity = repr((run, sac_options(run), versions, Path(__file__).read_text()))
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    return folder / run.task.rpartition("/")[2] / "stable-baselines3" / f"seed-{seed}-{digest}.csv"


def train_peer(run: TrainingRun, seed: int, path: Path) -> str:
    """Train one seed on one thread and write its table: episode, env_steps, return."""
    # Not at the top: the package is an extra, and only this function needs it.
    from stable_baselines3 import SAC
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.monitor import Monitor

    torch.set_num_threads(1)
    steps = make_training_task(run.task).steps
    rows: list[dict[str, float]] = []

    class Evaluation(BaseCallback):  # type: ignore[misc, unused-ignore]
        """One episode with the mean action after each `steps` environment steps."""

        def _on_step(self) -> bool:
            if self.num_timesteps % steps == 0:
                score, _ = evaluate_policy(self.model, test, n_eval_episodes=1)
                episode = self.num_timesteps // steps
                rows.append(
                    {
                        "episode": episode,
                        "env_steps": self.num_timesteps,
                        "return": float(np.mean(score)),
                    }
                )
            return True

    test = Monitor(gym.make(run.task))
    test.reset(seed=1_000_000 + seed)
    model = SAC("MlpPolicy", gym.make(run.task), seed=seed, device="cpu", **sac_options(run))
    model.learn(run.rollouts * steps, callback=Evaluation())
    path.parent.mkdir(parents=True, exist_ok=True)
    write_csv(pd.DataFrame(rows), path)
    return ""
