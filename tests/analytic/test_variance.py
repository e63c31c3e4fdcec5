from itertools import pairwise

import numpy as np
import pytest

from analytic import (
    QuadraticCritic,
    UnstablePolicyError,
    double_integrator,
    evaluate,
    maac_gradient,
    pathwise_moments,
    policy_gradient,
    random_lqg,
    score_function_moments,
)
from tests.analytic.problems import (
    random_case,
    relative_error,
    replaced,
    scalar_lqg,
)
from tests.analytic.sampling import draw, pathwise_samples, quadrature, score_samples

SHAPES = [(1, 1), (2, 1), (3, 2)]


SAMPLES = 200_000


def assert_moments_equal(moments, samples, draws):
    """Mean and variance over weighted quadrature nodes, where both are exact."""
    mean = draws.mean(samples)
    variance = draws.mean((samples - mean) ** 2)
    assert relative_error(moments.mean, mean) < 1e-9
    assert relative_error(moments.variance, variance) < 1e-9


def assert_moments_match(moments, samples, *, sharpness):
    """Mean and variance within 4 standard errors, from the samples' own second and fourth moments.

    `sharpness` caps the error of the variance relative to it, so that the check cannot be empty.
    """
    centred = samples - samples.mean(axis=0)
    variance = (centred**2).mean(axis=0)
    mean_error = np.sqrt(variance / len(samples))
    variance_error = np.sqrt(((centred**4).mean(axis=0) - variance**2) / len(samples))
    assert (np.abs(samples.mean(axis=0) - moments.mean) < 4.0 * mean_error).all()
    assert (np.abs(variance - moments.variance) < 4.0 * variance_error).all()
    assert (variance_error < sharpness * moments.variance).all()


@pytest.mark.parametrize("horizon", [0, 1, 4])
@pytest.mark.parametrize("terminal_samples", [1, 5])
@pytest.mark.parametrize(("n", "m"), SHAPES)
def test_pathwise_mean_is_the_exact_gradient(n, m, terminal_samples, horizon):
    lqg, K, model, critic = random_case(0, n, m)
    for given in ({}, {"model": model}, {"critic": critic}, {"model": model, "critic": critic}):
        mean = pathwise_moments(lqg, K, horizon, terminal_samples=terminal_samples, **given).mean
        assert relative_error(mean, maac_gradient(lqg, K, horizon, **given)) < 1e-11


@pytest.mark.parametrize("horizon", [0, 1, 4])
@pytest.mark.parametrize("baseline", [False, True])
@pytest.mark.parametrize(("n", "m"), SHAPES)
def test_score_function_mean_is_the_exact_gradient(n, m, baseline, horizon):
    lqg, K, _, critic = random_case(1, n, m)
    for given in (None, critic):
        mean = score_function_moments(lqg, K, horizon, given, baseline=baseline).mean
        assert relative_error(mean, maac_gradient(lqg, K, horizon, critic=given)) < 1e-10


@pytest.mark.parametrize("horizon", [1, 2, 5])
@pytest.mark.parametrize("baseline", [False, True])
def test_without_bootstrap_its_mean_is_the_finite_horizon_gradient(baseline, horizon):
    lqg, K, *_ = random_case(2, 2, 2)
    mean = score_function_moments(lqg, K, horizon, bootstrap=False, baseline=baseline).mean
    assert relative_error(mean, policy_gradient(lqg, K, horizon)) < 1e-10


def test_without_bootstrap_and_horizon_there_is_nothing_to_estimate():
    lqg, K, *_ = random_case(2)
    moments = score_function_moments(lqg, K, 0, bootstrap=False)
    assert not moments.mean.any()
    assert not moments.variance.any()


def test_pathwise_moments_of_a_scalar_problem_by_hand():
    # H = 0: the sample is 2 (g_as s + g_aa a) s = 2 E' s^2 + 2 g_aa s e with E' = g_as - g_aa K.
    lqg = scalar_lqg(0.5, 1.0, M0=4.0, action_cov=0.25)
    critic = QuadraticCritic([[1.0, 0.5], [0.5, 2.0]])
    moments = pathwise_moments(lqg, [[1.0]], 0, critic=critic)
    # E' = -1.5: mean 2 E' M0 = -12; variance 4 E'^2 (2 M0^2) + 4 g_aa^2 M0 / 4 = 288 + 16.
    assert moments.mean[0, 0] == pytest.approx(-12.0)
    assert moments.variance[0, 0] == pytest.approx(304.0)


def test_score_function_moments_of_a_scalar_problem_by_hand():
    # H = 0, Q = -a^2, K = 0, sigma = 1: the sample is s e e^2; E s^2 E e^6 = 4 * 15.
    lqg = scalar_lqg(0.5, 1.0, M0=4.0, action_cov=1.0)
    critic = QuadraticCritic([[0.0, 0.0], [0.0, 1.0]])
    moments = score_function_moments(lqg, [[0.0]], 0, critic)
    assert moments.mean[0, 0] == pytest.approx(0.0, abs=1e-12)
    assert moments.variance[0, 0] == pytest.approx(60.0)


@pytest.mark.parametrize(
    ("n", "m", "horizon", "terminal_samples"),
    [(1, 1, 3, 1), (2, 1, 0, 3), (2, 1, 2, 1), (1, 2, 1, 2), (2, 2, 1, 1)],
)
def test_pathwise_moments_match_quadrature(n, m, horizon, terminal_samples):
    lqg, K, model, critic = random_case(3, n, m)
    moments = pathwise_moments(lqg, K, horizon, model, critic, terminal_samples)
    draws = quadrature(lqg, horizon, 3, terminal_samples)  # squares are of degree 4
    assert_moments_equal(moments, pathwise_samples(lqg, K, draws, model, critic), draws)


@pytest.mark.parametrize(("n", "m", "horizon"), [(1, 1, 1), (1, 1, 2), (2, 1, 1), (1, 2, 1)])
@pytest.mark.parametrize("bootstrap", [True, False])
@pytest.mark.parametrize("baseline", [True, False])
def test_score_function_moments_match_quadrature(baseline, bootstrap, n, m, horizon):
    lqg, K, _, critic = random_case(4, n, m)
    how = {"bootstrap": bootstrap, "baseline": baseline}
    draws = quadrature(lqg, horizon, 5)  # squares are of degree 8
    samples = score_samples(lqg, K, draws, critic, **how)
    assert_moments_equal(score_function_moments(lqg, K, horizon, critic, **how), samples, draws)


@pytest.mark.parametrize("horizon", [0, 1, 3])
@pytest.mark.parametrize("terminal_samples", [1, 3])
def test_pathwise_moments_match_sampling(terminal_samples, horizon):
    lqg, K, model, critic = random_case(5, 2, 1)
    moments = pathwise_moments(lqg, K, horizon, model, critic, terminal_samples)
    draws = draw(lqg, horizon, SAMPLES, 10, terminal_samples)
    samples = pathwise_samples(lqg, K, draws, model, critic)
    assert_moments_match(moments, samples, sharpness=0.015)


@pytest.mark.parametrize("horizon", [0, 1, 3])
@pytest.mark.parametrize("baseline", [True, False])
def test_score_function_moments_match_sampling(baseline, horizon):
    lqg, K, _, critic = random_case(6, 2, 1)
    how = {"bootstrap": True, "baseline": baseline}
    samples = score_samples(lqg, K, draw(lqg, horizon, SAMPLES, 11), critic, **how)
    moments = score_function_moments(lqg, K, horizon, critic, **how)
    assert_moments_match(moments, samples, sharpness=0.05)


def test_the_baseline_leaves_the_mean_and_changes_the_variance():
    lqg, K, *_ = random_case(7, 2, 2)
    plain = score_function_moments(lqg, K, 3)
    steadied = score_function_moments(lqg, K, 3, baseline=True)
    assert relative_error(steadied.mean, plain.mean) < 1e-10
    assert (steadied.variance < plain.variance).all()


def test_a_constant_in_the_critic_moves_only_the_variance_without_baseline():
    lqg, K, *_ = random_case(8)
    G = evaluate(lqg, K).G
    plain, shifted = (score_function_moments(lqg, K, 2, QuadraticCritic(G, d)) for d in (0.0, 50.0))
    assert relative_error(shifted.mean, plain.mean) < 1e-10
    assert (shifted.variance > plain.variance).all()
    # With bootstrap and baseline the constant enters as gamma^t d - gamma^H d: gone at H = 0.
    low, high = (
        score_function_moments(lqg, K, 0, QuadraticCritic(G, d), baseline=True) for d in (0.0, 50.0)
    )
    assert relative_error(high.variance, low.variance) < 1e-10


@pytest.mark.parametrize("horizon", [0, 2])
def test_more_terminal_samples_leave_the_mean_and_never_raise_the_variance(horizon):
    lqg, K, model, critic = random_case(9, 3, 2)
    found = [pathwise_moments(lqg, K, horizon, model, critic, N) for N in (1, 2, 4, 16, 10**9)]
    for fewer, more in pairwise(found):
        assert relative_error(more.mean, fewer.mean) < 1e-11
        assert (more.variance < fewer.variance).all()
    # What is averaged falls as 1 / N; the rest comes from the trajectory.
    removable = [moments.variance - found[-1].variance for moments in found[:-1]]
    for N, variance in zip((1, 2, 4, 16), removable, strict=True):
        assert relative_error(N * variance, removable[0]) < 1e-6


def test_with_nothing_random_the_pathwise_variance_is_zero():
    lqg, K, *_ = random_case(10)
    fixed = replaced(lqg, W=np.zeros((2, 2)), action_cov=[[0.0]], M0=np.zeros((2, 2)))
    assert not pathwise_moments(fixed, K, 3).variance.any()


def test_a_singular_policy_covariance_has_no_score():
    lqg, K, *_ = random_case(11)
    with pytest.raises(ValueError, match="action_cov must be positive definite"):
        score_function_moments(replaced(lqg, action_cov=[[0.0]]), K, 1)


def test_a_rank_one_policy_covariance_has_no_score():
    direction = np.random.default_rng(4).standard_normal((2, 1))
    lqg, K, *_ = random_case(11, 2, 2)
    with pytest.raises(ValueError, match="action_cov must be positive definite"):
        score_function_moments(replaced(lqg, action_cov=direction @ direction.T), K, 1)


@pytest.mark.parametrize("moments", [pathwise_moments, score_function_moments])
def test_bad_arguments_are_refused(moments):
    lqg = double_integrator()
    with pytest.raises(ValueError, match="horizon"):
        moments(lqg, [[0.5, 1.0]], -1)
    with pytest.raises(ValueError, match=r"^K must have shape"):
        moments(lqg, [[0.5]], 1)
    with pytest.raises(ValueError, match=r"^critic\.G must have shape"):
        moments(lqg, [[0.5, 1.0]], 1, critic=QuadraticCritic(np.eye(2)))
    unstable = random_lqg(2, 1, np.random.default_rng(0), spectral_radius=1.2)
    with pytest.raises(UnstablePolicyError):
        moments(unstable, np.zeros((1, 2)), 1)


def test_the_score_without_critic_needs_no_stability():
    lqg = random_lqg(2, 1, np.random.default_rng(0), spectral_radius=1.2)
    mean = score_function_moments(lqg, np.zeros((1, 2)), 3, bootstrap=False).mean
    assert relative_error(mean, policy_gradient(lqg, np.zeros((1, 2)), 3)) < 1e-10


@pytest.mark.parametrize("samples", [0, 1.5, float("nan")])
def test_a_meaningless_number_of_terminal_samples_is_refused(samples):
    lqg, K, *_ = random_case(11, 2, 1)
    with pytest.raises(ValueError, match="terminal_samples must be a whole number"):
        pathwise_moments(lqg, K, 1, terminal_samples=samples)


@pytest.mark.parametrize("moments", [pathwise_moments, score_function_moments])
def test_moments_that_are_too_large_for_numbers_are_refused(moments):
    lqg = scalar_lqg(1e100, 1.0, action_cov=1.0)
    with pytest.raises(UnstablePolicyError, match="a moment of the estimate overflows"):
        moments(lqg, [[0.0]], 3, critic=QuadraticCritic(np.eye(2)))
