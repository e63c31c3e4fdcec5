"""Reward and termination learned from transitions."""

from dataclasses import replace

import pytest
import torch

from maac_bench.dynamics import Ensemble
from maac_bench.model_fitting import ModelConfig, new_ensemble, refit_model
from maac_bench.nets import MLP, Normalizer
from maac_bench.outcome import LearnedOutcome, outcome_pairs
from maac_bench.streams import Streams
from maac_bench.types import Transition
from tests.maac_bench.trainers import rows_of, tiny_config, tiny_trainer, tiny_training

CONFIG = ModelConfig(members=2, hidden=(32,), max_epochs=40, batch_size=64, learning_rate=3e-3)


def paid_by_place(seeds=(0,), count: int = 1000) -> Transition:
    """Reward s'_0 - 2 a_0; the episode ends where s'_1 is positive."""
    stream = Streams(seeds, "data")
    state, action = stream.normal(count, 2), stream.normal(count, 1)
    following = state + 0.1 * stream.normal(count, 2)
    reward = following[..., 0] - 2.0 * action[..., 0]
    return Transition(state, action, reward, following, (following[..., 1] > 0).float())


def fitted(data: Transition, seeds=(0,), config: ModelConfig = CONFIG) -> LearnedOutcome:
    def streams(purpose):
        return Streams(seeds, purpose)

    pairs = outcome_pairs(data)
    start = new_ensemble(pairs, config, streams("init"))
    return LearnedOutcome(refit_model(start, pairs, config, streams, streams("split"))[0])


def test_reward_its_slope_and_termination_are_learned():
    outcome, new = fitted(paid_by_place()), paid_by_place((7,), 200)
    action = new.action.clone().requires_grad_()
    reward = outcome.reward(new.state, action, new.next_state)
    assert (reward - new.reward).square().mean().sqrt().item() < 0.3
    (slope,) = torch.autograd.grad(reward.sum(), action)
    assert float(slope.mean()) == pytest.approx(-2.0, abs=0.1)
    ended = outcome.terminated(new.state, new.action, new.next_state)
    assert set(ended.unique().tolist()) == {0.0, 1.0}
    assert float((ended == new.terminated).float().mean()) > 0.9


def test_batch_axes_are_broadcast():
    """As a critic target does it: one state for every member's next state."""
    outcome, data = fitted(paid_by_place(), config=replace(CONFIG, max_epochs=1)), paid_by_place()
    state, action, following = (x[:, :6] for x in (data.state, data.action, data.next_state))
    plain = outcome.reward(state, action, following)
    wide = outcome.reward(
        state.unsqueeze(1), action.unsqueeze(1), following.unsqueeze(1).expand(1, 4, 6, 2)
    )
    assert wide.shape == (1, 4, 6)
    torch.testing.assert_close(wide[:, 3], plain)


def test_another_fit_is_taken_over_in_place():
    short = replace(CONFIG, max_epochs=2)
    outcome = fitted(paid_by_place(), config=short)
    other = fitted(paid_by_place((3,)), (3,), short)
    data, before = paid_by_place((5,), 10), outcome.ensemble.parameters[0]
    expected = other.reward(data.state, data.action, data.next_state)
    assert not torch.equal(outcome.reward(data.state, data.action, data.next_state), expected)
    outcome.copy_(other.ensemble)
    assert torch.equal(outcome.reward(data.state, data.action, data.next_state), expected)
    assert outcome.ensemble.parameters[0] is before


def test_an_episode_that_never_ends_is_never_ended():
    data = paid_by_place()._replace(terminated=torch.zeros(1, 1000))
    outcome = fitted(data, config=replace(CONFIG, max_epochs=3))
    assert not outcome.terminated(data.state, data.action, data.next_state).any()


def test_a_task_without_functions_of_its_own_is_trained_on_learned_ones():
    training = tiny_training("Pendulum-v1")
    assert training.learns_outcome
    trainer = tiny_trainer((0, 1), tiny_config(), training)
    rows = rows_of(trainer, 2)
    assert not trainer.failures
    assert rows[0][-1]["updates"] == 20
    report = trainer.imagination.outcome_fit
    assert rows[1][-1]["outcome_nll_1"] == float(report.validation_nll[1, 1])
    data = trainer.imagination.data.all()
    expected = trainer.imagination.outcome.reward(data.state, data.action, data.next_state)
    torch.testing.assert_close(data.reward, expected)
    with pytest.raises(ValueError, match="not known before they are learned"):
        training.task.reward(data.state, data.action, data.next_state)


def test_the_outcome_is_the_members_mean_of_all_three_parts():
    """Members that say s'_0 + s_0 + a_0 and three times that, for reward and end alike."""
    weight = torch.zeros(1, 2, 5, 4)
    for inputs in (0, 2, 3):  # s_0, a_0, s'_0
        weight[0, :, inputs, 0] = torch.tensor([1.0, 3.0])
        weight[0, :, inputs, 1] = torch.tensor([0.1, 0.3])
    net = MLP((weight,), (torch.zeros(1, 2, 4),), "relu", False)
    inputs, targets = (Normalizer(torch.zeros(1, size), torch.ones(1, size)) for size in (5, 2))
    outcome = LearnedOutcome(Ensemble(net, inputs, targets))
    data = paid_by_place((0,), 50)
    total = data.state[..., 0] + data.action[..., 0] + data.next_state[..., 0]
    found = outcome.reward(data.state, data.action, data.next_state)
    torch.testing.assert_close(found, 2.0 * total)
    ended = outcome.terminated(data.state, data.action, data.next_state)
    assert torch.equal(ended, (0.2 * total > 0.5).float())


def test_every_seed_has_its_own_scale_of_rewards():
    net = MLP((torch.ones(2, 2, 5, 4),), (torch.zeros(2, 2, 4),), "relu", False)
    targets = Normalizer(
        torch.tensor([[0.0, 0.0], [7.0, 0.0]]), torch.tensor([[1.0, 1.0], [3.0, 1.0]])
    )
    inputs = Normalizer(torch.zeros(2, 5), torch.ones(2, 5))
    outcome = LearnedOutcome(Ensemble(net, inputs, targets))
    state, action = torch.ones(2, 6, 2), torch.ones(2, 6, 1)
    assert outcome.reward(state, action, state)[:, 0].tolist() == [5.0, 22.0]


def test_one_state_serves_several_actions():
    net = MLP((torch.ones(1, 2, 5, 4),), (torch.zeros(1, 2, 4),), "relu", False)
    inputs, targets = (Normalizer(torch.zeros(1, size), torch.ones(1, size)) for size in (5, 2))
    outcome = LearnedOutcome(Ensemble(net, inputs, targets))
    state, action = torch.ones(1, 1, 6, 2), torch.ones(1, 4, 6, 1)
    assert outcome.reward(state, action, state).shape == (1, 4, 6)


def test_the_outcome_is_fitted_again_with_the_model():
    trainer = tiny_trainer((0,), tiny_config(), tiny_training("Pendulum-v1"))
    trainer.rollout()
    trainer.rollout()
    before = [p.clone() for p in trainer.imagination.outcome.ensemble.parameters]
    scale = trainer.imagination.outcome.ensemble.targets.mean.clone()
    trainer.rollout()
    trainer.close()
    after = trainer.imagination.outcome.ensemble
    assert not torch.equal(after.targets.mean, scale)
    assert any(not torch.equal(p, q) for p, q in zip(after.parameters, before, strict=True))
