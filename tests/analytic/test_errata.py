"""One test per counterexample in docs/errata.md: the printed statement fails, with its numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytic import (
    LinearModel,
    QuadraticCritic,
    evaluate,
    gradient_error,
    lipschitz_constants,
    maac_gradient,
    maac_objective,
    policy_gradient,
)
from analytic.bounds import lemma_4_1, model_sum, return_loss, theorem_4_1
from tests.analytic.problems import (
    central_difference,
    constants,
    discounts,
    largest_total_variation,
    random_case,
    random_constants,
    replaced,
    reproducible,
    scalar_lqg,
)


def compare(lqg, K, horizon, model=None, critic=None):
    """Actual gradient error, printed bound, corrected bound and constants."""
    exact = maac_gradient(lqg, K, horizon)
    error = np.linalg.norm(maac_gradient(lqg, K, horizon, model, critic) - exact)
    c = lipschitz_constants(lqg, K, horizon, model, critic)
    printed = lemma_4_1(c, horizon, lqg.gamma, "printed")
    return error, printed, lemma_4_1(c, horizon, lqg.gamma), c


@reproducible
@given(random_constants, st.integers(1, 8), discounts)
def test_printed_model_sum_is_below_the_sum_it_stands_for(c, horizon, gamma):
    assert model_sum(c, horizon, gamma, "printed") < model_sum(c, horizon, gamma)
    c = c._replace(L_r=1.0)  # even then: the k = t term of every step is lost
    lost = c.eps_f * sum((gamma * c.K) ** t for t in range(horizon))
    difference = model_sum(c, horizon, gamma) - model_sum(c, horizon, gamma, "printed")
    assert difference == pytest.approx(lost, rel=1e-6)


def test_model_term_without_the_rewards_slope_is_violated():
    """K = 0 and only B is wrong: same trajectory, exact critic, C = 1; the rest is as printed."""
    lqg = scalar_lqg(0.9, 0.1, Q=100.0, gamma=0.01)
    error, printed, corrected, c = compare(lqg, [[0.0]], 2, LinearModel([[0.9]], [[0.2]]))
    assert (c.eps_Q, c.eps_r, c.eps_pi, c.K, c.C) == pytest.approx((0.0, 0.0, 0.0, 1.0, 1.0))
    assert (error, printed, corrected) == pytest.approx((0.18294, 0.00402, 0.20311), rel=1e-3)
    assert error > 45.0 * printed


def test_a_start_far_from_the_origin_violates_the_sensitivity_assumption():
    """H = 0, s_0 = 100 and a critic 10 % too large: the error is 9 times the printed bound."""
    lqg = scalar_lqg(1.0, 0.1, M0=100.0**2)
    G = evaluate(lqg, [[0.0]]).G
    assert np.allclose(G, [[10.0, 0.9], [0.9, 1.09]])
    error, printed, corrected, c = compare(lqg, [[0.0]], 0, critic=QuadraticCritic(1.1 * G))
    assert error == pytest.approx(1800.0)
    assert printed == pytest.approx(20.0 * np.hypot(10.0, 0.9))  # 200.8
    assert corrected == pytest.approx(100.0 * printed)
    assert pytest.approx(100.0) == c.C


def test_a_stochastic_start_violates_it_for_most_problems():
    violated = 0
    for seed in range(50):
        lqg, K, model, critic = random_case(seed, 2, 1, model_error=0.03, critic_error=0.1)
        lqg = replaced(lqg, M0=100.0 * lqg.M0)
        error, printed, corrected, _ = compare(lqg, K, 1, model, critic)
        assert error < corrected
        violated += error > printed
    assert violated >= 40


def test_a_model_with_exact_derivatives_violates_the_model_term():
    """Only the process noise is wrong: eps_f = 0, yet the trajectories part."""
    lqg = scalar_lqg(0.9, 0.5, gamma=0.5)
    model = LinearModel(lqg.A, lqg.B, [[1.0]])
    error, printed, corrected, c = compare(lqg, [[0.5]], 8, model)
    assert c.eps_f == 0.0
    assert model_sum(c, 8, 0.5, "printed") == 0.0
    assert (error, printed) == pytest.approx((0.6115, 0.01524), rel=1e-3)
    assert error < corrected


def rolled(reward, policy, steps, offset=0.0, B=1.0, start=1.0):
    """`theta -> reward(s_steps)` of `s' = s + B a + offset`, `a = policy(theta, s)`."""

    def value(theta):
        s = start
        for _ in range(steps):
            s = s + B * policy(theta[0], s) + offset
        return reward(s)

    return value


def slope(function, at):
    return central_difference(function, np.array([at]), step=1e-3)[0]


def test_the_recursion_loses_the_policys_own_derivative():
    """A linear reward and a model off by a constant: d s_2 / d theta still differs by -1."""

    def linear(theta, s):
        return -theta * s

    exact, learned = (rolled(lambda s: s, linear, 2, offset) for offset in (0.0, 1.0))
    for theta in (0.0, 0.5, 2.0):
        assert slope(exact, theta) == pytest.approx(-2.0 * (1.0 - theta))
        assert slope(learned, theta) - slope(exact, theta) == pytest.approx(-1.0)


def test_the_reward_term_loses_that_its_slope_is_taken_at_two_points():
    """A constant policy, a model off by a constant, r = -s^2: equal sensitivities, yet a gap."""

    def constant(theta, _):
        return theta

    exact, learned = (
        rolled(lambda s: -(s**2), constant, 1, offset, start=0.0) for offset in (0.0, 1.0)
    )
    states = [rolled(lambda s: s, constant, 1, offset, start=0.0) for offset in (0.0, 1.0)]
    for theta in (0.0, 0.5, 2.0):
        assert slope(states[0], theta) == pytest.approx(slope(states[1], theta)) == 1.0
        assert slope(learned, theta) - slope(exact, theta) == pytest.approx(-2.0)


def test_the_states_recursion_does_not_bound_state_and_action_together():
    """`a = theta - 3 s`, B = 0.1 against 0.2: the gap of x_1 is sqrt(10) times the printed one."""

    def affine(theta, s):
        return theta - 3.0 * s

    states = [slope(rolled(lambda s: s, affine, 1, B=B), 0.0) for B in (0.1, 0.2)]
    gap = np.hypot(states[1] - states[0], -3.0 * (states[1] - states[0]))
    printed = 0.1  # eps_f * ||(d s_0, d a_0)|| = 0.1 * 1
    assert gap == pytest.approx(np.sqrt(10.0) * printed)


def test_a_gradient_that_is_lipschitz_does_not_bound_the_gradient():
    """L_Q must bound the critic's slope, which for a quadratic grows with the state."""
    found = []
    for start in (1.0, 10.0):
        lqg = scalar_lqg(0.9, 0.1, M0=start**2)
        found.append(lipschitz_constants(lqg, [[0.0]], 1).L_Q)
    assert found[1] == pytest.approx(10.0 * found[0])


def test_exact_model_and_critic_give_the_value_but_not_the_gradient():
    """s_t = 1/2^t, a = 0, gamma = 0.8: the gradient of the return is 1.25, that of J_H less."""
    lqg, K = scalar_lqg(0.5, 1.0, gamma=0.8), [[0.0]]
    assert policy_gradient(lqg, K)[0, 0] == pytest.approx(1.25)
    for horizon, partial in ((0, 1.0), (1, 1.2), (2, 1.24)):  # the sums of 0.2^t
        assert maac_objective(lqg, K, horizon) == pytest.approx(-1.25)
        assert maac_gradient(lqg, K, horizon)[0, 0] == pytest.approx(partial)
        truncation = gradient_error(lqg, K, horizon).truncation[0, 0]
        assert truncation == pytest.approx(partial - 1.25)


def test_over_all_states_any_two_gains_are_at_distance_one():
    distances = [largest_total_variation(np.array([[1e-6]]), np.eye(1), s) for s in (1.0, 1e6, 1e8)]
    assert distances == pytest.approx([4e-7, 0.383, 1.0], rel=1e-2)


def test_half_the_fisher_information_at_one_end_does_not_bound_the_divergence():
    """Bernoulli with logit -4 against 0: KL is 0.60, c_tilde ||difference||^2 is 0.14."""
    p = 1.0 / (1.0 + np.exp(4.0))
    divergence = p * np.log(p / 0.5) + (1.0 - p) * np.log((1.0 - p) / 0.5)
    assert divergence == pytest.approx(0.603, abs=1e-3)
    assert 0.5 * p * (1.0 - p) * 4.0**2 == pytest.approx(0.141, abs=1e-3)
    assert divergence < 4.0**2 / 8.0  # the largest information of any logit does


def two_state_loss(gamma, leave):
    """Return lost by leaving, with probability `leave`, the state that pays 1 for one paying -1."""
    stay = 1.0 / (1.0 - gamma)
    worst = -1.0 / (1.0 - gamma)
    return stay - (1.0 + gamma * leave * worst) / (1.0 - gamma * (1.0 - leave))


def test_two_states_violate_the_printed_return_loss():
    gamma, leave = 0.99, 0.001
    loss = two_state_loss(gamma, leave)
    assert loss == pytest.approx(2 * gamma * leave / ((1 - gamma) * (1 - gamma + gamma * leave)))
    assert loss == pytest.approx(18.0, abs=0.05)
    assert return_loss(leave, 1.0, gamma, "printed") == pytest.approx(0.2)
    assert return_loss(leave, 1.0, gamma) == pytest.approx(20.0)


@pytest.mark.parametrize(("gamma", "leave"), [(0.5, 0.6), (0.9, 0.05), (0.99, 0.5)])
def test_two_states_violate_it_exactly_when_the_discount_says_so(gamma, leave):
    violated = two_state_loss(gamma, leave) > return_loss(leave, 1.0, gamma, "printed")
    assert violated == (gamma > 1.0 - gamma + gamma * leave)
    assert two_state_loss(gamma, leave) <= return_loss(leave, 1.0, gamma)


def test_the_corrected_return_loss_is_sharp():
    assert two_state_loss(0.999, 1e-9) / return_loss(1e-9, 1.0, 0.999) > 0.99


@pytest.mark.parametrize("step_size", [0.1, 0.01, 0.001])
def test_a_bandit_violates_the_theorem_with_the_step_size_twice(step_size):
    """Rewards 1 and -1, one logit at 0: the exact gradient is 0.5, the learned one -0.5.

    Bernoulli: KL <= (difference of logits)^2 / 8, so c_tilde = 1/8. The corrected bound is met but
    for the curvature of the sigmoid.
    """

    def value(logit):
        return 2.0 / (1.0 + np.exp(-logit)) - 1.0

    loss = value(0.5 * step_size) - value(-0.5 * step_size)
    printed, corrected = (
        theorem_4_1(constants(eps_Q=1.0), 0, 0.0, step_size, 0.125, 1.0, form)
        for form in ("printed", "corrected")
    )
    assert printed == pytest.approx(0.5 * step_size**2)
    assert corrected == pytest.approx(0.5 * step_size)
    assert printed < loss <= corrected
    assert loss > 0.999 * corrected


def test_line_four_of_the_theorems_proof_halves_the_distance_and_line_three_is_zero():
    rng = np.random.default_rng(0)
    policies = rng.dirichlet(np.ones(3), (2, 4))
    joint = rng.dirichlet(np.ones(4), 2)[:, :, None] * policies
    assert abs((joint[0] - joint[1]).sum()) < 1e-12
    assert np.abs(joint[0] - joint[1]).sum() > 0.1
    distances = 0.5 * np.abs(policies[0] - policies[1]).sum(axis=1)
    assert np.abs(policies[0] - policies[1]).sum(axis=1).max() == pytest.approx(
        2.0 * distances.max()
    )
