import numpy as np
import pytest
import torch

import analytic
from maac_bench.estimators import ESTIMATORS, Settings, make_estimator
from maac_bench.estimators.base import differentiate, per_sample_policy
from maac_bench.streams import Streams
from maac_bench.tasks import make_task
from tests.maac_bench.problems import make_case, squashed_policy

WITHOUT_CRITIC = [
    name for name in ESTIMATORS if make_estimator(name, Settings()).critic_role != "closes"
]
HORIZON = 3


def gradient(name, case, policy, batch, seeds, settings=None):
    estimator = make_estimator(name, settings or Settings(horizon=horizon_of(name)))
    start = case.start(Streams(seeds, "start"), batch)
    noise = estimator.draw(Streams(seeds, "noise"), case.problem, policy, start)
    return estimator.gradient(case.problem, policy, start, noise)


def horizon_of(name):
    return 0 if name == "dpg" else HORIZON


def exact_mean(name, case):
    if name in WITHOUT_CRITIC:
        return analytic.policy_gradient(case.lqg, case.gain, T=HORIZON)
    horizon = horizon_of(name)
    return analytic.maac_gradient(case.lqg, case.gain, horizon, critic=case.critic)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_is_unbiased_for_its_own_exact_gradient(name):
    """Hotelling's test at 5 standard deviations: all entries together, 200 replicates."""
    stack, batch = 200, 512
    case = make_case(stack)
    estimates = gradient(name, case, case.policy, batch, range(stack))[0].double().numpy()
    flat = estimates.reshape(stack, -1) - exact_mean(name, case).ravel()
    mean, covariance = flat.mean(axis=0), np.cov(flat.T) / stack
    entries = flat.shape[1]
    distance = mean @ np.linalg.solve(covariance, mean)
    assert distance < entries + 5 * np.sqrt(2 * entries)


@pytest.mark.parametrize("name", ["score-critic", "zeroth-order", "inverse-variance"])
@pytest.mark.parametrize(("temperature", "terminal"), [(0.0, 1), (0.0, 3), (2.0, 2)])
def test_twin_critics_entropy_and_terminal_samples_keep_the_expectation(
    name, temperature, terminal
):
    """Against pathwise on common seeds, with everything an agent turns on."""
    stack = 60
    case = make_case(stack)

    exact = case.problem.critic

    def twins(state, action):
        value = exact(state, action)
        return torch.cat([value, 1.3 * value + 2.0 * action.sum(dim=-1) + 1.0])

    case = case._replace(problem=case.problem._replace(critic=twins))
    one = squashed_policy([0])
    policy = one.replace(tuple(p.expand(stack, *p.shape[1:]) for p in one.parameters))
    settings = Settings(horizon=2, temperature=temperature, terminal_samples=terminal)

    def flat(estimator):
        parts = gradient(estimator, case, policy, 1000, range(stack), settings)
        return torch.cat([part.flatten(1) for part in parts], dim=1).double().numpy()

    reference = flat("pathwise")
    mean = reference.mean(axis=0)
    along = (flat(name) - reference) @ mean / np.linalg.norm(mean) ** 2
    error = along.std(ddof=1) / np.sqrt(stack)
    assert abs(along.mean()) < 4 * error
    assert error < 0.1, "too noisy to tell"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("pathwise", {"smoothing": 0.1}),
        ("bptt", {"terminal_samples": 2}),
        ("score", {"terminal_samples": 2}),
        ("score-critic", {"smoothing": 0.1}),
        ("inverse-variance", {"smoothing": 0.1}),
    ],
)
def test_a_dial_without_effect_is_refused(name, options):
    with pytest.raises(ValueError, match=f"has no use for {next(iter(options))}"):
        make_estimator(name, Settings(**options))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_critic_is_asked_unless_its_role_is_none(name):
    case = make_case(2)
    asked = []

    def critic(state, action):
        asked.append(state)
        return case.problem.critic(state, action)

    watched = case._replace(problem=case.problem._replace(critic=critic))
    gradient(name, watched, case.policy, 4, range(2))
    role = make_estimator(name, Settings()).critic_role
    assert bool(asked) == (role != "none")


@pytest.mark.parametrize("name", WITHOUT_CRITIC)
def test_no_critic_and_no_reward_is_refused(name):
    with pytest.raises(ValueError, match="needs a horizon of at least 1"):
        make_estimator(name, Settings(horizon=0))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("score", {"bootstrap": False}),
        ("score-baseline", {"bootstrap": False, "baseline": True}),
        ("score-critic", {"bootstrap": True, "baseline": True}),
    ],
)
def test_score_function_variance_is_the_closed_form(name, options):
    case = make_case(2000)
    samples = gradient(name, case, case.policy, 50, range(2000))[0].double().numpy()
    exact = analytic.score_function_moments(case.lqg, case.gain, HORIZON, case.critic, **options)
    assert 50 * samples.var(axis=0).sum() == pytest.approx(exact.variance.sum(), rel=0.1)


@pytest.mark.parametrize(("name", "terminal"), [("pathwise", 1), ("pathwise", 5), ("dpg", 1)])
def test_pathwise_variance_is_the_closed_form(name, terminal):
    case = make_case(4000)
    settings = Settings(horizon=horizon_of(name), terminal_samples=terminal)
    samples = gradient(name, case, case.policy, 50, range(4000), settings)[0].double().numpy()
    horizon = horizon_of(name)
    exact = analytic.pathwise_moments(
        case.lqg, case.gain, horizon, critic=case.critic, terminal_samples=terminal
    )
    assert 50 * samples.var(axis=0).sum() == pytest.approx(exact.variance.sum(), rel=0.08)


@pytest.mark.parametrize("name", ["pathwise", "score-critic", "bptt", "score-baseline"])
@pytest.mark.usefixtures("float64")
def test_per_sample_gradients_average_to_the_batch_gradient(name):
    case, seeds = make_case(2), [0, 1]
    estimator = make_estimator(name, Settings(horizon=horizon_of(name)))
    for policy in (case.policy, squashed_policy(seeds)):
        start = case.start(Streams(seeds, "start"), 6)
        noise = estimator.draw(Streams(seeds, "noise"), case.problem, policy, start)
        batch = estimator.gradient(case.problem, policy, start, noise)
        single = estimator.gradient(case.problem, per_sample_policy(policy, 6), start, noise)
        for mean, samples in zip(batch, single, strict=True):
            torch.testing.assert_close(samples.mean(dim=1), mean)


@pytest.mark.usefixtures("float64")
def test_a_nonlinear_policy_gets_the_same_gradient_from_all_routes():
    """Pathwise, score function, zeroth order and their combination on a squashed-Gaussian MLP."""
    stack = 16
    case = make_case(stack)
    one = squashed_policy([0])
    policy = one.replace(tuple(p.expand(stack, *p.shape[1:]) for p in one.parameters))

    def flat(name):
        parts = gradient(name, case, policy, 4000, range(stack), Settings(horizon=2))
        return torch.cat([part.flatten(1) for part in parts], dim=1).numpy()

    reference = flat("pathwise")
    direction = reference.mean(axis=0) / np.linalg.norm(reference.mean(axis=0))
    for name in ("score-critic", "zeroth-order", "inverse-variance"):
        along = (flat(name) - reference) @ direction
        assert abs(along.mean()) < 4.5 * along.std(ddof=1) / np.sqrt(stack)
        assert abs(along.mean()) < 0.2 * np.linalg.norm(reference.mean(axis=0))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_entropy_bonus_reaches_the_gradient(name):
    case, policy, horizon = make_case(1), squashed_policy([0]), horizon_of(name)
    plain = gradient(name, case, policy, 32, [0])
    bonus = gradient(name, case, policy, 32, [0], Settings(horizon, temperature=1.0))
    assert not torch.allclose(plain[0], bonus[0])


def test_dpg_is_the_pathwise_estimator_at_zero_and_refuses_another_horizon():
    case = make_case(2)
    zero = gradient("pathwise", case, case.policy, 16, [0, 1], Settings(horizon=0))
    for settings in (Settings(), Settings(horizon=0)):
        dpg = gradient("dpg", case, case.policy, 16, [0, 1], settings)
        assert torch.equal(zero[0], dpg[0])
    dials = Settings(terminal_samples=3, temperature=0.5)
    assert make_estimator("dpg", dials).settings == Settings(0, 3, temperature=0.5)
    with pytest.raises(ValueError, match="has no use for horizon"):
        make_estimator("dpg", Settings(horizon=7))


def test_bptt_does_not_look_at_the_critic():
    case = make_case(1)
    broken = case._replace(problem=case.problem._replace(critic=None))
    a = gradient("bptt", case, case.policy, 16, [0])
    b = gradient("bptt", broken, case.policy, 16, [0])
    assert torch.equal(a[0], b[0])


def test_what_an_objective_ignores_has_no_gradient():
    policy = squashed_policy([0, 1])
    for objective in (
        lambda policy: torch.zeros(2, 5),
        lambda policy: policy.parameters[0].flatten(1)[:, :5],
    ):
        found = differentiate(objective, policy)
        assert [g.shape for g in found] == [p.shape for p in policy.parameters]
        assert not any(bool(g.any()) for g in found[1:])


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("squashed", [False, True])
def test_combination_weighs_each_half_by_the_variances_of_the_other(squashed):
    """Halves of five and six samples; variances of all parameters together."""
    case, seeds, batch = make_case(2), [0, 1], 11
    policy = squashed_policy(seeds) if squashed else case.policy
    parts = {}
    for name in ("pathwise", "score-critic"):
        estimator = make_estimator(name, Settings(horizon=horizon_of(name)))
        start = case.start(Streams(seeds, "start"), batch)
        noise = estimator.draw(Streams(seeds, "noise"), case.problem, policy, start)
        copies = per_sample_policy(policy, batch)
        found = estimator.gradient(case.problem, copies, start, noise)
        parts[name] = torch.cat([g.flatten(2) for g in found], dim=-1).numpy()
    found = gradient("inverse-variance", case, policy, batch, seeds)
    combined = torch.cat([g.flatten(1) for g in found], dim=-1).numpy()
    for k in seeds:
        p, s = (parts[name][k].reshape(batch, -1) for name in ("pathwise", "score-critic"))
        expected = 0.0
        for here, there in ((slice(0, 5), slice(5, 11)), (slice(5, 11), slice(0, 5))):
            noisy, quiet = s[there].var(axis=0, ddof=1).sum(), p[there].var(axis=0, ddof=1).sum()
            alpha = noisy / (noisy + quiet)
            expected += alpha * p[here].sum(axis=0) + (1 - alpha) * s[here].sum(axis=0)
        np.testing.assert_allclose(combined[k], expected / batch, rtol=1e-9, atol=1e-12)


def test_combination_lies_between_its_parts_in_variance():
    """Not below the better one: sharing rollouts, the two parts are correlated."""
    stack = 400
    case = make_case(stack)
    spread = {
        name: float(gradient(name, case, case.policy, 512, range(stack))[0].var(dim=0).sum())
        for name in ("pathwise", "score-critic", "inverse-variance")
    }
    assert spread["inverse-variance"] < 1.3 * spread["pathwise"] < 0.5 * spread["score-critic"]


def test_same_seed_same_estimate_other_seed_other_estimate():
    case = make_case(2)
    first = gradient("pathwise", case, case.policy, 8, [0, 1])[0]
    again = gradient("pathwise", case, case.policy, 8, [0, 1])[0]
    other = gradient("pathwise", case, case.policy, 8, [0, 2])[0]
    assert torch.equal(first, again)
    assert torch.equal(first[0], other[0])
    assert not torch.equal(first[1], other[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"horizon": -1}, "horizon must be at least 0, got -1"),
        ({"horizon": 2.5}, "horizon must be whole, got 2.5"),
        ({"terminal_samples": 1.5}, "terminal_samples must be whole, got 1.5"),
        ({"terminal_samples": 0}, "terminal_samples must be at least 1"),
        ({"smoothing": 0.0}, "smoothing must be positive"),
        ({"smoothing": float("nan")}, "smoothing must be positive"),
        ({"smoothing": float("inf")}, "smoothing must be positive and finite"),
        ({"temperature": float("nan")}, "temperature must be at least 0"),
    ],
)
def test_meaningless_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Settings(**options)


def test_unknown_names_list_the_choices():
    with pytest.raises(ValueError, match=r"unknown estimator 'x'; choose from pathwise, dpg"):
        make_estimator("x", Settings())
    with pytest.raises(ValueError, match=r"unknown task 'y'; choose from maac_bench/Double"):
        make_task("y")


def test_too_few_samples_to_weigh_variances_are_refused():
    case = make_case(1)
    with pytest.raises(ValueError, match="at least 4 samples"):
        gradient("inverse-variance", case, case.policy, 3, [0])
