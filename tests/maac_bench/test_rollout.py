import numpy as np
import pytest
import torch

from maac_bench.objectives.pathwise import actor_terms
from maac_bench.rollout import draw_rollout_noise, draw_terminal, rollout, transitions
from maac_bench.streams import Streams
from tests.maac_bench.agents import tagged_model
from tests.maac_bench.problems import make_case

pytestmark = pytest.mark.usefixtures("float64")


def run(horizon=4, stack=2, batch=3, terminated=None):
    case = make_case(stack)
    problem = case.problem
    if terminated is not None:
        problem = problem._replace(terminated=terminated)
    start = case.start(Streams(range(stack), "start"), batch)
    noise = draw_rollout_noise(
        Streams(range(stack), "noise"), problem.dynamics, horizon, (batch,), 3, 2
    )
    return case, problem, noise, rollout(problem, case.policy, start, noise)


def test_rollout_follows_the_equations():
    case, _, noise, trajectory = run()
    lqg, L = case.lqg, np.linalg.cholesky(case.lqg.action_cov)
    F = case.problem.dynamics.noise_factor.numpy()
    np.testing.assert_allclose(F @ F.T, lqg.W, atol=1e-12)
    for t in range(4):
        s, s_next = trajectory.states[t].numpy(), trajectory.states[t + 1].numpy()
        a = -s @ case.gain.T + noise.action[t].numpy() @ L.T
        np.testing.assert_allclose(trajectory.actions[t].value.numpy(), a, atol=1e-12)
        expected = s @ lqg.A.T + a @ lqg.B.T + noise.model[t].normal.numpy() @ F.T
        np.testing.assert_allclose(s_next, expected, atol=1e-12)
        reward = -np.einsum("...i,ij,...j", s, lqg.Q, s) - np.einsum("...i,ij,...j", a, lqg.R, a)
        np.testing.assert_allclose(trajectory.rewards[t].numpy(), reward, atol=1e-12)
        np.testing.assert_allclose(trajectory.discounts[t].numpy(), lqg.gamma**t)


def test_the_discount_stays_zero_after_termination():
    calls = iter([0.0, 1.0, 0.0, 0.0])

    def terminated(state, action, next_state):
        return torch.full_like(state[..., 0], next(calls))

    case, _, _, trajectory = run(terminated=terminated)
    gamma = case.lqg.gamma
    discounts = [float(d.mean()) for d in trajectory.discounts]
    assert discounts == pytest.approx([1.0, gamma, 0.0, 0.0, 0.0])
    assert [bool(one.all()) for one in trajectory.alive] == [True, True, False, False]
    assert not trajectory.alive[2].any()


def test_zero_transitions_is_only_the_start():
    _, _, _, trajectory = run(horizon=0)
    assert len(trajectory.states) == len(trajectory.discounts) == 1
    assert trajectory.actions == trajectory.rewards == trajectory.alive == ()


def test_transitions_are_the_rollout_step_by_step():
    _, problem, _, trajectory = run()
    data = transitions(trajectory)
    assert data.state.shape == (2, 12, 3)
    assert data.reward.shape == data.terminated.shape == (2, 12)
    torch.testing.assert_close(data.state[:, 3:6], trajectory.states[1])
    torch.testing.assert_close(data.next_state[:, 3:6], trajectory.states[2])
    torch.testing.assert_close(data.action[:, 9:], trajectory.actions[3].value)
    torch.testing.assert_close(data.reward[:, :3], trajectory.rewards[0])
    torch.testing.assert_close(
        problem.reward(data.state, data.action, data.next_state), data.reward
    )


def test_noise_that_does_not_match_in_length_is_refused():
    case, problem, noise, _ = run()
    with pytest.raises(ValueError, match="action noises do not fit"):
        rollout(problem, case.policy, torch.zeros(2, 3, 3), noise._replace(model=noise.model[:-1]))


@pytest.mark.parametrize("horizon", [0, 2])
def test_noise_of_another_batch_is_refused(horizon):
    case, problem, noise, _ = run(horizon)
    complaint = r"noise of batch \[2, 3\] does not fit start states of batch \[2, 4\]"
    with pytest.raises(ValueError, match=complaint):
        actor_terms(problem, case.policy, torch.zeros(2, 4, 3), noise)
    action = tuple(torch.zeros(2, 5, 2) for _ in noise.action)
    if action:
        with pytest.raises(ValueError, match=r"noise of batch \[2, 5\]"):
            rollout(problem, case.policy, torch.zeros(2, 3, 3), noise._replace(action=action))
        model = tuple(m._replace(normal=torch.zeros(2, 7, 3)) for m in noise.model)
        with pytest.raises(ValueError, match=r"noise of batch \[2, 7\] does not fit .* \[2, 3\]"):
            rollout(problem, case.policy, torch.zeros(2, 1, 3), noise._replace(model=model))
    once = rollout(problem, case.policy, torch.zeros(2, 1, 3), noise)
    assert once.discounts[-1].shape == ((2, 3) if horizon else (2, 1)), "one state for all noises"


def test_critics_without_an_axis_of_their_own_are_refused():
    """The smallest critic would be the smallest over seeds."""
    case, problem, noise, _ = run()
    one = problem._replace(critic=lambda state, action: -state.square().sum(dim=-1))
    with pytest.raises(ValueError, match=r"must give \[critics, \*batch\].*they gave \[2, 3, 1\]"):
        actor_terms(one, case.policy, torch.zeros(2, 3, 3), noise)


def test_every_row_ends_in_its_own_time():
    """Row k ends after its k-th step; the third one goes on."""
    step = [0]

    def terminated(state, action, next_state):
        step[0] += 1
        return (torch.arange(3) == step[0] - 1).to(state.dtype).expand(state.shape[:-1])

    case, _, _, trajectory = run(horizon=2, stack=1, terminated=terminated)
    gamma = case.lqg.gamma
    assert [d[0].tolist() for d in trajectory.discounts] == [
        pytest.approx(row) for row in ([1, 1, 1], [0, gamma, gamma], [0, 0, gamma**2])
    ]


def test_a_sample_has_a_new_member_at_every_step():
    ensemble = tagged_model(1.0, 2.0)
    noise = draw_rollout_noise(Streams([0], "noise"), ensemble, 3, (64,), 3, 2)
    slots = [one.slots for one in noise.model]
    assert not torch.equal(slots[0], slots[1])
    assert not torch.equal(slots[1], slots[2])


@pytest.mark.parametrize(
    ("field", "found", "message"),
    [
        ("reward", lambda s, a, n: -s.square().sum(dim=-1, keepdim=True), "rewards must be"),
        ("terminated", lambda s, a, n: n[..., :1], "terminations must be"),
        ("terminated", lambda s, a, n: n[..., 0] > 1, r"terminations .* got torch.bool"),
        ("reward", lambda s, a, n: 2.0, "rewards must be floating-point tensors, got float"),
        ("reward", lambda s, a, n: s.new_ones(2, 4), r"rewards .* \[2, 3\], got \[2, 4\]"),
    ],
)
def test_functions_of_another_shape_than_the_batch_are_refused(field, found, message):
    """With one more axis, every sample's discount would meet the rewards of all."""
    case, problem, noise, trajectory = run()
    with pytest.raises(ValueError, match=message):
        rollout(problem._replace(**{field: found}), case.policy, trajectory.states[0], noise)


def test_a_reward_that_is_the_same_for_all_may_be_one_number():
    case, problem, noise, trajectory = run()
    for constant in (torch.tensor(2.0), torch.full((3,), 2.0), torch.full((2, 1), 2.0)):
        same = problem._replace(reward=lambda s, a, n, constant=constant: constant)
        found = rollout(same, case.policy, trajectory.states[0], noise)
        data = transitions(found)
        assert data.reward.shape == data.state.shape[:-1]
        assert (data.reward == 2.0).all()


@pytest.mark.parametrize("batch", [(1, 5), (2, 1), (1, 1), (2, 5)])
def test_terminal_actions_share_noise_along_axes_of_one(batch):
    case, problem, _, _ = run(batch=5)
    state = torch.randn(2, 5, 3)
    noise = torch.randn(*batch, 4, 2)
    shared = draw_terminal(problem, case.policy, state, noise)
    each = draw_terminal(problem, case.policy, state, noise.expand(2, 5, 4, 2))
    assert shared.values.shape == (*each.values.shape[:1], 2, 5, 4)
    torch.testing.assert_close(shared.values, each.values)
    with pytest.raises(ValueError, match="does not fit start states of batch"):
        draw_terminal(problem, case.policy, state, torch.randn(2, 3, 4, 2))
