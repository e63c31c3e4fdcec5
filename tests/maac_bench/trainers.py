"""Trainers small enough for a test."""

from dataclasses import replace

import gymnasium as gym
import pytest
import torch

from maac_bench.config import Config
from maac_bench.presets import preset
from maac_bench.tasks import TrainingTask, make_training_task
from maac_bench.trainer import Row, Trainer

PENDULUM = "maac_bench/Pendulum-v0"
STEPS = 20


def tiny_config(algorithm: str = "maac", **data: int) -> Config:
    """Refitted and branched once per rollout; `data` replaces settings of that group."""
    config = preset(algorithm, PENDULUM, "tiny")
    counts = {
        "random_rollouts": 1,
        "updates_per_step": 1,
        "batch_size": 16,
        "refit_every": STEPS,
        "branch_every": STEPS,
        "branch_transitions": 200,
        "model_capacity": 400,
    }
    return replace(
        config,
        actor=replace(config.actor, hidden=(8,), horizon=min(2, config.actor.horizon)),
        critic=replace(
            config.critic, hidden=(8,), target_members=min(2, config.critic.target_members)
        ),
        model=replace(
            config.model,
            hidden=(8,),
            members=2,
            elites=min(1, config.model.elites),
            max_epochs=2,
            batch_size=32,
        ),
        data=replace(config.data, **{**counts, **data}),
    )


def tiny_training(
    task: str = PENDULUM, steps: int = STEPS, limit: int | None = None
) -> TrainingTask:
    """A training task with shorter rollouts, and episodes that end with them or at `limit`."""
    training = make_training_task(task)

    def make(**options) -> gym.Env:
        return gym.wrappers.TimeLimit(training.make(**options), limit or steps)

    return training._replace(make=make, steps=steps)


def hopper(steps: int) -> TrainingTask:
    """Episodes that go on over a rollout's end."""
    return tiny_training("Hopper-v5", steps, limit=100)


def tiny_trainer(
    seeds: tuple[int, ...],
    config: Config | None = None,
    training: TrainingTask | None = None,
    device: str = "cpu",
) -> Trainer:
    return Trainer(training or tiny_training(), config or tiny_config(), seeds, device)


def untimed(row: Row) -> Row:
    """A row without its wall-clock columns."""
    return {name: value for name, value in row.items() if not name.startswith("seconds")}


def rows_of(trainer: Trainer, rollouts: int) -> dict[int, list[Row]]:
    """The next rollouts' rows per seed, without wall-clock; the trainer is closed."""
    rows: dict[int, list[Row]] = {seed: [] for seed in trainer.seeds}
    for _ in range(rollouts):
        for row in trainer.rollout():
            rows[int(row["seed"])].append(untimed(row))
    trainer.close()
    return rows


def fill_(parameters: tuple[torch.Tensor, ...], value: float) -> None:
    """Overwrite tensors that may require gradients."""
    with torch.no_grad():
        for parameter in parameters:
            parameter.fill_(value)


def break_policy(monkeypatch: pytest.MonkeyPatch, seed: int, rollout: int) -> None:
    """That seed's policy says NaN from the beginning of that rollout on."""
    whole = Trainer.rollout

    def rollout_with_accident(trainer, on_step=lambda: None):
        if trainer.rollouts == rollout and seed in trainer.seeds:
            k = trainer.seeds.index(seed)
            fill_([p[k] for p in trainer.agent.policy.parameters], float("nan"))
        return whole(trainer, on_step)

    monkeypatch.setattr(Trainer, "rollout", rollout_with_accident)
