"""The parts of a gradient's error, against the closed form where there is one."""

import numpy as np
import pytest
import torch

import analytic
from maac_bench.critics import QuadraticCritic
from maac_bench.gradient_parts import (
    PARTS,
    Setting,
    actor_gradients,
    horizon_gradients,
    reference_objective,
    score_gradients,
    shortened,
    tail_gradients,
)
from maac_bench.gradient_quality import measure
from maac_bench.objectives.pathwise import actor_objective
from maac_bench.rollout import draw_rollout_noise, rollout
from maac_bench.streams import Streams
from maac_bench.tasks import LinearGaussianDynamics
from maac_bench.types import ModelNoise, RolloutNoise
from tests.maac_bench.problems import make_case, squashed_policy

LENGTH, SAMPLES = 5, 20_000
pytestmark = pytest.mark.usefixtures("float64")


def tensor(x):
    return torch.tensor(x, dtype=torch.get_default_dtype())


def make_setting(case, A=1.0, B=1.0, seeds=1):
    """The case's problem with its model's matrices scaled."""
    true = case.problem.dynamics
    wrong = LinearGaussianDynamics(A * true.A, B * true.B, true.noise_factor)
    return Setting(
        case.problem._replace(dynamics=wrong), case.problem, case.policy, torch.zeros(seeds)
    )


def draw(case, samples=SAMPLES, seeds=(0,)):
    n, m = case.lqg.n, case.lqg.m
    start = case.start(Streams(seeds, "start"), samples)
    streams = Streams(seeds, "noise")
    return start, draw_rollout_noise(streams, case.problem.dynamics, LENGTH, (samples,), n, m)


def assert_mean(samples, expected):
    """Every entry of the mean within 5 standard errors."""
    values = samples[0].numpy()
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    assert (np.abs(values.mean(axis=0) - expected.ravel()) < 5.0 * error + 1e-12).all()
    assert error.max() < 0.3 * np.abs(expected).max(), "too noisy to tell"


def test_a_perfect_model_has_no_model_error():
    case = make_case(2)
    setting, (start, noise) = make_setting(case, seeds=2), draw(case, 32, (0, 1))
    for gradients in horizon_gradients(setting, start, noise, (0, 3)).values():
        quality = measure(gradients["learned"], gradients["true"], Streams((0, 1), "resampling"))
        assert quality.l1_error.tolist() == [0.0, 0.0]
        assert quality.l2_relative.tolist() == [0.0, 0.0]
        assert quality.cosine.tolist() == pytest.approx([1.0, 1.0])
        assert quality.sample_cosine.tolist() == pytest.approx([1.0, 1.0])
        assert quality.norm_ratio.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("horizon", [1, 3])
def test_the_model_part_is_the_exact_difference(horizon):
    case = make_case()
    start, noise = draw(case)
    gradients = horizon_gradients(make_setting(case, 0.8, 1.3), start, noise, [horizon])[horizon]
    lqg = case.lqg
    wrong = analytic.LinearModel(0.8 * lqg.A, 1.3 * lqg.B, lqg.W)
    exact = [
        analytic.maac_gradient(lqg, case.gain, horizon, model=model, critic=case.critic)
        for model in (wrong, None)
    ]
    assert_mean(gradients["learned"] - gradients["true"], exact[0] - exact[1])
    assert_mean(gradients["learned"], exact[0])
    assert_mean(gradients["true"], exact[1])


def test_the_reference_is_the_exact_gradient_of_the_long_objective():
    case = make_case()
    start, noise = draw(case)
    reference = tail_gradients(make_setting(case), start, noise, LENGTH)
    expected = analytic.maac_gradient(case.lqg, case.gain, LENGTH, critic=case.critic)
    assert_mean(reference, expected)


@pytest.mark.parametrize("horizon", [0, 2])
def test_the_tail_is_the_objective_with_an_exact_critic(horizon):
    """With the exact critic at its far end the rollout that goes on is the exact critic."""
    case = make_case()
    exact = analytic.evaluate(case.lqg, case.gain)
    problem = case.problem._replace(critic=QuadraticCritic(tensor(exact.G), tensor(exact.d)))
    start, noise = draw(case)
    tail = tail_gradients(make_setting(case._replace(problem=problem)), start, noise, horizon)
    assert_mean(tail, analytic.maac_gradient(case.lqg, case.gain, horizon))


def replicated(start, noise, count):
    """Every `count` of the independent samples as replicates of one start state."""

    def split(x):
        return x.unflatten(1, (-1, count))

    noise = RolloutNoise(
        tuple(map(split, noise.action)),
        tuple(ModelNoise(split(one.normal)) for one in noise.model),
        split(noise.terminal),
    )
    return split(start)[:, :, :1].expand(-1, -1, count, -1), noise


@pytest.mark.parametrize("horizon", [0, 2, LENGTH])
def test_score_functions_have_the_exact_expectations(horizon):
    """With a stale critic at the end, the objective's and the continued rollout's."""
    case = make_case()
    exact = analytic.evaluate(case.lqg, case.gain)
    problem = case.problem._replace(critic=QuadraticCritic(tensor(exact.G), tensor(exact.d)))
    start, noise = replicated(*draw(case, 60_000), 4)
    true, _ = score_gradients(make_setting(case), start, noise, [horizon])
    _, tail = score_gradients(make_setting(case._replace(problem=problem)), start, noise, [horizon])
    stale = analytic.maac_gradient(case.lqg, case.gain, horizon, critic=case.critic)
    assert_mean(true(horizon), stale)
    # An exact critic at the far end is a rollout that goes on for ever.
    assert_mean(tail(horizon), analytic.maac_gradient(case.lqg, case.gain, horizon))


def test_the_critic_as_baseline_makes_score_functions_less_noisy(monkeypatch):
    """What the state lets expect does not count as a surprise, from the second action on."""
    case = make_case()
    start, noise = replicated(*draw(case, 4000), 4)

    def spread():
        true, _ = score_gradients(make_setting(case), start, noise, [4])
        return float(true(4).var(dim=1).sum())

    with_baseline = spread()
    monkeypatch.setattr(
        "maac_bench.gradient_parts.value_baseline",
        lambda problem, policy, state: torch.zeros_like(state[..., 0]),
    )
    assert with_baseline < 0.8 * spread()


def test_what_is_done_after_an_end_has_no_part_in_a_score_function():
    case = make_case()
    problem = case.problem._replace(
        terminated=lambda s, a, following: following[..., 0].gt(0) * 1.0
    )
    setting = make_setting(case._replace(problem=problem))
    start, noise = replicated(*draw(case, 400), 4)
    ended = rollout(problem, case.policy, start, noise).discounts[2] == 0
    assert 0.2 < float(ended.double().mean()) < 0.9
    third = torch.where(ended.unsqueeze(-1), -noise.action[2], noise.action[2])
    others = noise._replace(action=(*noise.action[:2], third, *noise.action[3:]))
    one, other = (score_gradients(setting, start, drawn, [4])[0](4) for drawn in (noise, others))
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("scope", ["first", "path"])
@pytest.mark.parametrize("horizon", [0, 2])
def test_score_functions_agree_with_pathwise_gradients(scope, horizon):
    """Where there is no closed form: squashed policy, entropy and several terminal actions."""
    case, policy = make_case(), squashed_policy([0])
    setting = make_setting(case)._replace(policy=policy, temperature=tensor([0.7]), entropy=scope)
    start, noise = draw(case, 40_000)
    noise = noise._replace(terminal=Streams([0], "terminal").normal(40_000, 3, case.lqg.m))
    start, noise = replicated(start, noise, 40)
    true, tail = score_gradients(setting, start, noise, [horizon])
    for scored, pathwise in (
        (true(horizon), actor_gradients(setting, case.problem, start, shortened(noise, horizon))),
        (tail(horizon), tail_gradients(setting, start, noise, horizon)),
    ):
        difference = (scored - pathwise)[0]
        error = difference.std(dim=0) / len(difference) ** 0.5
        assert (difference.mean(dim=0).abs() < 5.0 * error + 1e-12).all()
        assert difference.mean(dim=0).norm() < 0.1 * pathwise[0].mean(dim=0).norm()


def test_score_functions_need_replicates():
    case = make_case()
    start, noise = draw(case, 8)
    for one, its in ((start, noise), replicated(start, noise, 1)):
        with pytest.raises(ValueError, match="at least 2 replicates"):
            horizon_gradients(make_setting(case), one, its, [1], "score_function")


def test_replicates_are_averaged():
    case = make_case()
    setting, (start, noise) = make_setting(case, 0.8), replicated(*draw(case, 12), 3)
    alone = [
        horizon_gradients(
            setting,
            start[:, :, k],
            RolloutNoise(
                tuple(x[:, :, k] for x in noise.action),
                tuple(ModelNoise(one.normal[:, :, k]) for one in noise.model),
                noise.terminal[:, :, k],
            ),
            [2],
        )[2]
        for k in range(3)
    ]
    for name, together in horizon_gradients(setting, start, noise, [2])[2].items():
        torch.testing.assert_close(together, sum(one[name] for one in alone) / 3.0)


@pytest.mark.parametrize("through", ["pathwise", "score_function"])
def test_every_seed_has_its_own_temperature(through):
    case, start_noise = make_case(), draw(make_case(), 24, (0, 1))
    start, noise = replicated(*start_noise, 3)
    temperatures = tensor([0.0, 0.7])

    def gradients(rows):
        setting = make_setting(case, 0.8)._replace(
            policy=squashed_policy([0, 1][rows]), temperature=temperatures[rows]
        )
        own = RolloutNoise(
            tuple(x[rows] for x in noise.action),
            tuple(ModelNoise(one.normal[rows]) for one in noise.model),
            noise.terminal[rows],
        )
        return horizon_gradients(setting, start[rows], own, [0, 2], through)

    together = gradients(slice(None))
    for k in (0, 1):
        for horizon, named in gradients(slice(k, k + 1)).items():
            for name, alone in named.items():
                torch.testing.assert_close(together[horizon][name][k], alone[0])


def test_the_parts_add_up():
    """Along the way from the learned gradient to the reference."""
    case = make_case()
    start, noise = draw(case, 16)
    gradients = horizon_gradients(make_setting(case, 0.8), start, noise, [2])[2]
    errors = {name: gradients[a] - gradients[b] for name, (a, b) in PARTS.items()}
    torch.testing.assert_close(
        errors["critic"] + errors["truncation"], errors["critic_and_truncation"]
    )
    torch.testing.assert_close(errors["model"] + errors["critic_and_truncation"], errors["total"])
    assert all(error.abs().max() > 1e-3 for error in errors.values())


def test_a_tail_of_no_length_is_the_actors_objective():
    """Entropy and several terminal actions included."""
    case, policy = make_case(), squashed_policy([0])
    setting = make_setting(case)._replace(policy=policy, temperature=torch.tensor([0.7]))
    start, noise = draw(case, 8)
    noise = noise._replace(terminal=Streams([0], "terminal").normal(8, 3, case.lqg.m))
    value = reference_objective(setting, policy, start, noise, LENGTH)
    expected = actor_objective(case.problem, policy, start, noise, torch.tensor([[0.7]]), "path")
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(
        tail_gradients(setting, start, noise, LENGTH),
        actor_gradients(setting, case.problem, start, noise),
    )
    torch.testing.assert_close(shortened(noise, 2).terminal, noise.terminal)


@pytest.mark.parametrize(
    ("horizons", "complaint"),
    [((6,), "longest horizon, 6, got 5"), ((-1, 2), "at least 0"), ((), "at least 0")],
)
def test_horizons_out_of_range_are_refused(horizons, complaint):
    case = make_case()
    start, noise = draw(case, 4)
    with pytest.raises(ValueError, match=complaint):
        horizon_gradients(make_setting(case), start, noise, horizons)
