"""Estimates beside the exact gradient: what is scored, and how."""

import numpy as np
import pytest

import analytic
from maac_bench.estimators import Settings, make_estimator
from maac_bench.scoring import expectation, linear_problem, replicate, score
from maac_bench.tasks import linear_quadratic_task, make_task, require_lqg


def test_error_falls_as_one_over_root_n():
    lqg = analytic.double_integrator()
    task = linear_quadratic_task("test/DI-v0", lqg)
    gain = 0.5 * analytic.optimal_gain(lqg)
    critic, estimator = analytic.evaluate(lqg, gain), make_estimator("pathwise", Settings(4))
    exact = analytic.maac_gradient(lqg, gain, 4).ravel()
    sizes = np.array([16, 64, 256, 1024])
    errors = [
        np.sqrt(np.mean((replicate(task, estimator, gain, critic, n, range(200)) - exact) ** 2))
        for n in sizes.tolist()
    ]
    slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert slope == pytest.approx(-0.5, abs=0.06)


def test_bias_of_the_exact_pair_falls_with_the_truncation():
    lqg = analytic.double_integrator()
    task = linear_quadratic_task("test/DI-v0", lqg)
    gain = 0.5 * analytic.optimal_gain(lqg)
    truth = analytic.policy_gradient(lqg, gain)
    for horizon in (0, 10, 40):
        result = score(
            task,
            make_estimator("pathwise", Settings(horizon)),
            gain,
            analytic.evaluate(lqg, gain),
            samples=2000,
            seeds=range(20),
        )
        exact = analytic.gradient_error(lqg, gain, horizon).truncation
        expected = np.linalg.norm(exact) / np.linalg.norm(truth)
        assert result.bias == pytest.approx(expected, abs=4 * result.bias_error)


def test_replicates_do_not_depend_on_how_they_are_chunked(monkeypatch):
    task = make_task("maac_bench/DoubleIntegrator-v0")
    lqg = require_lqg(task)
    gain = 0.5 * analytic.optimal_gain(lqg)
    arguments = (
        task,
        make_estimator("pathwise", Settings(2)),
        gain,
        analytic.evaluate(lqg, gain),
        8,
    )
    whole = replicate(*arguments, range(6))
    monkeypatch.setattr("maac_bench.scoring._LARGEST_CHUNK", 48)
    np.testing.assert_allclose(replicate(*arguments, range(6)), whole, rtol=1e-5)


def test_a_gradient_that_overflows_is_not_returned():
    lqg = analytic.LQG([[1.5]], [[0.1]], [[1.0]], [[1.0]], action_cov=[[1.0]], gamma=0.4)
    task = linear_quadratic_task("test/Unstable-v0", lqg)
    with pytest.raises(FloatingPointError, match="test/Unstable-v0 is not finite"):
        replicate(
            task,
            make_estimator("bptt", Settings(horizon=400)),
            np.zeros((1, 1)),
            analytic.QuadraticCritic(np.eye(2)),
            16,
            range(2),
        )


def test_what_an_estimator_does_with_the_critic_is_a_known_role():
    class Misspelt:
        settings, critic_role = Settings(2), "close"

    lqg = analytic.double_integrator()
    with pytest.raises(ValueError, match="unknown critic_role 'close'; choose from closes, base"):
        expectation(
            Misspelt(), lqg, analytic.optimal_gain(lqg), analytic.QuadraticCritic(np.eye(3))
        )


def test_a_policy_without_noise_can_be_scored():
    """As an LQG has it unless told otherwise."""
    lqg = analytic.LQG(0.9 * np.eye(2), np.eye(2), np.eye(2), np.eye(2))
    task, gain = linear_quadratic_task("plain", lqg), 0.5 * analytic.optimal_gain(lqg)
    estimator = make_estimator("pathwise", Settings(2))
    critic = analytic.evaluate(lqg, gain)
    result = score(task, estimator, gain=gain, critic=critic, samples=2000, seeds=range(4))
    assert result.cosine > 0.99


def test_a_degenerate_action_covariance_is_named():
    lqg = analytic.LQG(
        0.9 * np.eye(2), np.eye(2), np.eye(2), np.eye(2), action_cov=np.diag([1.0, 0.0])
    )
    task, critic = linear_quadratic_task("flat", lqg), analytic.QuadraticCritic(np.eye(4), 0.0)
    with pytest.raises(ValueError, match="action_cov must be positive definite or zero"):
        linear_problem(task, np.zeros((2, 2)), critic, 1)


CORRELATED = np.array([[0.5, 0.3], [0.3, 0.4]])


def correlated(gamma=0.8):
    """A task with correlated action noise, and a stable gain."""
    lqg = analytic.random_lqg(2, 2, np.random.default_rng(3), gamma=gamma)
    lqg = analytic.LQG(lqg.A, lqg.B, lqg.Q, lqg.R, lqg.W, CORRELATED, lqg.M0, gamma)
    return linear_quadratic_task("correlated", lqg), 0.5 * analytic.optimal_gain(lqg)


def test_every_number_of_a_score_by_hand(monkeypatch):
    """Errors are relative to the exact gradient's length."""
    task, gain = correlated()
    truth = analytic.policy_gradient(require_lqg(task), gain).ravel()
    size = np.linalg.norm(truth)
    first = np.zeros_like(truth)
    first[0] = size
    estimates = truth + np.array([[1.0], [-1.0], [3.0]]) * first
    monkeypatch.setattr("maac_bench.scoring.replicate", lambda *_arguments: estimates)
    critic, estimator = (
        analytic.evaluate(require_lqg(task), gain),
        make_estimator("dpg", Settings()),
    )
    result = score(task, estimator, gain, critic, samples=16, seeds=(0, 1, 2))
    np.testing.assert_allclose(result.truth, truth)
    np.testing.assert_allclose(result.mean, truth + first)
    assert result.bias == pytest.approx(1.0)
    assert result.bias_error == pytest.approx(np.sqrt(4.0 / 3.0))
    assert result.spread == pytest.approx(4.0 * 2.0)
    assert result.rms_error == pytest.approx(np.sqrt(11.0 / 3.0))
    aligned = (truth + first) @ truth / (np.linalg.norm(truth + first) * size)
    assert result.cosine == pytest.approx(aligned)


def test_the_tasks_noise_and_discount_are_the_problems():
    task, gain = correlated()
    problem, policy = linear_problem(task, gain, analytic.QuadraticCritic(np.eye(4)), 1)
    factor = policy.scale.numpy()
    np.testing.assert_allclose(factor @ factor.T, CORRELATED, rtol=1e-6)
    assert problem.discount == 0.8


def test_estimates_on_correlated_noise_have_the_exact_expectation():
    """Starts and noise that shared their draws would not."""
    task, gain = correlated()
    critic = analytic.evaluate(require_lqg(task), gain)
    estimates = replicate(
        task, make_estimator("pathwise", Settings(3)), gain, critic, 256, range(200)
    )
    exact = analytic.maac_gradient(require_lqg(task), gain, 3).ravel()
    error = estimates.std(axis=0, ddof=1) / np.sqrt(len(estimates))
    assert (np.abs(estimates.mean(axis=0) - exact) < 5.0 * error).all()


def test_too_few_seeds_and_samples_are_refused():
    task, gain = correlated()
    critic = analytic.evaluate(require_lqg(task), gain)
    estimator = make_estimator("pathwise", Settings(3))
    for seeds in ((), (0,)):
        with pytest.raises(ValueError, match=f"at least two seeds, got {len(seeds)}"):
            score(task, estimator, gain, critic, 8, seeds)
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        score(task, estimator, gain, critic, 0, (0, 1))


def test_a_model_or_a_critic_of_another_kind_or_size_is_refused():
    task, gain = correlated()
    lqg = require_lqg(task)
    critic = analytic.evaluate(lqg, gain)
    estimator = make_estimator("pathwise", Settings(3))
    large = analytic.LinearModel(np.eye(7), np.ones((7, 1)), np.eye(7))
    for model, said in ((large, r"model\.A must"), ((lqg.A, lqg.B), "must be a LinearModel")):
        with pytest.raises(ValueError, match=said):
            score(task, estimator, gain, critic, 8, (0, 1), model)
    with pytest.raises(ValueError, match="critic must be a QuadraticCritic, got ndarray"):
        score(task, estimator, gain, critic.G, 8, (0, 1))


def test_terminal_actions_count_as_memory():
    task, gain = correlated()
    critic = analytic.evaluate(require_lqg(task), gain)
    estimator = make_estimator("pathwise", Settings(3, terminal_samples=1_000_000))
    with pytest.raises(ValueError, match="1000000 terminal actions is more than memory"):
        replicate(task, estimator, gain, critic, 256, (0, 1))


def test_the_error_of_a_cosine_is_what_other_seeds_show():
    """Means of 64 estimates each: their cosines vary as the jackknife of one of them says."""
    task, gain = correlated()
    critic = analytic.evaluate(require_lqg(task), gain)
    estimator = make_estimator("pathwise", Settings(3))
    found = [
        score(task, estimator, gain, critic, 64, range(64 * k, 64 * k + 64)) for k in range(100)
    ]
    spread = np.std([one.cosine for one in found], ddof=1)
    said = np.sqrt(np.mean([one.cosine_error**2 for one in found]))
    assert said == pytest.approx(spread, rel=0.2)


@pytest.mark.parametrize("name", ["pathwise", "score", "score-baseline", "score-critic", "bptt"])
def test_estimates_through_a_wrong_model_have_the_expectation_of_that_model(name):
    """What is rolled out has other dynamics and another noise; the truth stays the task's."""
    task, gain = correlated()
    lqg = require_lqg(task)
    critic = analytic.evaluate(lqg, 0.9 * gain)
    model = analytic.LinearModel(0.8 * lqg.A, 1.2 * lqg.B, 0.5 * lqg.W)
    estimator = make_estimator(name, Settings(3))
    estimates = replicate(task, estimator, gain, critic, 256, range(200), model)
    expected = expectation(estimator, lqg, gain, critic, model)
    error = estimates.std(axis=0, ddof=1) / np.sqrt(len(estimates))
    assert (np.abs(estimates.mean(axis=0) - expected) < 5.0 * error).all()
    right = expectation(estimator, lqg, gain, critic)
    assert (np.abs(estimates.mean(axis=0) - right) > 5.0 * error).any()
    result = score(task, estimator, gain, critic, 256, range(4), model)
    np.testing.assert_array_equal(result.truth, analytic.policy_gradient(lqg, gain).ravel())


def test_without_a_critic_the_expectation_is_the_gradient_of_the_cut_return():
    """By another route: that of a finite horizon."""
    task, gain = correlated()
    lqg = require_lqg(task)
    for name in ("bptt", "score", "score-baseline"):
        exact = analytic.policy_gradient(lqg, gain, T=5).ravel()
        mean = expectation(
            make_estimator(name, Settings(5)), lqg, gain, analytic.evaluate(lqg, gain)
        )
        np.testing.assert_allclose(mean, exact, rtol=1e-10)


def test_an_estimate_of_exactly_nothing_is_no_estimate(monkeypatch):
    task, gain = correlated()
    monkeypatch.setattr("maac_bench.scoring.replicate", lambda *_given: np.zeros((2, 4)))
    estimator = make_estimator("pathwise", Settings(3))
    with pytest.raises(FloatingPointError, match="the mean estimate is exactly zero"):
        score(task, estimator, gain, analytic.evaluate(require_lqg(task), gain), 8, (0, 1))


@pytest.mark.parametrize("unit", [1e-10, 1.0, 1e4])
def test_whether_a_gradient_is_zero_does_not_depend_on_the_unit_of_actions(unit):
    """Actions in other units: B, R and the gain change, the problem does not."""
    lqg = analytic.LQG([[0.9]], [[unit]], [[1.0]], [[unit**2]], action_cov=[[1.0]], gamma=0.9)
    best = analytic.optimal_gain(lqg)
    task = linear_quadratic_task("scaled", lqg)
    critic = analytic.evaluate(lqg, 0.5 * best)
    with pytest.raises(ValueError, match="the exact gradient is zero at this gain"):
        score(task, make_estimator("pathwise", Settings(1)), best, critic, 8, (0, 1))
    assert score(task, make_estimator("pathwise", Settings(1)), 0.5 * best, critic, 8, (0, 1))
