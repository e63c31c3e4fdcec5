"""Test returns along a run's actor gradient: which directions, how far, and of which policies."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
import torch

from maac_bench import run_gradient_error, run_landscape
from maac_bench.__main__ import main
from maac_bench.displacement import flattened
from maac_bench.gradient_parts import horizon_gradients
from maac_bench.policies import LinearGaussian
from maac_bench.run_evaluation import open_run
from maac_bench.run_gradient_error import Measurement, gradient_error
from maac_bench.run_landscape import Probe, landscape, returns_along
from tests.maac_bench.measured_runs import make_run

SMALL = Probe(horizons=(0, 2), steps=(0.01, 0.1), episodes=2, samples=4, replicates=3)
OPTIONS = ["--horizons", "0", "2", "--steps", "0.01", "--episodes", "2", "--samples", "4"]
OPTIONS += ["--replicates", "3"]


class Quadratic(gym.Env):
    """Three steps from s = (1, 0) or (0, 1), by episode; the reward is `-(a - s_1)^2`."""

    observation_space = gym.spaces.Box(-10.0, 10.0, (2,), np.float32)
    action_space = gym.spaces.Box(-10.0, 10.0, (1,), np.float32)

    def __init__(self):
        self.episode = -1

    def reset(self, *, seed=None, options=None):
        self.episode += 1
        self.age, self.state = 0, np.roll(np.array([1.0, 0.0], np.float32), self.episode)
        return self.state, {}

    def step(self, action):
        self.age += 1
        reward = -float((action[0] - self.state[0]) ** 2)
        return self.state, reward, False, self.age == 3, {}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"), task="maac_bench/Pendulum-v0")


def seen_directions(path, probe, monkeypatch):
    """What `landscape` follows, per seed: where it begins, and its directions."""
    seen, follow = {}, run_landscape._direction

    def spy(name, horizon, place, model):
        found = follow(name, horizon, place, model)
        seen.setdefault(place.seed, (place, {}))[1][name, horizon] = found
        return found

    monkeypatch.setattr(run_landscape, "_direction", spy)
    table = landscape(path, probe)
    return table, list(seen.values())


def test_returns_are_those_of_policies_a_share_of_their_length_away():
    """By hand: gain (3, 4) of length 5, direction (0, 2): K_2 moves by 5 times the step."""
    policy = LinearGaussian(torch.tensor([[[3.0, 4.0]]]), torch.zeros(1, 1))
    steps = [0.0, 0.2, -0.4]
    found = returns_along(policy, (torch.tensor([[[0.0, 2.0]]]),), steps, 2, Quadratic, seed=0)
    # Where s = (1, 0) the action is -3, where s = (0, 1) it is -K_2.
    second = [-3.0 * (4.0 + 5.0 * step) ** 2 for step in steps]
    torch.testing.assert_close(found, torch.tensor([[-48.0] * 3, second]))


def test_the_gradients_are_those_that_gradient_error_compares(trained, monkeypatch):
    """Of the same dials: start states, noise and displacement are the same."""
    dials = {"samples": 4, "displacement": 0.1}
    seen = []

    def spy(*arguments):
        seen.append(horizon_gradients(*arguments))
        return seen[-1]

    monkeypatch.setattr(run_gradient_error, "horizon_gradients", spy)
    measurement = Measurement((0, 2), replicates=3, reference_steps=5, **dials)
    for control in (False, True):
        gradient_error(trained, replace(measurement, shuffled_model=control))
    controls = [seen.pop()[2]["learned"] for _ in range(2)][::-1]
    probe = replace(SMALL, reference_steps=5, **dials)
    _, ours = seen_directions(trained, probe, monkeypatch)
    for theirs, control, (_, found) in zip(seen, controls, ours, strict=True):
        for horizon in (0, 2):
            expected = theirs[horizon]["learned"].mean(dim=1)
            torch.testing.assert_close(found["learned", horizon].gradient, expected)
        torch.testing.assert_close(found["shuffled", 2].gradient, control.mean(dim=1))
        expected = theirs[2]["reference"].mean(dim=1)
        torch.testing.assert_close(found["reference", 5].gradient, expected)
        halves = [part.mean(dim=1) for part in theirs[2]["learned"].tensor_split(2, dim=1)]
        cosine = torch.cosine_similarity(*halves).item()
        assert found["learned", 2].halves == pytest.approx(cosine, abs=1e-5)


def test_controls_know_nothing_or_go_back(trained, monkeypatch):
    table, seen = seen_directions(trained, replace(SMALL, displacement=0.1), monkeypatch)
    for place, found in seen:
        assert set(found) == {
            ("learned", 0),
            ("learned", 2),
            ("shuffled", 2),
            ("step_back", None),
            ("random", None),
        }
        own, here = (flattened(p.parameters) for p in (place.own, place.policy))
        torch.testing.assert_close(here + found["step_back", None].gradient, own)
        torch.testing.assert_close((here - own).norm(), 0.1 * own.norm())
        torch.testing.assert_close(found["random", None].gradient.norm(), here.norm())
        assert not torch.equal(found["learned", 2].gradient, found["shuffled", 2].gradient)
    (_, one), (_, other) = seen
    both = [found["random", None].gradient for found in (one, other)]
    assert not torch.equal(*both)
    assert set(table["direction"]) == {"learned", "shuffled", "step_back", "random"}


def test_the_table_has_every_step_of_every_direction(trained):
    table = landscape(trained, SMALL)
    assert len(table) == 2 * 4 * 4  # seeds, directions, signed steps
    assert "step_back" not in set(table["direction"])  # the run's own policy: nothing to go back to
    assert sorted(table["step"].unique()) == [-0.1, -0.01, 0.01, 0.1]
    assert table.groupby("seed")["return_before"].nunique().eq(1).all()
    gains = table["return"] - table["return_before"]
    np.testing.assert_allclose(table["gain"], gains, atol=1e-3)
    assert (table["gain_error"] > 0).all()
    pd.testing.assert_frame_equal(landscape(trained, SMALL), table)
    other = landscape(trained, replace(SMALL, seed=1))
    assert (other["return"] != table["return"]).any()
    before = table.groupby("seed")["return_before"].first().tolist()
    run = open_run(trained)
    for k, seed in enumerate(run.seeds):
        alone = run.agent.policy.replace(tuple(p[[k]] for p in run.agent.policy.parameters))
        found = returns_along(alone, alone.parameters, [0.0], 2, run.task.make, seed)
        assert found.mean().item() == pytest.approx(before[k])


def test_a_small_step_up_the_exact_gradient_gains_and_one_down_loses():
    """And by as much as its length says."""
    policy = LinearGaussian(torch.tensor([[[3.0, 4.0]]]), torch.zeros(1, 1))
    gradient = torch.tensor([[[-24.0, -24.0]]])  # of -3 (1 + K_1)^2 - 3 K_2^2
    up, down = returns_along(policy, (gradient,), [0.01, -0.01], 2, Quadratic, 0).sum(dim=0)
    assert up > -96.0 > down
    slope = (up - down) / (0.02 * 5.0)
    assert slope.item() == pytest.approx(gradient.norm().item(), rel=1e-3)


def test_a_run_without_a_model_is_measured_at_horizon_zero(tmp_path, capsys):
    make_run(tmp_path, algorithm="sac", task="Pendulum-v1")
    assert main(["landscape", str(tmp_path), *OPTIONS]) == 2
    assert "learns no model: it can be measured with --horizons 0 alone" in capsys.readouterr().err
    assert main(["landscape", str(tmp_path), *OPTIONS, "--horizons", "0"]) == 0
    assert set(pd.read_csv(tmp_path / "landscape.csv")["direction"]) == {"learned", "random"}


def test_a_task_without_true_dynamics_has_all_but_the_reference(tmp_path, capsys):
    make_run(tmp_path, task="Pendulum-v1")
    assert main(["landscape", str(tmp_path), *OPTIONS, "--reference-steps", "3"]) == 2
    assert "true dynamics" in capsys.readouterr().err
    assert main(["landscape", str(tmp_path), *OPTIONS]) == 0
    shown = capsys.readouterr().out
    assert "learned, H = 2" in shown
    assert "shuffled, H = 2" in shown
    for suffix in ("csv", "png", "pdf"):
        assert (tmp_path / f"landscape.{suffix}").stat().st_size > 0


def test_results_of_other_dials_are_not_overwritten(trained, capsys):
    assert main(["landscape", str(trained), *OPTIONS]) == 0
    for changed, said in (
        (["--displacement", "0.1"], "displacement 0.0, not 0.1"),
        (["--episodes", "3"], "episodes 2, not 3"),
        (["--seed", "1"], "random_seed 0, not 1"),
        (["--horizons", "2"], "the horizons 0"),
        (["--steps", "0.02"], "the steps -0.01, 0.01"),
    ):
        capsys.readouterr()
        assert main(["landscape", str(trained), *OPTIONS, *changed]) == 2
        assert said in capsys.readouterr().err
    more = ["--horizons", "0", "1", "2", "--steps", "0.01", "0.02"]
    assert main(["landscape", str(trained), *OPTIONS, *more]) == 0


def test_what_is_not_finite_is_said(trained, monkeypatch):
    monkeypatch.setattr(
        run_landscape, "returns_along", lambda *a: torch.full((2, len(a[2])), torch.nan)
    )
    with pytest.raises(FloatingPointError, match="a test return of seed 3 is not finite"):
        landscape(trained, SMALL)
    monkeypatch.setattr(
        run_landscape, "actor_gradients", lambda _s, _p, start, _n: torch.zeros(1, len(start), 7)
    )
    with pytest.raises(FloatingPointError, match="learned gradient of seed 3 at H = 0 has no dir"):
        landscape(trained, SMALL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"horizons": ()}, "horizons must be one or more"),
        ({"horizons": (-1,)}, "horizons must be one or more, each at least 0"),
        ({"horizons": (2, 2)}, "horizons has a value twice: 2 2"),
        ({"steps": (0.1, 0.1)}, "steps has a value twice: 0.1 0.1"),
        ({"steps": ()}, "steps must be one or more positive numbers"),
        ({"steps": (0.1, 0.0)}, "steps must be one or more positive numbers"),
        ({"steps": (float("inf"),)}, "steps must be one or more positive numbers"),
        ({"episodes": 1}, "episodes must be at least 2, got 1"),
        ({"samples": 1}, "samples must be at least 2"),
        ({"replicates": 1}, "replicates must be at least 2"),
        ({"reference_steps": -1}, "reference_steps must be at least 0"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"displacement": float("nan")}, "displacement must be at least 0 and finite"),
        ({"samples": 4.5}, "samples must be whole"),
    ],
)
def test_dials_that_give_no_numbers_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)
