"""A restored trainer goes on with the same numbers, whatever state it was in."""

import copy
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch

from maac_bench.checkpoint import Snapshot, capture, restore
from maac_bench.config import Config
from maac_bench.tasks import TrainingTask
from maac_bench.trainer import Trainer
from tests.maac_bench.trainers import (
    PENDULUM,
    STEPS,
    rows_of,
    tiny_config,
    tiny_trainer,
    tiny_training,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*settotalmass.*")


def frozen(trainer: Trainer) -> Snapshot:
    """What a file would hold: a snapshot apart from the trainer that goes on."""
    snapshot = capture(trainer)
    tensors = {name: tensor.clone() for name, tensor in snapshot.tensors.items()}
    return Snapshot(tensors, copy.deepcopy(snapshot.counters))


def after(rollouts: int, config: Config, training: TrainingTask, seeds=(0, 1)) -> Trainer:
    trainer = tiny_trainer(seeds, config, training)
    for _ in range(rollouts):
        trainer.rollout()
    return trainer


@pytest.mark.parametrize(
    ("algorithm", "task", "limit"),
    [
        ("maac", PENDULUM, STEPS),
        ("mbpo", PENDULUM, STEPS),
        ("maac-plus", PENDULUM, STEPS),
        ("sac", PENDULUM, 7),
        ("maac", "Hopper-v5", 100),
        ("sac", "maac_bench/HalfCheetah-v0", 33),
        ("maac", "Pendulum-v1", 33),
    ],
)
def test_a_restored_trainer_goes_on_the_same(algorithm, task, limit):
    """Also with an episode under way, a D_model that has wrapped and a learned reward."""
    config, training = tiny_config(algorithm, branch_every=7), tiny_training(task, STEPS, limit)
    trainer = after(2, config, training)
    assert (max(trainer.episodes.age) > 0) is (limit != STEPS)
    twin = tiny_trainer((0, 1), config, training)
    restore(twin, frozen(trainer))
    assert rows_of(twin, 2) == rows_of(trainer, 2)


def test_a_trainer_is_restored_from_its_random_phase():
    config, training = tiny_config(random_rollouts=2), tiny_training()
    trainer = after(1, config, training)
    twin = tiny_trainer((0, 1), config, training)
    restore(twin, frozen(trainer))
    assert rows_of(twin, 2) == rows_of(trainer, 2)


@pytest.mark.parametrize(("task", "limit"), [(PENDULUM, 33), ("Hopper-v5", 100)])
def test_a_dropped_seed_leaves_the_rest_going_on_the_same(task, limit):
    config, training = tiny_config(), tiny_training(task, limit=limit)
    trainer = after(2, config, training, (3, 4, 5))
    share = frozen(trainer).select([0, 2])
    assert share.counters["seeds"] == [3, 5]
    assert len(share.counters["evaluation_episodes"]) == 2
    rest = tiny_trainer((3, 5), config, training)
    restore(rest, share)
    rows, expected = rows_of(rest, 1), rows_of(trainer, 1)
    for seed in (3, 5):
        assert rows[seed][0] == pytest.approx(expected[seed][0], rel=2e-3, abs=2e-3)


def test_a_snapshot_of_another_architecture_is_refused():
    training = tiny_training()
    snapshot = frozen(after(2, tiny_config(), training))
    wider = tiny_config()
    for other in (
        replace(wider, actor=replace(wider.actor, hidden=(9,))),
        replace(wider, critic=replace(wider.critic, hidden=(8, 8))),
    ):
        with pytest.raises(ValueError, match="checkpoint does not fit this configuration"):
            restore(tiny_trainer((0, 1), other, training), snapshot)


@pytest.mark.parametrize("name", ["ages", "episodes", "evaluation_episodes"])
def test_a_snapshot_whose_counts_are_none_is_refused(name):
    snapshot = frozen(after(1, tiny_config(), tiny_training()))
    snapshot.counters[name] = None
    with pytest.raises(ValueError, match="checkpoint does not fit this configuration"):
        restore(tiny_trainer((0, 1)), snapshot)


class Moody(gym.Env):
    """Every instance moves by its own random numbers, whatever the reset's seed."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self):
        self.moods = np.random.default_rng()

    def reset(self, *, seed=None, options=None):
        return np.zeros(3, np.float32), {}

    def step(self, action):
        return self.moods.standard_normal(3).astype(np.float32), 0.0, False, False, {}


def test_an_environment_that_does_not_repeat_itself_is_named():
    training = tiny_training()._replace(make=lambda: gym.wrappers.TimeLimit(Moody(), 33))
    snapshot = frozen(after(1, tiny_config(), training, (6,)))
    with pytest.raises(ValueError, match="seed 6: the environment does not reach the same state"):
        restore(tiny_trainer((6,), tiny_config(), training), snapshot)


def test_the_best_members_are_restored_between_two_fits():
    """Resumed in the middle of a fit's time, the same members go on serving."""
    config, training = tiny_config("mbpo", refit_every=3 * STEPS), tiny_training()
    trainer = after(2, config, training)
    twin = tiny_trainer((0, 1), config, training)
    restore(twin, frozen(trainer))
    for mine, its in zip(
        twin.imagination.world.model.parameters,
        trainer.imagination.world.model.parameters,
        strict=True,
    ):
        assert torch.equal(mine, its)
    for name, fit in trainer.imagination.fits.items():
        for mine, its in zip(twin.imagination.fits[name], fit, strict=True):
            assert torch.equal(mine, its)
    assert rows_of(twin, 1) == rows_of(trainer, 1)


def test_a_share_is_that_of_its_places():
    """Of every tensor and counter, by place."""
    names = ("seeds", "episodes", "ages", "evaluation_episodes")
    counters = {name: [10 * i + k for k in range(3)] for i, name in enumerate(names)}
    held = ("real.0", "model.fit.0", "adam.actor.exp_avg.0", "stream.update.0")
    tensors = {name: torch.arange(6.0).reshape(3, 2) for name in held}
    share = Snapshot(tensors, {**counters, "rollouts": 7}).select([0, 2])
    expected = {name: [numbers[0], numbers[2]] for name, numbers in counters.items()}
    assert share.counters == {**expected, "rollouts": 7}
    assert share.tensors.keys() == tensors.keys()
    assert all(x.tolist() == [[0.0, 1.0], [4.0, 5.0]] for x in share.tensors.values())


def test_a_snapshot_of_an_earlier_version_is_restored():
    """Which did not keep the outcome's fit, and kept the counts of seeds that had failed."""
    config, training = tiny_config(), tiny_training("Pendulum-v1", STEPS, 33)
    snapshot = frozen(after(2, config, training, (0,)))
    kept = {n: x for n, x in snapshot.tensors.items() if not n.startswith("outcome.fit")}
    assert len(kept) < len(snapshot.tensors)
    snapshot.counters["evaluation_episodes"] *= 2
    twin = tiny_trainer((0,), config, training)
    restore(twin, snapshot._replace(tensors=kept))
    assert twin.imagination.outcome is not None
    assert twin.imagination.outcome_fit is None
    assert len(twin.evaluations.count) == 1
    twin.close()


def test_a_snapshot_can_be_restored_twice():
    """What is restored is the trainer's own, also where reward and termination are learned."""
    config, training = tiny_config(), tiny_training("Pendulum-v1")
    snapshot, found = frozen(after(2, config, training)), []
    for _ in range(2):
        twin = tiny_trainer((0, 1), config, training)
        restore(twin, snapshot)
        found.append(rows_of(twin, 1))
    assert found[0] == found[1]


def test_another_time_limit_is_another_run():
    config = tiny_config()
    snapshot = frozen(after(2, config, tiny_training(steps=STEPS)))
    shorter = tiny_trainer((0, 1), config, tiny_training(steps=STEPS // 2))
    with pytest.raises(ValueError, match=f"were {STEPS} steps long, .* is {STEPS // 2} now"):
        restore(shorter, snapshot)


@pytest.mark.parametrize("name", ["rollouts", "env_steps"])
def test_a_checkpoint_without_its_counters_does_not_fit(name):
    snapshot = frozen(after(1, tiny_config(), tiny_training()))
    counters = {key: value for key, value in snapshot.counters.items() if key != name}
    with pytest.raises(ValueError, match=f"does not fit this configuration: '{name}'"):
        restore(tiny_trainer((0, 1)), Snapshot(snapshot.tensors, counters))


def test_a_checkpoint_of_the_very_start_is_restored():
    trainer = tiny_trainer((0, 1))
    twin = tiny_trainer((0, 1))
    restore(twin, frozen(trainer))
    assert rows_of(twin, 1) == rows_of(trainer, 1)


def test_environments_are_closed_once():
    closed = []

    class Strict(gym.Wrapper):
        def close(self):
            assert self not in closed
            closed.append(self)

    training = tiny_training()
    wrapped = training._replace(make=lambda **options: Strict(training.make(**options)))
    trainer = tiny_trainer((0, 1), training=wrapped)
    trainer.close()
    trainer.close()
    assert len(closed) == 4
