"""The parts of a gradient's error, against the closed form where there is one."""

import numpy as np
import pytest
import torch

import analytic
from maac_bench.critics import QuadraticCritic
from maac_bench.gradient_quality import (
    PARTS,
    RESAMPLES,
    Setting,
    actor_gradients,
    exploding_share,
    horizon_gradients,
    measure,
    reference_objective,
    shortened,
    tail_gradients,
)
from maac_bench.objectives.pathwise import actor_objective
from maac_bench.rollout import draw_rollout_noise
from maac_bench.streams import Streams
from maac_bench.tasks import LinearGaussianDynamics
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


def test_every_measure_of_known_gradients():
    target = tensor([[[2.0, 0.0], [0.0, 2.0]]])
    estimate = tensor([[[4.0, 0.0], [-2.0, 2.0]]])
    quality = measure(estimate, target, Streams([0], "resampling"))
    assert quality.l1_error.item() == pytest.approx(0.0)
    quality = measure(estimate + tensor([1.0, 0.0]), target, Streams([0], "resampling"))
    assert quality.l1_error.item() == pytest.approx(1.0)
    assert quality.l2_relative.item() == pytest.approx(1.0 / np.sqrt(2.0))
    assert quality.cosine.item() == pytest.approx(3.0 / np.sqrt(10.0))
    assert quality.norm_ratio.item() == pytest.approx(np.sqrt(5.0 / 2.0))
    assert quality.cosine_halves.item() == pytest.approx(0.0)


def test_the_error_of_the_cosine_is_its_spread_over_replicates():
    seeds = range(100)
    noise = Streams(seeds, "samples").normal(2, 200, 6)
    estimate, target = 0.1 + noise[:, 0], 0.2 + noise[:, 1]
    quality = measure(estimate, target, Streams(seeds, "resampling"))
    ratio = quality.cosine_error.mean() / quality.cosine.std()
    assert RESAMPLES >= 100
    assert 0.7 < ratio < 1.4


def test_exploding_samples_are_counted_and_not_removed():
    gradients = torch.ones(1, 10, 3)
    gradients[0, 0] = 1e6
    assert exploding_share(gradients).item() == pytest.approx(0.1)
    quality = measure(gradients, torch.ones(1, 10, 3), Streams([0], "resampling"))
    assert quality.norm_ratio.item() == pytest.approx((1e6 + 9.0) / 10.0)
    assert quality.sample_norm_ratio.item() == pytest.approx(1.0)
    assert quality.exploding_target.item() == 0.0


@pytest.mark.parametrize(
    ("horizons", "complaint"),
    [((6,), "longest horizon, 6, got 5"), ((-1, 2), "at least 0"), ((), "at least 0")],
)
def test_horizons_out_of_range_are_refused(horizons, complaint):
    case = make_case()
    start, noise = draw(case, 4)
    with pytest.raises(ValueError, match=complaint):
        horizon_gradients(make_setting(case), start, noise, horizons)
