"""Algorithm 1 on small problems: what happens when, and what is made of it."""

from dataclasses import replace

import pytest
import torch

from maac_bench.dynamics import Ensemble
from maac_bench.model_fitting import held_out_rows, refit_model
from maac_bench.presets import ALGORITHMS
from maac_bench.streams import Streams
from maac_bench.trainer import Trainer
from tests.maac_bench.trainers import (
    STEPS,
    hopper,
    rows_of,
    tiny_config,
    tiny_trainer,
    tiny_training,
)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_trains(algorithm):
    trainer = tiny_trainer((0,), tiny_config(algorithm), tiny_training(steps=10))
    rows = rows_of(trainer, 2)[0]
    assert rows[-1]["updates"] == 10
    assert ("model_nll_0" in rows[-1]) is trainer.config.uses_model
    assert (len(trainer.imagination.data) > 0) is (trainer.config.data.model_rows > 0)
    assert not trainer.failures


def counting(trainer: Trainer, name: str) -> list[int]:
    """The environment steps at which that method is called."""
    calls, method = [], getattr(trainer, name)

    def called():
        calls.append(trainer.env_steps)
        return method()

    setattr(trainer, name, called)
    return calls


def test_fits_branches_and_updates_come_when_they_are_due():
    config = tiny_config(
        random_rollouts=2, refit_every=15, branch_every=5, updates_per_step=2, branch_transitions=50
    )
    trainer = tiny_trainer((0,), config, tiny_training(steps=10))
    fits, branches = counting(trainer, "_fit_model"), counting(trainer, "_branch")
    rows = rows_of(trainer, 4)[0]
    assert fits == [20, 35]
    assert branches == [20, 25, 30, 35]
    assert [row["updates"] for row in rows] == [0, 0, 20, 40]
    assert [row["env_steps"] for row in rows] == [10, 20, 30, 40]
    assert [row["rollout"] for row in rows] == [1, 2, 3, 4]
    assert trainer.real.added == 40
    assert trainer.imagination.data.added == 4 * 50


def test_every_real_step_is_in_the_replay_as_it_happened():
    trainer = tiny_trainer((0, 1), tiny_config("sac"))
    rows_of(trainer, 2)
    data = trainer.real.all()
    torch.testing.assert_close(data.next_state[:, : STEPS - 1], data.state[:, 1:STEPS])
    torch.testing.assert_close(
        data.reward, trainer.task.reward(data.state, data.action, data.next_state)
    )
    assert (data.action.abs() <= 1).all()


def test_branches_start_at_real_states_and_follow_the_model():
    config = tiny_config(branch_length=(3, 3), branch_transitions=30)
    config = replace(config, model=replace(config.model, members=1, noisy=False))
    trainer = tiny_trainer((0, 1), config)
    rows_of(trainer, 2)
    data, real = trainer.imagination.data.all(), trainer.real.all().state
    for k in range(2):
        known = {tuple(state.tolist()) for state in real[k]}
        assert all(tuple(state.tolist()) in known for state in data.state[k, :10])
    torch.testing.assert_close(data.state[:, 10:], data.next_state[:, :20])
    model = trainer.imagination.world.model
    assert isinstance(model, Ensemble)
    mean, _ = model.predict(data.state.unsqueeze(1), data.action.unsqueeze(1))
    torch.testing.assert_close(data.next_state, data.state + model.targets.inverse(mean)[:, 0])


def test_the_best_members_serve_and_all_are_fitted_further(monkeypatch):
    """Each seed has its own elite; which it is can change from fit to fit."""
    begun = []

    def spy(ensemble, *args):
        begun.append(ensemble)
        return refit_model(ensemble, *args)

    monkeypatch.setattr("maac_bench.imagination.refit_model", spy)
    trainer = tiny_trainer((0, 1, 2), tiny_config("mbpo"))
    rows_of(trainer, 3)
    assert trainer.imagination.model is not None
    assert trainer.imagination.fit is not None
    assert trainer.imagination.world.model is not None
    assert [ensemble.members for ensemble in begun] == [2, 2]
    assert trainer.imagination.world.model.members == 1
    best = trainer.imagination.fit.validation_nll.argmin(dim=1)
    for elite, every in zip(
        trainer.imagination.world.model.parameters,
        trainer.imagination.model.parameters,
        strict=True,
    ):
        for k in range(3):
            assert torch.equal(elite[k, 0], every[k, best[k]])


@pytest.mark.filterwarnings("ignore:.*settotalmass.*")
def test_branches_that_have_ended_are_not_followed():
    """Steps after an imagined fall are no data: every row but the last of its branch goes on."""
    config = tiny_config(branch_length=(4, 4), branch_transitions=200)
    trainer = tiny_trainer((0, 1), config, hopper(30))
    rows_of(trainer, 2)
    data = trainer.imagination.data.all()
    fallen = trainer.task.terminated(data.state, data.action, data.next_state)
    assert torch.equal(fallen, data.terminated)
    began = trainer.task.terminated(data.state, data.action, data.state)
    assert not began.any(), "no branch goes on from a fallen state"
    assert 0 < data.terminated.mean() < 1


def test_every_fit_holds_out_by_the_same_draw(monkeypatch):
    splits = []

    def spy(ensemble, pairs, config, streams, split):
        splits.append(split.state())
        return refit_model(ensemble, pairs, config, streams, split)

    monkeypatch.setattr("maac_bench.imagination.refit_model", spy)
    rows_of(tiny_trainer((0, 1)), 3)
    assert len(splits) == 2
    assert torch.equal(splits[0], splits[1])


def test_what_is_held_out_stays_held_out_as_data_grow():
    held, train = held_out_rows(40, 0.2, Streams([0, 1], "split"))
    more_held, more_train = held_out_rows(97, 0.2, Streams([0, 1], "split"))
    assert held.shape == (2, 8)
    assert torch.equal(more_held[:, :8], held)
    for k in range(2):
        assert set(held[k].tolist()) | set(train[k].tolist()) == set(range(40))
        assert not set(train[k].tolist()) & set(more_held[k].tolist())
        # The last two wait until it is known which one of five is held out.
        assert set(more_held[k].tolist()) | set(more_train[k].tolist()) == set(range(95))
    assert not torch.equal(held[0], held[1])


def test_bounded_critics_are_told_the_least_and_the_largest_reward():
    trainer = tiny_trainer((0, 1), tiny_config("maac-plus"))
    trainer.rollout()
    seen, rewards = trainer.imagination.world.rewards, trainer.real.all().reward
    assert torch.equal(seen.low, rewards.amin(dim=1))
    assert torch.equal(seen.high, rewards.amax(dim=1))
    assert bool((seen.low > 0).any())  # which a start from zero would not find
    assert tiny_trainer((0,)).imagination.world.rewards is None
