import numpy as np
import pytest
from scipy.optimize import minimize

from analytic import (
    LQG,
    UnstablePolicyError,
    double_integrator,
    evaluate,
    optimal_gain,
    policy_gradient,
    random_lqg,
)
from tests.analytic.problems import (
    autograd,
    central_difference,
    random_case,
    relative_error,
    replaced,
    scalar_lqg,
    state_moments,
)
from tests.analytic.sampling import draw, simulate

SHAPES = [(1, 1), (2, 1), (3, 2), (4, 4), (11, 3)]  # scipy changes its Lyapunov method at n = 10
HORIZONS = [None, 1, 2, 7]


def reward(lqg, s, a):
    return -(s @ lqg.Q @ s + a @ lqg.R @ a)


def sampled_return(lqg, rollout, steps):
    """Discounted reward of every trajectory, [N]."""
    s, a = rollout.states[:steps], rollout.actions[:steps]
    rewards = -((s @ lqg.Q * s).sum(-1) + (a @ lqg.R * a).sum(-1))
    return lqg.gamma ** np.arange(steps) @ rewards


@pytest.mark.parametrize(("n", "m"), SHAPES)
def test_p_and_s_are_fixed_points(n, m):
    lqg, K, *_ = random_case(0, n, m)
    exact, closed = evaluate(lqg, K), lqg.A - lqg.B @ K
    cost = lqg.Q + K.T @ lqg.R @ K
    assert relative_error(cost + lqg.gamma * closed.T @ exact.P @ closed, exact.P) < 1e-11
    drive = (lqg.W + lqg.B @ lqg.action_cov @ lqg.B.T) / (1.0 - lqg.gamma)
    S = lqg.M0 + lqg.gamma * (closed @ exact.S @ closed.T + drive)
    assert relative_error(S, exact.S) < 1e-11


def test_s_is_the_discounted_sum_of_second_moments():
    lqg, K, *_ = random_case(1)
    moments = state_moments(lqg, K, 600)
    total = sum(lqg.gamma**t * M for t, M in enumerate(moments))
    assert relative_error(evaluate(lqg, K).S, total) < 1e-11


@pytest.mark.parametrize("T", HORIZONS)
def test_v_is_the_mean_of_q_over_the_policy(T):
    lqg, K, *_ = random_case(2, 3, 2)
    exact = evaluate(lqg, K, T)
    lift = np.vstack([np.eye(3), -K])
    assert relative_error(lift.T @ exact.G @ lift, exact.P) < 1e-12
    spread = np.trace(lqg.action_cov @ exact.G[3:, 3:])
    assert exact.c == pytest.approx(exact.d + spread, rel=1e-12)


def test_q_satisfies_the_bellman_equation_at_any_state_and_action():
    lqg, K, *_ = random_case(3, 3, 2)
    exact, rng = evaluate(lqg, K), np.random.default_rng(0)
    for _ in range(5):
        s, a = rng.standard_normal(3), rng.standard_normal(2)
        x, mean = np.concatenate([s, a]), lqg.A @ s + lqg.B @ a
        next_value = -(mean @ exact.P @ mean + np.trace(exact.P @ lqg.W)) - exact.c
        left = -(x @ exact.G @ x) - exact.d
        assert left == pytest.approx(reward(lqg, s, a) + lqg.gamma * next_value, rel=1e-11)


def test_a_deterministic_scalar_problem_by_hand():
    # s_t = 1/2^t, a = 0, gamma = 0.8: the sum of (0.8 / 4)^t is 1.25.
    exact = evaluate(scalar_lqg(0.5, 1.0, gamma=0.8), [[0.0]])
    assert relative_error(exact.J, -1.25) < 1e-14
    assert exact.S[0, 0] == pytest.approx(1.25)
    # G = [[1 + 0.2 P, 0.4 P], [0.4 P, 1 + 0.8 P]]; grad = -2 (-G_as) S.
    assert np.allclose(exact.G, [[1.25, 0.5], [0.5, 2.0]])
    assert policy_gradient(scalar_lqg(0.5, 1.0, gamma=0.8), [[0.0]])[0, 0] == pytest.approx(1.25)


@pytest.mark.parametrize("T", HORIZONS)
@pytest.mark.parametrize(("n", "m"), SHAPES[:-1])
def test_gradient_matches_central_differences(n, m, T):
    lqg, K, *_ = random_case(4, n, m)
    numeric = central_difference(lambda gain: evaluate(lqg, gain, T).J, K)
    assert relative_error(policy_gradient(lqg, K, T), numeric) < 1e-7


def test_gradient_of_the_double_integrator_matches_central_differences():
    lqg, K = double_integrator(), np.array([[0.5, 1.0]])
    numeric = central_difference(lambda gain: evaluate(lqg, gain).J, K)
    assert relative_error(policy_gradient(lqg, K), numeric) < 1e-7


@pytest.mark.parametrize("T", [1, 2, 7, 30])
def test_finite_horizon_value_and_gradient_match_autograd(T):
    lqg, K, *_ = random_case(5, 3, 2)
    value, gradient = autograd(lqg, K, T)
    assert relative_error(evaluate(lqg, K, T).J, value) < 1e-12
    assert relative_error(policy_gradient(lqg, K, T), gradient) < 1e-12


def test_infinite_horizon_value_and_gradient_match_autograd_over_many_steps():
    lqg, K, *_ = random_case(6, 3, 2)
    value, gradient = autograd(lqg, K, 500)
    assert relative_error(evaluate(lqg, K).J, value) < 1e-11
    assert relative_error(policy_gradient(lqg, K), gradient) < 1e-10


@pytest.mark.parametrize("T", [None, 5])
def test_return_matches_simulation(T):
    lqg, K, *_ = random_case(7, gamma=0.85)
    steps = 100 if T is None else T  # 0.85^100 < 1e-7
    returns = sampled_return(lqg, simulate(lqg, K, draw(lqg, steps, 20_000, seed=0)), steps)
    error = returns.std(ddof=1) / np.sqrt(len(returns))
    assert abs(returns.mean() - evaluate(lqg, K, T).J) < 4.0 * error
    assert error < 0.02 * abs(returns.mean())  # sharp enough to mean something


def test_finite_horizon_approaches_the_infinite_one_at_the_discounted_rate():
    lqg, K, *_ = random_case(8, gain=0.0)
    exact, gradient = evaluate(lqg, K), policy_gradient(lqg, K)
    gaps = [abs(evaluate(lqg, K, T).J - exact.J) for T in (120, 121)]
    # Noise keeps the reward per step from vanishing, so only the discount is left.
    assert gaps[1] / gaps[0] == pytest.approx(lqg.gamma, rel=1e-3)
    late = evaluate(lqg, K, 400)
    for name in ("J", "P", "c", "G", "d", "S"):
        assert relative_error(getattr(late, name), getattr(exact, name)) < 1e-10
    assert relative_error(policy_gradient(lqg, K, 400), gradient) < 1e-10


@pytest.mark.parametrize("call", [evaluate, policy_gradient])
def test_an_unstable_gain_is_refused_and_finite_horizons_still_work(call):
    lqg = random_lqg(2, 1, np.random.default_rng(0), spectral_radius=1.2, gamma=0.9)
    with pytest.raises(UnstablePolicyError, match="unstable"):
        call(lqg, np.zeros((1, 2)))
    value, gradient = autograd(lqg, np.zeros((1, 2)), 20)
    truth = {evaluate: value, policy_gradient: gradient}[call]
    found = call(lqg, np.zeros((1, 2)), 20)
    assert relative_error(found.J if call is evaluate else found, truth) < 1e-12


@pytest.mark.parametrize(("A", "stable"), [(1.2499, True), (1.25, False), (1.2501, False)])
def test_the_edge_of_stability_is_the_discounted_one(A, stable):
    lqg = scalar_lqg(A, 1.0, gamma=0.64)  # sqrt(gamma) = 0.8
    if stable:
        assert evaluate(lqg, [[0.0]]).J < -1e3
    else:
        with pytest.raises(UnstablePolicyError):
            evaluate(lqg, [[0.0]])


def test_without_a_future_only_the_first_step_counts():
    lqg, K, *_ = random_case(9, 3, 2)
    lqg = replaced(lqg, A=10.0 * lqg.A, gamma=0.0)  # no gain is unstable
    exact = evaluate(lqg, K)
    P = lqg.Q + K.T @ lqg.R @ K
    value = -np.trace(P @ lqg.M0) - np.trace(lqg.R @ lqg.action_cov)
    assert relative_error(exact.J, value) < 1e-12
    assert np.allclose(exact.S, lqg.M0)
    assert exact.d == 0.0
    assert np.allclose(policy_gradient(lqg, K), -2.0 * lqg.R @ K @ lqg.M0)
    assert np.allclose(optimal_gain(lqg), 0.0)


@pytest.mark.parametrize("call", [evaluate, policy_gradient])
@pytest.mark.parametrize("K", [[[1.0]], [[1.0], [1.0]], [[np.nan, 1.0]]])
def test_a_bad_gain_is_named(call, K):
    with pytest.raises(ValueError, match=r"^K "):
        call(double_integrator(), K)


@pytest.mark.parametrize(("n", "m"), SHAPES)
def test_the_optimal_gain_has_no_gradient_and_solves_riccati(n, m):
    lqg, *_ = random_case(10, n, m)
    K = optimal_gain(lqg)
    exact = evaluate(lqg, K)
    scale = np.linalg.norm(policy_gradient(lqg, np.zeros_like(K)))
    assert np.linalg.norm(policy_gradient(lqg, K)) < 1e-10 * scale
    BPA = lqg.B.T @ exact.P @ lqg.A
    curvature = lqg.R + lqg.gamma * lqg.B.T @ exact.P @ lqg.B
    riccati = lqg.Q + lqg.gamma * lqg.A.T @ exact.P @ lqg.A
    riccati = riccati - lqg.gamma**2 * BPA.T @ np.linalg.solve(curvature, BPA)
    assert relative_error(riccati, exact.P) < 1e-10


def test_the_optimal_gain_is_where_gradient_ascent_ends():
    lqg, K, *_ = random_case(11)
    found = minimize(
        lambda k: -evaluate(lqg, k.reshape(1, 2)).J,
        K.ravel(),
        jac=lambda k: -policy_gradient(lqg, k.reshape(1, 2)).ravel(),
        options={"gtol": 1e-9},
    )
    assert relative_error(optimal_gain(lqg).ravel(), found.x) < 1e-6


def test_the_optimal_gain_does_not_depend_on_noise_or_start():
    lqg, *_ = random_case(12, 3, 2)
    other = replaced(lqg, W=2.0 * lqg.W, action_cov=3.0 * lqg.action_cov, M0=4.0 * lqg.M0)
    assert np.array_equal(optimal_gain(lqg), optimal_gain(other))


def test_a_problem_no_gain_can_stabilise_is_refused():
    with pytest.raises(ValueError, match="no stabilising gain"):
        optimal_gain(LQG([[2.0]], [[0.0]], [[1.0]], [[1.0]], gamma=0.9))


@pytest.mark.parametrize("gamma", [0.5, 0.9, 0.99])
def test_a_gain_at_the_limit_of_stability_is_not_given_as_the_optimal_one(gamma):
    """Nothing is paid for the state, so doing nothing is as cheap as can be, and not stable."""
    with pytest.raises(ValueError, match="no stabilising gain"):
        optimal_gain(LQG([[gamma**-0.5]], [[1.0]], [[0.0]], [[1.0]], gamma=gamma))


@pytest.mark.parametrize("call", [evaluate, policy_gradient])
def test_a_discounted_return_that_is_too_large_for_numbers_is_refused(call):
    lqg = LQG([[0.999]], [[1.0]], [[1e306]], [[1e306]], [[1.0]], gamma=0.9999)
    with pytest.raises(UnstablePolicyError, match="the discounted return overflows"):
        call(lqg, [[0.0]])


@pytest.mark.parametrize("T", [0, -1, 2.5, float("nan"), float("inf")])
def test_a_meaningless_number_of_rewards_is_refused(T):
    lqg = LQG([[0.9]], [[0.1]], [[1.0]], [[1.0]])
    for call in (evaluate, policy_gradient):
        with pytest.raises(ValueError, match="T must be a whole number of at least 1"):
            call(lqg, [[0.1]], T=T)
