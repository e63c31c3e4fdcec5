import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import norm

from analytic import (
    Constants,
    bounds,
    double_integrator,
    lipschitz_constants,
    maac_gradient,
    optimal_gain,
)
from analytic.bounds import (
    geometric,
    lemma_4_1,
    lemma_4_2,
    model_sum,
    return_loss,
    sensitivity_gap,
    theorem_4_1,
)
from tests.analytic.problems import (
    constants,
    discounts,
    largest_total_variation,
    random_cases,
    random_constants,
    relative_error,
    reproducible,
)

FORMS = ["printed", "corrected"]
far_sighted = st.sampled_from([0.0, 0.5, 0.9, 0.99, 0.999])


@reproducible
@given(random_constants, st.integers(0, 8), discounts)
def test_corrected_model_sum_is_the_papers_own_sum(c, horizon, gamma):
    total = 0.0
    for t in range(horizon):
        for k in range(t + 1):
            total += gamma**t * c.eps_f * c.L_r * c.L ** (t - k) * c.K**t
    assert model_sum(c, horizon, gamma) == pytest.approx(total, rel=1e-10)
    assume(abs(c.L - 1.0) > 1e-2)
    quotients = sum(
        gamma**t * c.eps_f * c.L_r * (c.L ** (t + 1) - 1) / (c.L - 1) * c.K**t
        for t in range(horizon)
    )
    assert model_sum(c, horizon, gamma) == pytest.approx(quotients, rel=1e-8)


@reproducible
@given(random_constants, st.integers(0, 8), discounts)
def test_closed_forms_of_the_model_sum(c, horizon, gamma):
    L, weight = c.L, gamma * c.K
    assume(min(abs(L - 1), abs(weight - 1), abs(weight * L - 1)) > 1e-2)
    with_l, without = ((ratio**horizon - 1) / (ratio - 1) for ratio in (weight * L, weight))
    printed = L * c.eps_f / (L - 1) * (with_l - without)
    corrected = c.eps_f * c.L_r / (L - 1) * (L * with_l - without)
    assert model_sum(c, horizon, gamma, "printed") == pytest.approx(printed, rel=1e-6, abs=1e-9)
    assert model_sum(c, horizon, gamma) == pytest.approx(corrected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_the_sums_are_finite_at_their_removable_singularities(form):
    values = []
    for shift in (-1e-7, 0.0, 1e-7):
        c = constants(eps_f=0.3, L_r=2.0, L_f=1.0 + shift, K=1.25, L_Q=1.0, eps_Q=0.1)
        values.append((model_sum(c, 5, 0.8, form), lemma_4_1(c, 5, 0.8, form)))  # 0.8 K = 1
    assert np.isfinite(values).all()
    assert relative_error(values[0], values[1]) < 1e-5
    assert relative_error(values[2], values[1]) < 1e-5


def test_policies_that_differ_along_the_way_are_a_gap_without_any_model_error():
    c = Constants(0.0, 0.0, 0.0, eps_pi=2.0, L_f=0.5, L_pi=1.0, L_r=1.0, L_Q=1.0, K=1.0, C=3.0)
    # L = 1: (1 + L_pi) * (L_f * eps_pi + L_f * eps_pi) + eps_pi
    assert sensitivity_gap(c, 2) == pytest.approx(6.0)


@pytest.mark.parametrize("count", [-1, 2.5, float("nan")])
def test_numbers_of_steps_are_whole(count):
    c = Constants(1, 1, 1, 1, 1, 1, 1, 1, 1, 1)
    for call in (lambda: geometric(1.0, count), lambda: sensitivity_gap(c, count)):
        with pytest.raises(ValueError, match="must be a whole number of at least 0"):
            call()


def test_geometric_counts_terms():
    assert geometric(1.0, 4) == 4.0
    assert geometric(2.0, 4) == 15.0
    assert geometric(0.0, 3) == 1.0
    assert geometric(3.0, 0) == 0.0


@reproducible
@given(random_constants, st.integers(0, 8), discounts)
def test_corrected_lemma_is_the_recursion_it_is_derived_from(c, horizon, gamma):
    total, state_gap = 0.0, 0.0
    for t in range(horizon + 1):
        gap = (1.0 + c.L_pi) * state_gap + (c.eps_pi if t > 0 else 0.0)
        assert sensitivity_gap(c, t) == pytest.approx(gap, rel=1e-9)
        error, size = (c.eps_Q, c.L_Q) if t == horizon else (c.eps_r if t > 0 else 0.0, c.L_r)
        total += gamma**t * (error * c.C * c.K**t + size * gap)
        state_gap = c.L * state_gap + c.eps_f * c.C * c.K**t + c.L_f * c.eps_pi
    assert lemma_4_1(c, horizon, gamma) == pytest.approx(total, rel=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_at_horizon_zero_only_the_critic_counts(form):
    c = constants(eps_Q=0.5, eps_f=9.0, eps_r=9.0, eps_pi=9.0, L_Q=9.0, K=3.0, C=4.0)
    assert lemma_4_1(c, 0, 0.9, form) == pytest.approx(0.5 * (4.0 if form == "corrected" else 1.0))
    assert model_sum(c, 0, 0.9, form) == 0.0


def test_printed_lemma_adds_its_three_terms():
    c = constants(eps_f=0.5, eps_Q=0.25, L_f=2.0, L_Q=3.0, K=1.5)
    # L = 2, gamma K = 0.75, H = 2: 0.5 * 0.75 * 2 + 0.75^2 * (0.25 + 3 * 0.5 * 3).
    assert lemma_4_1(c, 2, 0.5, "printed") == pytest.approx(0.75 + 0.5625 * 4.75)


def test_the_formula_for_total_variation_against_integration():
    a = np.linspace(-20.0, 20.0, 200_001)
    densities = norm.pdf(a, 0.0, 0.5), norm.pdf(a, -3.0 * 0.2, 0.5)
    integral = 0.5 * np.trapezoid(np.abs(densities[0] - densities[1]), a)
    found = largest_total_variation(np.array([[0.2]]), np.array([[0.25]]), 3.0)
    assert found == pytest.approx(integral, rel=1e-6)


@reproducible
@given(
    random_cases,
    st.integers(0, 4),
    st.sampled_from([1e-6, 1e-4, 1e-2, 1.0]),
    st.sampled_from([0.1, 1.0, 10.0]),
)
def test_corrected_lemma_4_2_is_never_violated(case, horizon, step_size, s_max):
    lqg, K, model, critic = case
    learned = maac_gradient(lqg, K, horizon, model, critic)
    change = step_size * (learned - maac_gradient(lqg, K, horizon))
    assume(np.linalg.norm(change) > 1e-9 * step_size * np.linalg.norm(learned))  # not rounding
    exact = largest_total_variation(change, lqg.action_cov, s_max)
    curvature = 0.5 * s_max**2 / np.linalg.eigvalsh(lqg.action_cov)[0]
    c = lipschitz_constants(lqg, K, horizon, model, critic)
    bound = lemma_4_2(c, horizon, lqg.gamma, step_size, curvature)
    assert exact <= bound * (1.0 + 1e-6)
    assert bound <= 1.0


def test_lemma_4_2_scales_with_the_step_and_the_root_of_the_curvature():
    c = constants(eps_Q=0.5, C=2.0)
    assert lemma_4_2(c, 0, 0.9, 0.1, 8.0) == pytest.approx(0.1 * 2.0 * 1.0)
    assert lemma_4_2(c, 0, 0.9, 0.1, 8.0, "printed") == pytest.approx(0.1 * 2.0 * 0.5)
    assert lemma_4_2(c, 0, 0.9, 100.0, 8.0) == 1.0
    assert lemma_4_2(c, 0, 0.9, 100.0, 8.0, "printed") == pytest.approx(100.0)


def tabular_return(transition, reward, policy, start, gamma):
    """Exact return of a tabular policy: transition [S, A, S], reward and policy [S, A]."""
    chain = np.einsum("sa,sap->sp", policy, transition)
    value = np.linalg.solve(np.eye(len(start)) - gamma * chain, (policy * reward).sum(axis=1))
    return start @ value


def random_mdp(rng):
    """Deterministic transitions and rewards of the state: traps, where one action costs most."""
    states, actions = rng.integers(2, 6), rng.integers(2, 4)
    transition = np.eye(states)[rng.integers(states, size=(states, actions))]
    reward = np.repeat(rng.choice([-1.0, 1.0], (states, 1)), actions, axis=1)
    return transition, reward, rng.dirichlet(np.ones(states))


@reproducible
@given(st.integers(0, 2**32 - 1), far_sighted, st.sampled_from([1e-3, 0.1, 1.0]))
def test_corrected_return_loss_is_never_violated(seed, gamma, mix):
    rng = np.random.default_rng(seed)
    transition, reward, start = random_mdp(rng)
    policy, other = (rng.dirichlet(np.full(reward.shape[1], 0.5), len(start)) for _ in range(2))
    changed = (1.0 - mix) * policy + mix * other
    distance = 0.5 * np.abs(changed - policy).sum(axis=1).max()
    before, after = (tabular_return(transition, reward, p, start, gamma) for p in (policy, changed))
    bound = return_loss(distance, np.abs(reward).max(), gamma)
    assert abs(before - after) <= bound * (1.0 + 1e-9) + 1e-12


@reproducible
@given(st.integers(0, 2**32 - 1), far_sighted, st.sampled_from([1e-3, 0.1, 1.0]))
def test_corrected_theorem_4_1_is_never_violated_by_softmax_policies(seed, gamma, step_size):
    """Both steps start from the same logits; KL <= ||logits||^2 / 4 as diag(p) - pp' <= I / 2."""
    rng = np.random.default_rng(seed)
    transition, reward, start = random_mdp(rng)
    exact_step = rng.standard_normal(reward.shape)
    error = rng.standard_normal(reward.shape)
    before, after = (
        tabular_return(transition, reward, softmax(step_size * g), start, gamma)
        for g in (exact_step, exact_step + error)
    )
    c = constants(eps_Q=np.linalg.norm(error))  # at H = 0 Lemma 4.1 is the error itself
    r_max = np.abs(reward).max()
    assert before - after <= theorem_4_1(c, 0, gamma, step_size, 0.25, r_max) * (1.0 + 1e-9)


def softmax(logits):
    weights = np.exp(logits)
    return weights / weights.sum(axis=1, keepdims=True)


def test_return_loss_in_numbers():
    assert return_loss(0.1, 3.0, 0.9) == pytest.approx(60.0)
    assert return_loss(0.1, 3.0, 0.9, "printed") == pytest.approx(6.0)
    assert return_loss(0.1, 3.0, 0.0) == return_loss(0.1, 3.0, 0.0, "printed")


def test_the_step_size_enters_the_corrected_theorem_once_and_the_printed_one_twice():
    c = constants(eps_Q=0.5)
    for form, power in (("corrected", 1), ("printed", 2)):
        one, two = (theorem_4_1(c, 2, 0.9, step, 0.1, 1.0, form) for step in (1e-3, 2e-3))
        assert two / one == pytest.approx(2.0**power)
        variation = lemma_4_2(c, 2, 0.9, 1e-3, 0.1, form)
        assert one == pytest.approx(1e-3 ** (power - 1) * return_loss(variation, 1.0, 0.9, form))


@pytest.mark.parametrize(
    "call",
    [
        lambda form: model_sum(constants(), 1, 0.9, form),
        lambda form: lemma_4_1(constants(), 1, 0.9, form),
        lambda form: lemma_4_2(constants(), 1, 0.9, 0.1, 1.0, form),
        lambda form: return_loss(0.1, 1.0, 0.9, form),
        lambda form: theorem_4_1(constants(), 1, 0.9, 0.1, 1.0, 1.0, form),
    ],
)
def test_an_unknown_form_names_the_choices(call):
    with pytest.raises(ValueError, match="form must be 'printed' or 'corrected', got 'fixed'"):
        call("fixed")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("horizon", [-1, 0.5])
def test_a_bad_horizon_of_a_bound_is_refused(form, horizon):
    with pytest.raises(ValueError, match="horizon must be a whole number"):
        lemma_4_1(constants(), horizon, 0.9, form)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: bounds.lemma_4_1(c, 2, 1.7), "gamma must lie in"),
        (lambda c: bounds.model_sum(c, 2, -5.0), "gamma must lie in"),
        (lambda c: bounds.lemma_4_1(c, "3", 0.9), "horizon must be a whole number"),
        (lambda c: bounds.lemma_4_2(c, 2, 0.9, -1.0, 1.0), "step_size must be"),
        (lambda c: bounds.lemma_4_2(c, 2, 0.9, 1.0, -1.0), "curvature must be"),
        (lambda c: bounds.theorem_4_1(c, 2, 0.9, 1.0, 1.0, -1.0), "r_max must be"),
        (lambda c: bounds.return_loss(-2.0, 1.0, 0.9), "total_variation must be"),
    ],
)
def test_meaningless_arguments_are_named(call, message):
    constants = Constants(*[1.0] * len(Constants._fields))
    with pytest.raises(ValueError, match=message):
        call(constants)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({}, 0.0),  # nothing is wrong, however far the growth that would multiply it
        ({"eps_f": 1e-9, "C": 1.0, "L_r": 1.0, "L_Q": 1.0}, np.inf),
        ({"eps_Q": 1e-9, "C": 1.0, "L_Q": 1.0}, np.inf),
    ],
)
def test_bounds_beyond_all_numbers_are_infinite_and_never_nan(form, wrong, expected):
    c = Constants(**dict.fromkeys(Constants._fields, 0.0) | {"L_f": 9.0, "K": 9.0} | wrong)
    bound = lemma_4_1(c, 1200, 0.99, form)
    assert bound == expected
    assert sensitivity_gap(c, 1200) in (0.0, np.inf)
    largest = min(1.0, bound) if form == "corrected" else bound
    assert lemma_4_2(c, 1200, 0.99, 0.1, 1.0, form) == largest
    assert lemma_4_2(c, 1200, 0.99, 0.0, 1.0, form) == 0.0  # no step, no difference
    assert not np.isnan(theorem_4_1(c, 1200, 0.99, 0.1, 1.0, 1.0, form))


def test_an_exact_model_and_critic_have_a_bound_of_zero_at_any_horizon():
    lqg = double_integrator()
    found = lipschitz_constants(lqg, 0.5 * optimal_gain(lqg), 1200)
    assert lemma_4_1(found, 1200, lqg.gamma) == 0.0
