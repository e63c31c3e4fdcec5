import pytest
import torch

from maac_bench.objectives.soft_bellman import soft_bellman_target
from maac_bench.objectives.value_expansion import (
    candidate_variances,
    expansion_candidates,
    path_targets,
    steve_weights,
)
from maac_bench.rollout import rollout
from maac_bench.types import Action, ModelNoise, Problem, RolloutNoise, Trajectory

pytestmark = pytest.mark.usefixtures("float64")


def imagined(rewards, log_probs, discounts) -> Trajectory:
    """A trajectory of one sample, which ends where its discount becomes 0."""
    actions = [Action(torch.zeros(1, 1), torch.zeros(1, 1), torch.tensor([x])) for x in log_probs]
    return Trajectory(
        (),
        tuple(actions),
        tuple(torch.tensor([x]) for x in rewards),
        tuple(torch.tensor([x]) for x in discounts),
        (),
        tuple(torch.tensor([float(x == 0)]) for x in discounts[1:]),
    )


def candidates_of(*each) -> torch.Tensor:
    """Candidates [H + 1, critics, 1, members, 1] from nested lists [critics][members]."""
    return torch.tensor(each).reshape(len(each), len(each[0]), 1, -1, 1)


def test_the_zeroth_candidate_is_the_soft_bellman_target():
    reward, log_prob = torch.randn(2, 6)
    discount = 0.9 * torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    values, alpha = torch.randn(2, 6), torch.tensor(0.3)
    start = Trajectory((), (), (), (torch.ones(6),), (), ())
    candidates = expansion_candidates(reward, discount, start, [values - alpha * log_prob], alpha)
    assert candidates.shape == (1, 2, 6)
    expected = soft_bellman_target(reward, discount, values, log_prob, alpha)
    torch.testing.assert_close(candidates[0].amin(dim=0), expected)


def test_candidates_are_the_sums_worked_out_by_hand():
    values = [torch.tensor([x]) for x in (10.0, 20.0, 30.0)]
    path = imagined([2.0, 3.0], [-1.0, 4.0], [1.0, 0.9, 0.81])
    candidates = expansion_candidates(torch.tensor([1.0]), torch.tensor([0.5]), path, values, 0.5)
    first, second = 2.0 + 0.5, 3.0 - 2.0
    assert candidates.flatten().tolist() == pytest.approx(
        [
            1.0 + 0.5 * 10.0,
            1.0 + 0.5 * (first + 0.9 * 20.0),
            1.0 + 0.5 * (first + 0.9 * second + 0.81 * 30.0),
        ]
    )


@pytest.mark.parametrize("temperature", [0, 0.0])
def test_without_a_temperature_infinite_densities_do_not_count(temperature):
    """A deterministic policy's."""
    path, one = imagined([2.0], [float("inf")], [1.0, 0.9]), torch.ones(1)
    candidates = expansion_candidates(one, 0.5 * one, path, [one, 10.0 * one], temperature)
    assert candidates.flatten().tolist() == [1.5, 1.0 + 0.5 * (2.0 + 9.0)]
    path = imagined([2.0, 3.0], [float("inf")] * 2, [1.0, 0.9, 0.81])
    targets = path_targets(path, 10.0 * one, 0.9, temperature)
    assert torch.cat(targets).tolist() == pytest.approx([2.0 + 0.9 * 12.0, 12.0])


def test_nothing_counts_after_a_real_end():
    values = [torch.tensor([x]) for x in (10.0, 20.0)]
    path = imagined([2.0], [0.0], [1.0, 0.9])
    candidates = expansion_candidates(torch.tensor([1.0]), torch.tensor([0.0]), path, values)
    assert candidates.flatten().tolist() == [1.0, 1.0]


class Climb:
    """s' = s + 1."""

    members = 0

    def step(self, state, action, noise):
        return state + 1.0


class Still:
    """A policy that does nothing, with log-density 0."""

    def sample(self, state, noise):
        return Action(
            torch.zeros_like(noise), torch.zeros_like(noise), torch.zeros(state.shape[:-1])
        )


def test_nothing_counts_after_an_imagined_end():
    """Rewards 1, 2, 3, 4; the second step ends the episode, and the third would not."""

    def ends(state, action, next_state):
        return (next_state[..., 0] == 2.0).double()

    problem = Problem(Climb(), lambda s, a, s_next: s_next[..., 0], ends, None, 0.5)
    noise = RolloutNoise((torch.zeros(1, 1),) * 4, (ModelNoise(torch.zeros(1, 1)),) * 4, None)
    path = rollout(problem, Still(), torch.zeros(1, 1), noise)
    values = [torch.full((1,), 100.0)] * 5
    candidates = expansion_candidates(torch.tensor([7.0]), torch.tensor([0.5]), path, values)
    whole = 7.0 + 0.5 * (1.0 + 0.5 * 2.0)
    one_step = 7.0 + 0.5 * (1.0 + 0.5 * 100.0)
    assert candidates.flatten().tolist() == [57.0, one_step, whole, whole, whole]


def test_targets_along_a_path_are_the_sums_worked_out_by_hand():
    path = imagined([2.0, 3.0], [-1.0, 4.0], [1.0, 0.9, 0.81])
    targets = path_targets(path, torch.tensor([30.0]), 0.9, 0.5)
    last = 3.0 + 0.9 * 30.0
    first = 2.0 + 0.9 * (last - 0.5 * 4.0)  # its own action's entropy is no part of Q
    assert torch.cat(targets).tolist() == pytest.approx([first, last])


def test_targets_along_a_path_stop_where_it_ends():
    """The second of three steps ends the episode."""
    path = imagined([2.0, 3.0, 5.0], [0.0, 0.0, 0.0], [1.0, 0.9, 0.0, 0.0])
    targets = torch.cat(path_targets(path, torch.tensor([30.0]), 0.9))
    assert torch.isfinite(targets).all()
    assert targets[:2].tolist() == pytest.approx([2.0 + 0.9 * 3.0, 3.0])


def test_a_discount_of_zero_is_no_end():
    """Every step is its reward, and all of them count."""
    path = imagined([2.0, 3.0], [-1.0, 4.0], [1.0, 0.0, 0.0])
    path = path._replace(ended=(torch.zeros(1),) * 2)
    assert torch.cat(path_targets(path, torch.tensor([30.0]), 0.0)).tolist() == [2.0, 3.0]
    assert [bool(one) for one in path.alive] == [True, True]


def test_one_step_along_a_path_is_the_soft_bellman_target():
    """So is the last step of any; the state value is the critic's less the entropy."""
    values, log_prob, alpha = torch.tensor([[7.0], [9.0]]), torch.tensor([0.3]), 0.2
    path = imagined([2.0], [5.0], [1.0, 0.9])
    (target,) = path_targets(path, values.amin(dim=0) - alpha * log_prob, 0.9, alpha)
    reward, discount = torch.tensor([2.0]), torch.tensor([0.9])
    expected = soft_bellman_target(reward, discount, values, log_prob, alpha)
    torch.testing.assert_close(target, expected)


def test_the_zero_step_spread_is_the_critics_and_unbiased():
    """Critics say 1 and 3: variance 2, whatever the number of members."""
    for members in (1, 4):
        candidates = torch.tensor([1.0, 3.0]).reshape(1, 2, 1, 1, 1).expand(1, 2, 1, members, 1)
        assert candidate_variances(candidates).tolist() == [[[2.0]]]


def test_later_spreads_are_over_members_and_critics():
    candidates = candidates_of([[1.0, 1.0], [3.0, 3.0]], [[1.0, 2.0], [3.0, 6.0]])
    variances = candidate_variances(candidates).flatten()
    assert variances.tolist() == pytest.approx(
        [2.0, float(torch.tensor([1.0, 2.0, 3.0, 6.0]).var())]
    )


def test_spread_is_per_seed_and_sample():
    candidates = torch.randn(3, 2, 4, 5, 6)
    variances = candidate_variances(candidates)
    assert variances.shape == (3, 4, 6)
    expected = candidates[2, :, 3, :, 1].flatten().var()
    torch.testing.assert_close(variances[2, 3, 1], expected)


def test_one_critic_and_one_member_have_no_spread():
    variances = candidate_variances(torch.randn(3, 1, 2, 1, 4))
    assert torch.equal(variances, torch.zeros(3, 2, 4))
    torch.testing.assert_close(steve_weights(variances), torch.full((3, 2, 4), 1 / 3))


def test_one_critic_leaves_the_members_spread():
    candidates = candidates_of([[5.0, 5.0, 5.0]], [[1.0, 2.0, 6.0]])
    assert candidate_variances(candidates).flatten().tolist() == pytest.approx([0.0, 7.0])


def test_weights_are_inverse_variances_that_sum_to_one():
    variances = torch.rand(4, 3, 5) + 0.1
    weights = steve_weights(variances)
    torch.testing.assert_close(weights.sum(dim=0), torch.ones(3, 5))
    torch.testing.assert_close(weights / weights[0], variances[0] / variances)


def test_a_certain_candidate_takes_all_the_weight():
    weights = steve_weights(torch.tensor([2.0, 0.0, 1.0]))
    assert weights[1] > 1.0 - 1e-9
    assert (weights >= 0).all()


def test_without_any_spread_all_weigh_the_same():
    assert steve_weights(torch.zeros(4, 1)).flatten().tolist() == [0.25] * 4


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_weights_do_not_depend_on_the_unit_of_reward(unit):
    candidates = torch.randn(3, 2, 1, 4, 8).float()
    weights, scaled = (
        steve_weights(candidate_variances(scale * candidates)) for scale in (1.0, unit)
    )
    torch.testing.assert_close(scaled, weights)
