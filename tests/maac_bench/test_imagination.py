"""What is learned from real transitions, and imagined from it: fits, elites, branches."""

from dataclasses import replace

import pytest
import torch

from maac_bench.dynamics import Ensemble
from maac_bench.ensemble_training import Trainees
from maac_bench.imagination import Imagination
from maac_bench.model_fitting import refit_model
from maac_bench.streams import Streams
from tests.maac_bench.trainers import (
    STEPS,
    hopper,
    rows_of,
    tiny_config,
    tiny_trainer,
)


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


@pytest.mark.filterwarnings("ignore:.*settotalmass.*")
def test_a_branch_that_has_ended_does_not_begin_again():
    """A rollout goes on from its start after an end; of that nothing is kept."""
    config = tiny_config(branch_length=(4, 4), branch_transitions=200, model_capacity=200)
    trainer = tiny_trainer((0, 1), config, hopper(30))
    rows_of(trainer, 2)
    trainer.imagination.branch(trainer.agent, trainer.real, 4, Streams([0, 1], "test"))
    data = trainer.imagination.data.all()
    assert data.terminated.mean() > 0
    for real, state, action in zip(trainer.real.all().state, data.state, data.action, strict=True):
        known = {tuple(row.tolist()) for row in real}
        rows = {(tuple(s.tolist()), tuple(a.tolist())) for s, a in zip(state, action, strict=True)}
        assert sum(s in known for s, _ in rows) <= 50  # each of the 200 / 4 branches once


def test_every_fit_holds_out_by_the_same_draw(monkeypatch):
    splits = []

    def spy(ensemble, pairs, config, streams, split, *rest):
        splits.append(split.state())
        return refit_model(ensemble, pairs, config, streams, split, *rest)

    monkeypatch.setattr("maac_bench.imagination.refit_model", spy)
    rows_of(tiny_trainer((0, 1)), 3)
    assert len(splits) == 2
    assert torch.equal(splits[0], splits[1])


def test_a_fit_takes_no_more_steps_than_the_configuration_allows(monkeypatch):
    taken, learn = [], Trainees.learn

    def spy(trainees, *arguments):
        taken.append(trainer.env_steps)
        learn(trainees, *arguments)

    monkeypatch.setattr(Trainees, "learn", spy)
    trainer = tiny_trainer((0,), tiny_config(random_rollouts=4, refit_steps=3))
    rows_of(trainer, 6)
    assert taken == [4 * STEPS] * 3 + [5 * STEPS] * 3


def test_bounded_critics_are_told_the_least_and_the_largest_reward():
    trainer = tiny_trainer((0, 1), tiny_config("maac-plus"))
    trainer.rollout()
    seen, rewards = trainer.imagination.world.rewards, trainer.real.all().reward
    assert torch.equal(seen.low, rewards.amin(dim=1))
    assert torch.equal(seen.high, rewards.amax(dim=1))
    assert bool((seen.low > 0).any())  # which a start from zero would not find
    assert tiny_trainer((0,)).imagination.world.rewards is None


def test_branches_grow_along_their_ramp(monkeypatch):
    lengths, branch = [], Imagination.branch

    def spy(imagination, agent, real, length, stream):
        lengths.append(length)
        return branch(imagination, agent, real, length, stream)

    monkeypatch.setattr(Imagination, "branch", spy)
    config = tiny_config(branch_length=(1, 3), branch_ramp=(1, 3))
    rows_of(tiny_trainer((0,), config), 4)
    assert lengths == [1, 2, 3]


def test_the_members_that_serve_are_those_that_branch():
    config = tiny_config(branch_length=(1, 1), branch_transitions=40)
    trainer = tiny_trainer((0,), config)
    rows_of(trainer, 2)
    imagination = trainer.imagination
    serving = imagination.model.choose(torch.tensor([[1]]))._replace(noisy=False)
    imagination.world = imagination.world._replace(model=serving)
    imagination.branch(trainer.agent, trainer.real, 1, Streams([0], "test"))
    rows = imagination.data.all()
    newest = [field[:, -40:] for field in (rows.state, rows.action, rows.next_state)]
    mean, _ = serving.predict(newest[0].unsqueeze(1), newest[1].unsqueeze(1))
    torch.testing.assert_close(newest[2], newest[0] + serving.targets.inverse(mean)[:, 0])
