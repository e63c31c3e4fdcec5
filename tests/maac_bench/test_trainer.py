"""Algorithm 1 on small problems: what happens when, and what is made of it."""

from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
import torch

from maac_bench.episodes import Episodes
from maac_bench.model_fitting import refit_model
from maac_bench.presets import ALGORITHMS
from maac_bench.streams import Streams
from maac_bench.trainer import Trainer
from tests.maac_bench.trainers import (
    STEPS,
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


def test_a_time_limit_is_no_end_and_the_last_step_leads_where_it_led(monkeypatch):
    """Truncation is not termination, and what follows a last step is not the next start."""
    steps, step = [], Episodes.step

    def spy(episodes, *arguments):
        steps.append(step(episodes, *arguments))
        return steps[-1]

    trainer = tiny_trainer((0, 1), tiny_config("sac"))
    monkeypatch.setattr(trainer.episodes, "step", partial(spy, trainer.episodes))
    rows_of(trainer, 2)
    data = trainer.real.all()
    assert [bool(one.truncated.all()) for one in steps].count(True) == 2
    assert not data.terminated.any()
    following = torch.from_numpy(np.stack([one.next_state for one in steps], axis=1))
    assert torch.equal(data.next_state, following)


def test_the_training_return_is_what_the_episode_paid():
    trainer = tiny_trainer((0, 1), tiny_config("sac"))
    rows = rows_of(trainer, 2)
    paid = trainer.real.all().reward.unflatten(1, (2, STEPS)).sum(dim=-1)
    for k in (0, 1):
        assert [row["train_return"] for row in rows[k]] == pytest.approx(paid[k].tolist(), rel=1e-5)


def test_it_explores_by_sampled_actions_in_reality_and_in_branches():
    config = tiny_config(branch_length=(1, 1), branch_transitions=50)
    trainer = tiny_trainer((0,), config)
    trainer.rollout()
    start = trainer.agent.policy.replace(
        [p.detach().clone() for p in trainer.agent.policy.parameters]
    )
    trainer.rollout()
    trainer.close()
    with torch.no_grad():
        row = trainer.real.take(torch.tensor([[STEPS]]))  # before the first update
        imagined = trainer.imagination.data.all()
        for data in (row, imagined):
            away = (data.action - start.mean_action(data.state)).abs()
            assert float(away.median()) > 1e-3
    random = trainer.real.all().action[0, :STEPS]
    assert bool((random < -0.3).any())  # both halves of the range
    assert bool((random > 0.3).any())


class Counted(NamedTuple):
    """Streams that tell how far their integers may go, and how many are drawn."""

    streams: Streams
    drawn: list

    def integers(self, high, *shape):
        self.drawn.append((high, *shape))
        return self.streams.integers(high, *shape)

    def __getattr__(self, name):
        return getattr(self.streams, name)

    def __len__(self):
        return len(self.streams)


def test_branches_and_batches_are_drawn_from_all_there_is():
    config = tiny_config(branch_length=(2, 2), branch_transitions=100)
    config = replace(config, data=replace(config.data, model_share=0.75, batch_size=16))
    trainer = tiny_trainer((0,), config)
    rows_of(trainer, 3)
    imagination, drawn = trainer.imagination, []
    stream = Counted(Streams([0], "test"), drawn)
    imagination.branch(trainer.agent, trainer.real, 2, stream)
    assert drawn == [(3 * STEPS, 50)]
    drawn.clear()
    trainer.streams["replay"] = stream
    (batch,) = trainer._batches(1)
    assert drawn == [(3 * STEPS, 1, 4), (len(imagination.data), 1, 12)]
    known = {tuple(state.tolist()) for state in trainer.real.all().state[0]}
    assert all(tuple(state.tolist()) in known for state in batch.state[0, :4])
    assert batch.reward.shape == (1, 16)


def test_updates_in_a_row_are_on_batches_of_their_own():
    trainer, seen = tiny_trainer((0, 1), tiny_config(updates_per_step=3)), []
    whole = trainer._step

    def spy(world, batch):
        seen.append(batch.state)
        return whole(world, batch)

    trainer._step = spy
    rows_of(trainer, 2)
    assert trainer.updates == len(seen) == 3 * STEPS
    for first, second in pairwise(seen):
        assert not torch.equal(first, second)
    for report in trainer.learn(2):
        assert report["critic_loss"].shape == (2,)
    assert trainer.updates == 3 * STEPS + 2


def test_every_fit_and_every_diagnosis_draws_anew():
    purposes = []

    def watched(purpose):
        purposes.append(purpose)
        return fresh(purpose)

    trainer = tiny_trainer((0,))
    fresh = trainer.fresh_streams
    trainer.fresh_streams = trainer.imagination._streams = watched
    rows_of(trainer, 3)
    assert any(purpose.startswith("bootstrap-model") for purpose in purposes)
    assert any(purpose.startswith("episode") for purpose in purposes)
    assert len(set(purposes)) == len(purposes)


def test_evaluations_are_as_many_as_asked_for():
    config = replace(tiny_config("sac"), evaluations=3)
    trainer = tiny_trainer((0,), config)
    trainer.rollout()
    assert trainer.evaluations.count == [3]  # nothing learned yet: nothing diagnosed
    trainer.rollout()
    assert trainer.evaluations.count == [3 + 3 + 1]
    trainer.close()


@pytest.mark.parametrize(("own", "used"), [(None, 0.99), (0.5, 0.5), (0.0, 0.0)])
def test_the_discount_is_the_tasks_unless_it_is_set(own, used):
    trainer = tiny_trainer((0,), replace(tiny_config("sac"), discount=own))
    assert trainer.imagination.world.discount == used
    trainer.close()


def test_gradients_are_diagnosed_at_real_states(monkeypatch):
    batches = []

    def spy(agent, world, episode, batch, noise):
        batches.append(batch)
        return {}

    monkeypatch.setattr("maac_bench.trainer.agent_columns", spy)
    trainer = tiny_trainer((0,))
    rows_of(trainer, 2)
    known = {tuple(state.tolist()) for state in trainer.real.all().state[0]}
    assert all(tuple(state.tolist()) in known for state in batches[0].state[0])


def test_one_member_that_is_not_finite_stops_its_seed(monkeypatch):
    def spy(ensemble, pairs, *arguments):
        fitted, report = refit_model(ensemble, pairs, *arguments)
        report.validation_nll[1, 1] = torch.inf
        return fitted, report

    monkeypatch.setattr("maac_bench.imagination.refit_model", spy)
    trainer = tiny_trainer((5, 6))
    rows_of(trainer, 2)
    assert [failure.seed for failure in trainer.failures] == [6]
    assert "the model's validation loss is not finite" in trainer.failures[0].reason


def test_a_prediction_that_is_not_finite_stops_its_seed(monkeypatch):
    """And one that an episode is too short for does not."""
    columns = {
        "prediction_error_4": torch.tensor([torch.nan, 0.5]),
        "prediction_error_8": torch.tensor([1.0, torch.inf]),
    }
    monkeypatch.setattr("maac_bench.trainer.model_columns", lambda *_: columns)
    trainer = tiny_trainer((5, 6))
    rows = rows_of(trainer, 2)
    assert [failure.seed for failure in trainer.failures] == [6]
    assert "prediction_error_8 is not finite" in trainer.failures[0].reason
    assert "prediction_error_4" not in rows[5][-1]


def test_a_reward_that_is_not_finite_is_blamed_itself():
    trainer = tiny_trainer((5, 6))
    step = trainer.episodes.step

    def unpaid(action):
        found = step(action)
        found.reward[1] = np.nan
        return found

    trainer.episodes.step = unpaid
    rows_of(trainer, 2)
    assert [failure.seed for failure in trainer.failures] == [6]
    assert "the environment's reward is not finite" in trainer.failures[0].reason
