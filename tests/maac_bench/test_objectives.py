import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.distributions import Normal

import analytic
from maac_bench.objectives.likelihood import gaussian_nll
from maac_bench.objectives.pathwise import actor_objective, h_step_return, path_entropy
from maac_bench.objectives.soft_bellman import soft_bellman_target
from maac_bench.objectives.temperature import temperature_loss
from maac_bench.rollout import Terminal, draw_rollout_noise
from maac_bench.streams import Streams
from maac_bench.types import Action, Trajectory
from tests.maac_bench.problems import make_case, squashed_policy

pytestmark = pytest.mark.usefixtures("float64")


def noise_for(case, horizon, batch, terminal=1, stack=1):
    return draw_rollout_noise(
        Streams(range(stack), "noise"), case.problem.dynamics, horizon, (batch,), 3, 2, terminal
    )


def twin(case):
    """The case's critic and a slightly different one, so that the minimum matters."""

    def critics(state, action):
        value = case.problem.critic(state, action)
        return torch.cat([value, 1.1 * value + action.sum(dim=-1)])

    return critics


def test_nll_is_the_gaussian_one_per_feature():
    mean, log_var, x = torch.randn(3, 5, 4)
    expected = -Normal(mean, (0.5 * log_var).exp()).log_prob(x).mean(dim=-1)
    torch.testing.assert_close(gaussian_nll(mean, log_var, x), expected)


def test_nll_gradient_is_closed_form():
    mean, log_var, x = (v.requires_grad_() for v in torch.randn(3, 1, 4))
    gaussian_nll(mean, log_var, x).sum().backward()
    inverse = (-log_var).exp()
    torch.testing.assert_close(mean.grad, (mean - x) * inverse / 4)
    torch.testing.assert_close(log_var.grad, 0.5 * (1 - (x - mean) ** 2 * inverse) / 4)


def test_soft_bellman_target_takes_the_minimum_the_entropy_and_the_mask():
    target = soft_bellman_target(
        reward=torch.tensor([1.0, 1.0]),
        discount=torch.tensor([0.9, 0.0]),
        next_values=torch.tensor([[10.0, 10.0], [20.0, 5.0]]),
        next_log_prob=torch.tensor([-2.0, -2.0]),
        temperature=0.5,
    )
    assert target.tolist() == pytest.approx([1.0 + 0.9 * (10.0 + 1.0), 1.0])


def test_horizon_zero_is_the_sac_actor_loss():
    """min_j Q_j(s, a) - alpha log pi(a | s) with one reparameterised action."""
    case, policy = make_case(), squashed_policy([0])
    problem = case.problem._replace(critic=twin(case))
    state, noise = torch.randn(1, 6, 3), noise_for(case, 0, 6)
    action = policy.sample(state, noise.terminal[..., 0, :])
    expected = twin(case)(state, action.value).amin(dim=0) - 0.3 * action.log_prob
    for scope in ("first", "path"):
        value = actor_objective(problem, policy, state, noise, 0.3, scope)
        torch.testing.assert_close(value, expected)


def test_the_minimum_is_over_whole_sums_not_over_samples():
    none = torch.zeros(2)
    trajectory = Trajectory((), (), (none,), (none + 1.0, none + 1.0), (), (none,))
    values = torch.tensor([[[0.0, 4.0], [1.0, 1.0]], [[3.0, 2.0], [2.0, 2.0]]])
    value = Terminal(none, Action(none, none, none), values).value
    assert h_step_return(trajectory, value).tolist() == [2.0, 1.0]


@pytest.mark.parametrize("temperature", [0, 0.0])
@pytest.mark.parametrize("scope", ["first", "path"])
def test_without_a_temperature_a_deterministic_policy_has_a_finite_objective(temperature, scope):
    case = make_case()

    def certain(state, noise):
        action = case.policy.sample(state, 0.0 * noise)
        return action._replace(log_prob=torch.full_like(action.log_prob, math.inf))

    policy = SimpleNamespace(sample=certain)
    start, noise = torch.randn(1, 6, 3), noise_for(case, 2, 6)
    value = actor_objective(case.problem, policy, start, noise, temperature, scope)
    assert torch.isfinite(value).all()


@pytest.mark.parametrize("horizon", [0, 1, 3])
def test_expected_objective_is_the_oracles(horizon):
    case = make_case()
    batch = 200_000
    start = case.start(Streams([0], "start"), batch)
    value = actor_objective(case.problem, case.policy, start, noise_for(case, horizon, batch))
    exact = analytic.maac_objective(case.lqg, case.gain, horizon, critic=case.critic)
    error = float(value.std()) / math.sqrt(batch)
    assert float(value.mean()) == pytest.approx(exact, abs=4 * error)


@pytest.mark.parametrize("scope", ["first", "path"])
def test_gradient_agrees_with_finite_differences(scope):
    case, policy = make_case(), squashed_policy([0], width=4)
    problem = case.problem._replace(critic=twin(case))
    start, noise = torch.randn(1, 3, 3), noise_for(case, 3, 3, terminal=2)

    def objective(*parameters):
        return actor_objective(problem, policy.replace(parameters), start, noise, 0.2, scope).sum()

    leaves = tuple(p.detach().requires_grad_() for p in policy.parameters)
    assert torch.autograd.gradcheck(objective, leaves, atol=1e-6)


def test_path_entropy_adds_the_discounted_later_actions():
    case, policy = make_case(), squashed_policy([0])
    start, noise = torch.randn(1, 4, 3), noise_for(case, 2, 4, terminal=2)
    plain, first, path = (
        actor_objective(case.problem, policy, start, noise, alpha, scope)
        for alpha, scope in ((0.0, "first"), (1.0, "first"), (1.0, "path"))
    )
    state, log_probs = start, []
    for t in range(2):
        action = policy.sample(state, noise.action[t])
        log_probs.append(action.log_prob)
        state = case.problem.dynamics.step(state, action.value, noise.model[t])
    last = policy.sample(state.unsqueeze(-2).expand(1, 4, 2, 3), noise.terminal).log_prob.mean(-1)
    gamma = case.lqg.gamma
    torch.testing.assert_close(first - plain, -log_probs[0])
    torch.testing.assert_close(
        path - plain, -(log_probs[0] + gamma * log_probs[1] + gamma**2 * last)
    )


def test_a_temperature_belongs_to_its_seed_whatever_the_batch():
    """Two seeds and a batch of two: nothing but the axes' order tells them apart."""
    case, policy = make_case(2), squashed_policy([0, 1])
    start, noise = torch.randn(2, 2, 3), noise_for(case, 1, 2, stack=2)
    plain = actor_objective(case.problem, policy, start, noise)
    alpha = torch.tensor([0.0, 1.0])
    bonus = actor_objective(case.problem, policy, start, noise, alpha) - plain
    expected = actor_objective(case.problem, policy, start, noise, 1.0) - plain
    torch.testing.assert_close(bonus, alpha.unsqueeze(-1) * expected)
    with pytest.raises(ValueError, match=r"temperature of shape \[3\] does not fit"):
        actor_objective(case.problem, policy, start, noise, torch.ones(3))


def test_terminal_samples_average_the_critic():
    case = make_case()
    start, noise = torch.randn(1, 5, 3), noise_for(case, 2, 5, terminal=3)
    single = [
        actor_objective(
            case.problem, case.policy, start, noise._replace(terminal=noise.terminal[..., [k], :])
        )
        for k in range(3)
    ]
    torch.testing.assert_close(
        actor_objective(case.problem, case.policy, start, noise), torch.stack(single).mean(dim=0)
    )


def test_stacked_seeds_are_the_same_as_each_alone():
    case = make_case(stack=2)
    policy = case.policy.replace((case.policy.gain * torch.tensor([1.0, 0.5]).reshape(2, 1, 1),))
    start = case.start(Streams([0, 1], "start"), 4)
    noise = noise_for(case, 3, 4, stack=2)
    together = actor_objective(case.problem, policy, start, noise)
    alone_policy = policy.replace((policy.gain[1:],))
    alone_noise = draw_rollout_noise(Streams([1], "noise"), case.problem.dynamics, 3, (4,), 3, 2, 1)
    alone = actor_objective(case.problem, alone_policy, start[1:], alone_noise)
    np.testing.assert_allclose(together[1].numpy(), alone[0].numpy(), rtol=1e-12)


@pytest.mark.parametrize("scale", [0.1, 0.7, 3.0])
def test_the_temperature_loss_has_the_slope_of_the_temperature_itself(scale):
    log_temperature = torch.tensor([scale]).log().requires_grad_()
    log_prob = torch.tensor([[0.3, -1.1, 2.0]])
    loss = temperature_loss(log_temperature, log_prob, 0.5)
    torch.testing.assert_close(loss.detach(), -scale * (log_prob + 0.5))
    (slope,) = torch.autograd.grad(loss.sum(), log_temperature)
    torch.testing.assert_close(slope, -scale * (log_prob + 0.5).sum(dim=-1))


def test_no_entropy_counts_after_an_end():
    def acted(log_prob):
        return Action(torch.zeros(1, 1), torch.zeros(1, 1), torch.tensor(log_prob))

    discounts = (torch.ones(1), torch.tensor([0.9]), torch.zeros(1))
    path = Trajectory(
        (torch.zeros(1, 1),) * 3,
        (acted([1.0]), acted([2.0])),
        (torch.zeros(1),) * 2,
        discounts,
        (torch.zeros(1, 1),) * 2,
        (torch.zeros(1), torch.ones(1)),
    )
    assert path_entropy(path, acted([[40.0]]), "path").tolist() == [-1.0 - 0.9 * 2.0]
    assert path_entropy(path, acted([[40.0]]), "first").tolist() == [-1.0]


def test_a_terminal_value_is_the_smaller_of_the_critics_means():
    """Critics 1 and 5 on average at the first state's two actions, 3 and 2 at the second's."""
    values = torch.tensor([[[0.0, 2.0], [6.0, 0.0]], [[9.0, 1.0], [2.0, 2.0]]])
    nothing = Action(torch.zeros(2, 2, 1), torch.zeros(2, 2, 1), torch.zeros(2, 2))
    assert Terminal(torch.zeros(2, 2, 1), nothing, values).value.tolist() == [1.0, 2.0]
