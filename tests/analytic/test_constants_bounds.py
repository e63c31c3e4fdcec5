import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytic import (
    LinearModel,
    QuadraticCritic,
    UnstablePolicyError,
    double_integrator,
    lipschitz_constants,
    maac_gradient,
    random_lqg,
)
from analytic.bounds import lemma_4_1, sensitivity_gap
from tests.analytic.problems import (
    exact_critic,
    random_case,
    random_cases,
    replaced,
    reproducible,
    scalar_lqg,
    step_cost,
)
from tests.analytic.sampling import draw, pathwise_samples, quadrature, sensitivities, simulate


def wild_case(m, true_gain, model_gain):
    """Loud noise, and controls so strong that the sensitivities peak after t = 0."""
    lqg, K, model, critic = random_case(0, 2, m, gain=0.1)
    lqg = replaced(lqg, A=0.5 * lqg.A, B=true_gain * lqg.B, action_cov=25.0 * lqg.action_cov)
    return lqg, K, LinearModel(0.6 * model.A, model_gain * model.B, 4.0 * lqg.W), critic


@pytest.mark.parametrize(("m", "horizon"), [(1, 0), (1, 1), (1, 3), (2, 2)])
@pytest.mark.parametrize(("true_gain", "model_gain"), [(3.0, 1.0), (1.0, 3.0)])
def test_constants_match_rollouts_under_common_noise(true_gain, model_gain, m, horizon):
    """Quadrature of degree 3 is exact for the mean of squares of what is linear in the noise."""
    lqg, K, model, critic = wild_case(m, true_gain, model_gain)
    found = lipschitz_constants(lqg, K, horizon, model, critic)
    draws = quadrature(lqg, horizon, 2)
    true, learned = simulate(lqg, K, draws), simulate(lqg, K, draws, model)
    x, y, cost = true.inputs, learned.inputs, step_cost(lqg)

    def rms(samples):
        return np.sqrt(draws.mean((samples.reshape(len(samples), -1) ** 2).sum(axis=1)))

    def largest(samples):
        return max((rms(sample) for sample in samples), default=0.0)

    expected = {
        "eps_Q": rms(2.0 * (y[-1] @ critic.G - x[-1] @ exact_critic(lqg, K).G)),
        "eps_r": largest(2.0 * (y - x)[:horizon] @ cost),
        "eps_pi": largest(np.sqrt(m) * (learned.states - true.states)),
        "L_r": largest(2.0 * y[:horizon] @ cost),
        "L_Q": rms(2.0 * y[-1] @ critic.G),
    }
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-9, abs=1e-12), name
    jacobians = sensitivities(lqg, K, true), sensitivities(lqg, K, learned, model)
    growth = [[rms(D) / found.K**t for t, D in enumerate(sampled)] for sampled in jacobians]
    assert np.max(growth) == pytest.approx(found.C, rel=1e-9)  # C K^t is met at some t
    if horizon > 0:
        assert max(growth[model_gain > true_gain]) == np.max(growth) > growth[0][0]


def test_operator_norms_are_the_largest_gain_over_directions():
    lqg, K, model, critic = random_case(1, 2, 1)
    found = lipschitz_constants(lqg, K, 2, model, critic)
    unit = np.random.default_rng(0).standard_normal((3, 100_000))
    unit /= np.linalg.norm(unit, axis=0)
    truth, learned = np.hstack([lqg.A, lqg.B]), np.hstack([model.A, model.B])
    plane = unit[:2] / np.linalg.norm(unit[:2], axis=0)
    for name, images in (
        ("eps_f", (learned - truth) @ unit),
        ("L_f", truth @ unit),
        ("L_pi", K @ plane),
        ("K", (lqg.A - lqg.B @ K) @ plane),
    ):
        assert getattr(found, name) == pytest.approx(np.linalg.norm(images, axis=0).max(), rel=1e-3)
    assert pytest.approx(found.L_f * (1.0 + found.L_pi)) == found.L


def test_sensitivities_are_taken_to_grow_at_least_by_one():
    lqg, K, *_ = random_case(2)
    calm = replaced(lqg, A=0.1 * lqg.A, B=0.1 * lqg.B)
    assert lipschitz_constants(calm, K, 2).K == 1.0


@pytest.mark.parametrize("horizon", [0, 1, 5])
def test_errors_vanish_with_exact_model_and_critic(horizon):
    lqg, K, *_ = random_case(3, 3, 2)
    for given_model in (None, LinearModel(lqg.A, lqg.B, lqg.W)):
        found = lipschitz_constants(lqg, K, horizon, given_model)
        for name in ("eps_f", "eps_Q", "eps_r", "eps_pi"):
            assert getattr(found, name) == pytest.approx(0.0, abs=1e-12), name
        assert lemma_4_1(found, horizon, lqg.gamma) == pytest.approx(0.0, abs=1e-10)


@pytest.mark.parametrize("error", [1e-5, 1e-10])
def test_gaps_between_trajectories_shrink_in_proportion(error):
    lqg, K, *_ = random_case(4)
    small, large = (
        lipschitz_constants(lqg, K, 3, LinearModel(lqg.A + e, lqg.B + e, lqg.W))
        for e in (error, 1e-4)
    )
    for name in ("eps_f", "eps_Q", "eps_r", "eps_pi"):
        ratio = getattr(small, name) / getattr(large, name)
        assert ratio == pytest.approx(error / 1e-4, rel=1e-2), name


def test_bad_arguments_of_the_constants_are_refused():
    with pytest.raises(ValueError, match="horizon"):
        lipschitz_constants(double_integrator(), [[0.5, 1.0]], -1)
    with pytest.raises(ValueError, match=r"^K must have shape"):
        lipschitz_constants(double_integrator(), [[0.5]], 1)
    unstable = random_lqg(2, 1, np.random.default_rng(0), spectral_radius=1.2)
    with pytest.raises(UnstablePolicyError):
        lipschitz_constants(unstable, np.zeros((1, 2)), 1)


scales = st.sampled_from([1e-3, 1.0, 1e3])


@reproducible
@given(random_cases, st.integers(0, 6), st.tuples(scales, scales, scales, scales))
def test_corrected_lemma_4_1_is_never_violated(case, horizon, scale):
    lqg, K, model, critic = case
    names = ("Q", "W", "action_cov", "M0")
    lqg = replaced(lqg, **{x: s * getattr(lqg, x) for x, s in zip(names, scale, strict=True)})
    exact = maac_gradient(lqg, K, horizon)
    error = np.linalg.norm(maac_gradient(lqg, K, horizon, model, critic) - exact)
    bound = lemma_4_1(lipschitz_constants(lqg, K, horizon, model, critic), horizon, lqg.gamma)
    assert error <= bound * (1.0 + 1e-9) + 1e-9 * np.linalg.norm(exact)


@pytest.mark.parametrize("horizon", [0, 1, 3])
def test_corrected_lemma_4_1_bounds_the_mean_norm_of_single_samples_too(horizon):
    lqg, K, model, critic = random_case(5, 2, 1, model_error=0.05)
    draws = draw(lqg, horizon, 20_000, seed=3)
    true = pathwise_samples(lqg, K, draws, None, exact_critic(lqg, K))
    learned = pathwise_samples(lqg, K, draws, model, critic)
    error = np.linalg.norm(learned - true, axis=(1, 2)).mean()
    bound = lemma_4_1(lipschitz_constants(lqg, K, horizon, model, critic), horizon, lqg.gamma)
    assert error < bound
    assert np.linalg.norm((learned - true).mean(axis=0)) < error


@pytest.mark.parametrize(("true_gain", "model_gain"), [(3.0, 1.0), (1.0, 3.0)])
def test_sensitivity_gap_bounds_the_rolled_out_one(true_gain, model_gain):
    lqg, K, model, critic = wild_case(1, true_gain, model_gain)
    found = lipschitz_constants(lqg, K, 3, model, critic)
    draws = quadrature(lqg, 3, 2)
    true = sensitivities(lqg, K, simulate(lqg, K, draws))
    gaps = sensitivities(lqg, K, simulate(lqg, K, draws, model), model) - true
    sizes = [np.sqrt(draws.mean((gap**2).sum(axis=(1, 2, 3)))) for gap in gaps]
    assert sizes[0] == sensitivity_gap(found, 0) == 0.0
    for t in (1, 2, 3):
        assert 0.0 < sizes[t] <= sensitivity_gap(found, t)


def test_corrected_lemma_4_1_can_be_met_exactly():
    """H = 0, one state, only the action's row of the critic wrong: no inequality loses anything."""
    lqg = scalar_lqg(0.9, 0.1, M0=9.0)
    K = np.array([[0.5]])
    critic = QuadraticCritic(exact_critic(lqg, K).G + np.diag([0.0, 0.2]))
    error = np.linalg.norm(maac_gradient(lqg, K, 0, critic=critic) - maac_gradient(lqg, K, 0))
    assert error == pytest.approx(2.0 * 0.2 * 0.5 * 9.0)
    assert lemma_4_1(lipschitz_constants(lqg, K, 0, None, critic), 0, 0.9) == pytest.approx(error)
