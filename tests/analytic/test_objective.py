import numpy as np
import pytest

from analytic import (
    LinearModel,
    QuadraticCritic,
    UnstablePolicyError,
    double_integrator,
    evaluate,
    gradient_error,
    lipschitz_constants,
    maac_gradient,
    maac_objective,
    optimal_gain,
    policy_gradient,
    random_lqg,
)
from analytic.lqg import check_count
from tests.analytic.problems import (
    autograd,
    central_difference,
    exact_critic,
    random_case,
    relative_error,
    replaced,
    scalar_lqg,
    state_moments,
    step_cost,
)
from tests.analytic.sampling import draw, simulate

SHAPES = [(1, 1), (2, 1), (3, 2)]
HORIZONS = [0, 1, 4, 10]
CALLS = [maac_objective, maac_gradient, gradient_error]


@pytest.mark.parametrize("horizon", [0, 1, 2, 7, 40])
@pytest.mark.parametrize(("n", "m"), SHAPES)
def test_with_exact_model_and_critic_the_value_is_the_return(n, m, horizon):
    lqg, K, *_ = random_case(0, n, m)
    exact = evaluate(lqg, K).J
    assert maac_objective(lqg, K, horizon) == pytest.approx(exact, rel=1e-12)
    model, critic = LinearModel(lqg.A, lqg.B, lqg.W), exact_critic(lqg, K)
    assert maac_objective(lqg, K, horizon, model, critic) == pytest.approx(exact, rel=1e-12)


def test_value_matches_simulation_of_a_wrong_model_and_critic():
    lqg, K, model, critic = random_case(1)
    horizon = 3
    rollout = simulate(lqg, K, draw(lqg, horizon, 50_000, seed=1), model)
    x, step = rollout.inputs, step_cost(lqg)
    samples = -(lqg.gamma**horizon) * ((x[-1] @ critic.G * x[-1]).sum(-1) + critic.d)
    for t in range(horizon):
        samples = samples - lqg.gamma**t * (x[t] @ step * x[t]).sum(-1)
    error = samples.std(ddof=1) / np.sqrt(len(samples))
    assert abs(samples.mean() - maac_objective(lqg, K, horizon, model, critic)) < 4.0 * error
    assert error < 0.02 * abs(samples.mean())


@pytest.mark.parametrize("horizon", HORIZONS)
@pytest.mark.parametrize(("n", "m"), SHAPES)
def test_gradient_matches_central_differences_at_a_fixed_wrong_critic(n, m, horizon):
    lqg, K, model, critic = random_case(2, n, m)
    numeric = central_difference(lambda k: maac_objective(lqg, k, horizon, model, critic), K)
    assert relative_error(maac_gradient(lqg, K, horizon, model, critic), numeric) < 1e-7


@pytest.mark.parametrize("horizon", HORIZONS)
def test_value_and_gradient_match_autograd(horizon):
    lqg, K, model, critic = random_case(3, 3, 2)
    value, gradient = autograd(lqg, K, horizon, model, critic)
    assert maac_objective(lqg, K, horizon, model, critic) == pytest.approx(value, rel=1e-12)
    assert relative_error(maac_gradient(lqg, K, horizon, model, critic), gradient) < 1e-12


@pytest.mark.parametrize("horizon", HORIZONS)
def test_the_exact_critic_is_not_differentiated_either(horizon):
    lqg, K, *_ = random_case(4, 3, 2)
    _, semi_gradient = autograd(lqg, K, horizon, critic=exact_critic(lqg, K))
    assert relative_error(maac_gradient(lqg, K, horizon), semi_gradient) < 1e-12
    assert relative_error(semi_gradient, policy_gradient(lqg, K)) > 1e-3


@pytest.mark.parametrize("horizon", HORIZONS)
def test_truncation_is_the_tail_of_the_occupancy(horizon):
    lqg, K, *_ = random_case(5, 3, 2)
    exact, moments = evaluate(lqg, K), state_moments(lqg, K, horizon)
    E = (lqg.R + lqg.gamma * lqg.B.T @ exact.P @ lqg.B) @ K - lqg.gamma * lqg.B.T @ exact.P @ lqg.A
    tail = exact.S - sum(lqg.gamma**t * M for t, M in enumerate(moments))
    truncation = gradient_error(lqg, K, horizon).truncation
    assert relative_error(truncation, 2.0 * E @ tail) < 1e-10


def test_truncation_with_noise_decays_like_the_discount():
    lqg, K, *_ = random_case(6, gain=0.0)
    sizes = [np.linalg.norm(gradient_error(lqg, K, H).truncation) for H in (120, 121)]
    assert sizes[1] / sizes[0] == pytest.approx(lqg.gamma, rel=1e-4)


def test_truncation_of_a_growing_state_decays_by_its_growth_too():
    """rho(A_K) = 1.03 above 1, the discounted return finite all the same."""
    lqg = scalar_lqg(1.03, 1.0, W=1.0, gamma=0.9)
    sizes = [np.linalg.norm(gradient_error(lqg, [[0.0]], H).truncation) for H in (300, 301)]
    assert sizes[1] / sizes[0] == pytest.approx(0.9 * 1.03**2, rel=1e-4)


def test_truncation_without_noise_decays_faster_by_the_squared_closed_loop_radius():
    lqg, *_ = random_case(7)
    lqg = replaced(lqg, A=[[0.9, 0.3], [0.0, 0.5]], W=np.zeros((2, 2)), action_cov=[[0.0]])
    K = np.zeros((1, 2))  # rho(A - B K) = 0.9, real and simple
    sizes = [np.linalg.norm(gradient_error(lqg, K, H).truncation) for H in (40, 41)]
    assert sizes[1] / sizes[0] == pytest.approx(lqg.gamma * 0.9**2, rel=1e-4)


def test_truncation_vanishes_as_the_horizon_grows():
    lqg, K, *_ = random_case(8, 3, 2)
    assert relative_error(maac_gradient(lqg, K, 400), policy_gradient(lqg, K)) < 1e-10


@pytest.mark.parametrize("T", [1, 4, 10])
def test_without_a_critic_it_is_the_finite_horizon_gradient(T):
    lqg, K, *_ = random_case(9, 3, 2)
    nothing = QuadraticCritic(np.zeros((5, 5)))
    assert maac_objective(lqg, K, T, critic=nothing) == pytest.approx(evaluate(lqg, K, T).J)
    gradient = maac_gradient(lqg, K, T, critic=nothing)
    assert relative_error(gradient, policy_gradient(lqg, K, T)) < 1e-12


def test_at_horizon_zero_over_the_occupancy_it_is_the_deterministic_policy_gradient():
    """Silver et al. 2014: E over the discounted occupancy of da/dK dQ/da is the policy gradient."""
    lqg, K, *_ = random_case(10, 3, 2)
    exact = evaluate(lqg, K)
    visited = replaced(lqg, M0=exact.S)
    gradient = maac_gradient(visited, K, 0, critic=exact_critic(lqg, K))
    assert relative_error(gradient, policy_gradient(lqg, K)) < 1e-12


def test_horizon_zero_is_the_mean_action_gradient_of_the_critic():
    lqg, K, _, critic = random_case(11, 2, 1)
    rollout = simulate(lqg, K, draw(lqg, 0, 100_000, seed=2))
    action_gradient = -2.0 * rollout.inputs[0] @ critic.G[2:].T
    samples = action_gradient * -rollout.states[0]  # da/dK_j = -s_j
    error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    expected = maac_gradient(lqg, K, 0, critic=critic)[0]
    assert (np.abs(samples.mean(axis=0) - expected) < 4.0 * error).all()


@pytest.mark.parametrize("horizon", [0, 3])
def test_error_parts_sum_to_the_total(horizon):
    lqg, K, model, critic = random_case(12, 3, 2)
    parts = gradient_error(lqg, K, horizon, model, critic)
    total = maac_gradient(lqg, K, horizon, model, critic) - policy_gradient(lqg, K)
    assert relative_error(parts.total, total) < 1e-12
    assert relative_error(sum(parts[:-1]), total) < 1e-12
    exact = maac_gradient(lqg, K, horizon)
    for name, wrong in (("model", model), ("critic", critic)):
        change = maac_gradient(lqg, K, horizon, **{name: wrong}) - exact
        assert np.allclose(getattr(parts, name), change, atol=1e-12)


@pytest.mark.parametrize(
    ("wrong_model", "wrong_critic", "horizon", "present"),
    [
        (False, False, 3, {"truncation"}),
        (True, False, 3, {"truncation", "model"}),
        (False, True, 3, {"truncation", "critic"}),
        (True, True, 3, {"truncation", "model", "critic", "interaction"}),
        (True, True, 0, {"truncation", "critic"}),  # no step of the model is taken
    ],
)
def test_an_error_part_is_there_exactly_when_its_cause_is(
    wrong_model, wrong_critic, horizon, present
):
    lqg, K, model, critic = random_case(13, 2, 1)
    parts = gradient_error(
        lqg, K, horizon, model if wrong_model else None, critic if wrong_critic else None
    )
    size = np.linalg.norm(policy_gradient(lqg, K))
    found = {name for name in parts._fields if np.linalg.norm(getattr(parts, name)) > 1e-6 * size}
    assert found == present | {"total"}
    for name in set(parts._fields) - found:
        assert np.linalg.norm(getattr(parts, name)) < 1e-12 * size


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("horizon", [-1, 1.5, np.nan])
def test_a_bad_horizon_is_refused(call, horizon):
    with pytest.raises(ValueError, match=r"horizon|NaN"):
        call(double_integrator(), [[0.5, 1.0]], horizon)


def test_an_infinite_horizon_is_a_value_error():
    with pytest.raises(ValueError, match="horizon"):
        check_count("horizon", np.inf, 0)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": LinearModel(np.eye(3), np.ones((3, 1)))}, r"^model\.A must have shape \[2, 2\]"),
        ({"model": LinearModel(np.eye(2), np.eye(2))}, r"^model\.B must have shape \[2, 1\]"),
        ({"critic": QuadraticCritic(np.eye(2))}, r"^critic\.G must have shape \[3, 3\]"),
    ],
)
def test_what_does_not_fit_the_problem_is_named(call, arguments, message):
    with pytest.raises(ValueError, match=message):
        call(double_integrator(), [[0.5, 1.0]], 1, **arguments)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LinearModel(np.ones((1, 2)), [[1.0]]), r"^model\.A must have shape"),
        (lambda: LinearModel(np.eye(2), np.ones((3, 1))), r"^model\.B must have 2 rows"),
        (lambda: LinearModel(np.eye(2), np.ones((2, 1)), np.eye(1)), r"^model\.W must have shape"),
        (lambda: LinearModel([[np.nan]], [[1.0]]), r"^model\.A has entries that are not finite"),
        (lambda: LinearModel([[1.0]], [[np.inf]]), r"^model\.B has entries that are not finite"),
        (lambda: QuadraticCritic(np.ones((2, 3))), r"^critic\.G must be square"),
        (lambda: QuadraticCritic([[np.nan]]), r"^critic\.G has entries that are not finite"),
        (lambda: QuadraticCritic([[1.0]], np.inf), r"^critic\.d must be finite"),
        (lambda: QuadraticCritic([[1.0]], "x"), r"^critic\.d must be finite, got 'x'"),
    ],
)
def test_a_malformed_model_or_critic_is_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("W", [[[-1.0, 0.0], [0.0, 1.0]], [[1.0, 0.5], [0.0, 1.0]]])
def test_a_model_noise_that_is_no_covariance_is_named(W):
    with pytest.raises(ValueError, match=r"^model\.W must be"):
        LinearModel(np.eye(2), np.ones((2, 1)), W)


def test_only_the_symmetric_part_of_a_critic_counts():
    assert np.array_equal(QuadraticCritic([[1.0, 3.0], [1.0, 2.0]]).G, [[1.0, 2.0], [2.0, 2.0]])


@pytest.mark.parametrize("call", CALLS)
def test_an_unstable_gain_has_no_exact_critic(call):
    lqg = random_lqg(2, 1, np.random.default_rng(0), spectral_radius=1.2)
    with pytest.raises(UnstablePolicyError):
        call(lqg, np.zeros((1, 2)), 1)


def test_an_unstable_gain_is_fine_with_a_given_critic():
    lqg, K, model, critic = random_case(14)
    lqg = replaced(lqg, A=3.0 * lqg.A)
    value, gradient = autograd(lqg, K, 5, model, critic)
    assert maac_objective(lqg, K, 5, model, critic) == pytest.approx(value, rel=1e-12)
    assert relative_error(maac_gradient(lqg, K, 5, model, critic), gradient) < 1e-12


@pytest.mark.parametrize("horizon", [0, 1, 3, 5])
def test_finite_horizon_objective_is_the_finite_return_in_value(horizon):
    lqg, K, *_ = random_case(7, 3, 2)
    exact = evaluate(lqg, K, T=5).J
    assert maac_objective(lqg, K, horizon, T=5) == pytest.approx(exact, rel=1e-12)


def test_finite_horizon_error_parts_sum_and_vanish_at_the_end():
    lqg, K, model, critic = random_case(7, 3, 2)[:4]
    error = gradient_error(lqg, K, 2, model, critic, T=5)
    parts = error.truncation + error.model + error.critic + error.interaction
    np.testing.assert_allclose(parts, error.total, atol=1e-10)
    assert np.abs(error.truncation).max() > 1e-6
    np.testing.assert_allclose(gradient_error(lqg, K, 5, T=5).total, 0.0, atol=1e-10)
    unstable = 10.0 * np.ones_like(K)
    assert np.isfinite(gradient_error(lqg, unstable, 5, T=5).total).all()


def test_a_horizon_beyond_the_last_reward_is_refused():
    lqg, K, *_ = random_case(7, 3, 2)
    with pytest.raises(ValueError, match="horizon must be at most T = 3, got 4"):
        maac_gradient(lqg, K, 4, T=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"critic": np.eye(3)}, "critic must be a QuadraticCritic, got ndarray"),
        ({"model": (np.eye(2), np.ones((2, 1)))}, "model must be a LinearModel, got tuple"),
    ],
)
def test_what_is_no_model_or_critic_is_named(options, message):
    lqg = double_integrator()
    with pytest.raises(ValueError, match=message):
        maac_gradient(lqg, 0.5 * optimal_gain(lqg), 2, **options)


def test_what_is_too_large_for_numbers_is_refused():
    lqg = double_integrator()
    best = optimal_gain(lqg)
    with pytest.raises(UnstablePolicyError, match="gradient of 2000 rewards overflows"):
        policy_gradient(lqg, -100 * best, T=2000)
    with pytest.raises(UnstablePolicyError, match="return of 2000 rewards overflows"):
        evaluate(lqg, -100 * best, T=2000)


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (maac_objective, "the objective of 400 model steps"),
        (maac_gradient, "the gradient of 400 model steps"),
        (gradient_error, "the gradient of 400 model steps"),
        (lipschitz_constants, "a trajectory of 400 steps"),
    ],
)
def test_a_model_whose_trajectories_overflow_is_refused(call, what):
    lqg = double_integrator()
    with pytest.raises(UnstablePolicyError, match=f"{what} overflows"):
        call(lqg, 0.5 * optimal_gain(lqg), 400, model=LinearModel(9.0 * lqg.A, lqg.B))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1, np.random.default_rng(0)), "n must be a whole number"),
        ((2.5, 1, np.random.default_rng(0)), "n must be a whole number"),
        ((3, 1, 0), "rng must be a numpy.random.Generator, got 0"),
    ],
)
def test_a_random_problem_needs_sizes_and_a_generator(arguments, message):
    with pytest.raises(ValueError, match=message):
        random_lqg(*arguments)
    with pytest.raises(ValueError, match="spectral_radius must be"):
        random_lqg(2, 1, np.random.default_rng(0), spectral_radius=-3.0)
