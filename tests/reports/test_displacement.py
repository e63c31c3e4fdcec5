"""Gradients off the policies that have optimised them: in closed form, and of a run."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import analytic
from maac_bench.__main__ import main
from maac_bench.gradient_parts import PARTS
from maac_bench.run_evaluation import evaluate_run, open_run
from maac_bench.tasks import make_task
from reports.displacement import report, robot
from reports.displacement.exact import Exact, _critic, _wrong, displaced_cosines, own_optimum
from reports.displacement.figure import draw
from reports.style import use_style
from reports.training_runs import KEEP_EVERY
from tests.maac_bench.measured_runs import make_run

TASK = "maac_bench/DoubleIntegrator-v0"
FEW = Exact(tasks=(TASK,), horizons=(0, 4), draws=2, directions=8)
HOME = ("training", "small-seeds-2-3", "HalfCheetah-v0", "maac")


@pytest.fixture(scope="module")
def lqg():
    return make_task(TASK).lqg


def test_who_is_right_ends_at_the_optimal_gain(lqg):
    for horizon in (0, 4):
        found = own_optimum(lqg, horizon, lqg, lqg)
        np.testing.assert_allclose(found, analytic.optimal_gain(lqg), rtol=1e-6)


def test_who_is_wrong_ends_where_its_own_objective_is_stationary_and_the_return_is_not(lqg):
    """By differences of the objective, its critic held."""
    random = np.random.default_rng(3)
    model, believed = (_wrong(lqg, 0.01, random) for _ in range(2))
    assert np.linalg.norm(model.A - lqg.A) == pytest.approx(0.01 * np.linalg.norm(lqg.A))
    gain = own_optimum(lqg, 4, model, believed)
    critic = _critic(believed, gain)

    def own(K):
        return analytic.maac_objective(lqg, K, 4, model.dynamics, critic)

    def true(K):
        return analytic.evaluate(lqg, K).J

    slopes = {}
    for name, value in (("own", own), ("true", true)):
        steps = [np.eye(2)[[k]] * 1e-5 for k in range(2)]
        slopes[name] = [(value(gain + h) - value(gain - h)) / 2e-5 for h in steps]
    assert np.linalg.norm(slopes["own"]) < 1e-3 * np.linalg.norm(slopes["true"])


def test_a_row_is_the_angle_between_two_gradients_beside_the_gain(lqg):
    """By differences of the learner's objective and of the return."""
    table = displaced_cosines(replace(FEW, displacements=(0.1,)), TASK, draw=1)
    assert set(table["horizon"]) == {0, 4}
    assert len(table) == 2 * FEW.directions
    row = table[(table["horizon"] == 4) & (table["direction"] == 5)].iloc[0]
    random = np.random.default_rng(1)
    model, believed = (_wrong(lqg, FEW.error, random) for _ in range(2))
    steps = random.standard_normal((FEW.directions, 1, 2))
    gain = own_optimum(lqg, 4, model, believed)
    beside = gain + 0.1 * np.linalg.norm(gain) * steps[5] / np.linalg.norm(steps[5])
    critic = _critic(believed, gain)
    gradients = []
    for value in (
        lambda K: analytic.maac_objective(lqg, K, 4, model.dynamics, critic),
        lambda K: analytic.evaluate(lqg, K).J,
    ):
        shifts = [np.eye(2)[[k]] * 1e-5 for k in range(2)]
        gradients.append(np.array([(value(beside + h) - value(beside - h)) / 2e-5 for h in shifts]))
    learned, exact = gradients
    lengths = np.linalg.norm(learned), np.linalg.norm(exact)
    assert row["cosine"] == pytest.approx(learned @ exact / (lengths[0] * lengths[1]), abs=1e-4)
    assert row["norm_ratio"] == pytest.approx(lengths[0] / lengths[1], rel=1e-3)


def test_near_the_own_optimum_any_angle_is_seen_and_far_from_it_the_right_one():
    table = pd.concat(displaced_cosines(FEW, TASK, draw) for draw in range(4))
    found = report.summarised(table).set_index(["horizon", "displacement"])
    for horizon in FEW.horizons:
        near, far = found.loc[(horizon, 0.003)], found.loc[(horizon, 0.3)]
        assert near["cosine_25"] < -0.4
        assert near["cosine_75"] > 0.4
        assert far["cosine_25"] > 0.6
        assert far["norm_ratio"] > 10 * near["norm_ratio"]
        assert far["count"] == 4 * FEW.directions
        assert near["step_back"] == pytest.approx(near["cosine"], abs=0.2)


def test_a_gain_that_is_not_found_or_not_stable_has_no_row(monkeypatch):
    monkeypatch.setattr("reports.displacement.exact.own_optimum", lambda *given: None)
    assert displaced_cosines(FEW, TASK, 0).empty
    monkeypatch.undo()
    unstable = displaced_cosines(replace(FEW, displacements=(3.0,)), TASK, 0)
    assert len(unstable) < 2 * FEW.directions
    assert unstable["cosine"].notna().all()


def test_learners_that_are_far_off_are_left_out_not_fatal(monkeypatch, tmp_path):
    """At 20 % MINPACK tries gains of NaNs, and the second draw has no optimum at all."""
    found = [displaced_cosines(replace(FEW, error=0.2), TASK, draw) for draw in range(2)]
    assert all(table["cosine"].notna().all() for table in found)
    assert [table.empty for table in found] == [False, True]
    monkeypatch.setitem(report.PROFILES, "exact", replace(FEW, error=0.2))
    assert report.make_data("exact", tmp_path / "out", tmp_path / "runs")
    data = pd.read_csv(tmp_path / "out" / "data.csv")
    assert data["cosine"].dtype == float
    monkeypatch.setitem(report.PROFILES, "exact", replace(FEW, error=50.0))
    with pytest.raises(ValueError, match="no draw has an optimum of its own"):
        report.make_data("exact", tmp_path / "none", tmp_path / "runs")


def test_the_closed_form_is_published_and_drawn(monkeypatch, tmp_path):
    monkeypatch.setitem(report.PROFILES, "exact", FEW)
    out = tmp_path / "out"
    assert report.make_data("exact", out, tmp_path / "runs")
    assert not report.make_data("exact", out, tmp_path / "runs")
    data = pd.read_csv(out / "data.csv")
    assert len(data) == 2 * len(FEW.displacements)
    assert (data["draws"] == 2).all()
    use_style()
    draw(out)
    assert (out / "displacement.png").stat().st_size > 10_000


def test_what_trains_nothing_is_not_collected(tmp_path, capsys):
    place = ["--out", str(tmp_path / "out"), "--runs", str(tmp_path)]
    assert main(["figure", "displacement", "--collect", *place]) == 2
    assert "profile exact trains nothing: leave out --collect" in capsys.readouterr().err


@pytest.fixture
def small(monkeypatch):
    planned = replace(report.PROFILES["mujoco"], ages=(2, 5), displacements=(0.0, 0.2), control=0.2)
    monkeypatch.setitem(report.PROFILES, "mujoco", planned)
    few = replace(robot.MEASUREMENT, horizons=(0, 2), samples=4, replicates=2, reference_steps=3)
    for module in (report, robot):
        monkeypatch.setattr(module, "MEASUREMENT", few)
    # The run at hand is a tiny one in the place of the planned one.
    monkeypatch.setattr("reports.measured.require_run", lambda run, folder: None)


def test_a_run_is_measured_at_its_ages_and_off_its_policies(small, tmp_path, capsys):
    make_run(tmp_path.joinpath(*HOME), rollouts=3)
    out = tmp_path / "out"
    assert report.collect("mujoco", out, tmp_path)
    assert "unfinished: age 5: no checkpoint" in capsys.readouterr().out
    data = pd.read_csv(out / "data.csv")
    assert len(data) == 3 * 2 * 2 * len(PARTS)
    groups = data.groupby(["displacement", "shuffled_model"])["l1_error"]
    found = {key: errors.to_numpy() for key, errors in groups}
    assert list(found) == [(0.0, 0), (0.2, 0), (0.2, 1)]
    assert (found[0.0, 0] != found[0.2, 0]).any()
    assert (found[0.2, 0] != found[0.2, 1]).any()
    returns = data.groupby(["displacement", "seed"])["return"].agg(["nunique", "first"])
    assert (returns["nunique"] == 1).all()
    assert returns["first"].nunique() == 4  # two seeds at two displacements
    own = evaluate_run(open_run(tmp_path.joinpath(*HOME), 2), robot.EPISODES)
    expected = own.groupby("seed")["return"].mean()
    assert returns.loc[0.0]["first"].tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    origin = json.loads((out / "provenance.json").read_text())
    assert origin["configuration"]["ages"] == [2]
    assert origin["configuration"]["control"] == 0.2
    assert "displacement" not in origin["configuration"]["measurement"]
    assert not report.collect("mujoco", out, tmp_path)
    use_style()
    draw(out)
    first = (out / "displacement.png").read_bytes()
    draw(out)
    assert (out / "displacement.png").read_bytes() == first


def test_published_ages_without_a_checkpoint_are_not_lost(small, tmp_path):
    folder, out = tmp_path.joinpath(*HOME), tmp_path / "out"
    make_run(folder, rollouts=3)
    report.collect("mujoco", out, tmp_path)
    before = (out / "data.csv").read_bytes()
    origin = json.loads((out / "provenance.json").read_text())
    origin["configuration"]["ages"] = [2, 5]
    (out / "provenance.json").write_text(json.dumps(origin))
    with pytest.raises(ValueError, match=r"of which there is no checkpoint \(5\): train on"):
        report.collect("mujoco", out, tmp_path)
    assert (out / "data.csv").read_bytes() == before


def test_runs_without_their_checkpoints_are_named(small, tmp_path):
    make_run(tmp_path.joinpath(*HOME), rollouts=1)
    with pytest.raises(ValueError, match="has no checkpoint of the ages 2, 5: train it first"):
        report.collect("mujoco", tmp_path / "out", tmp_path)


def test_runs_keep_the_checkpoints_that_are_measured():
    for planned in robot.TRAINED.values():
        kept = {*range(KEEP_EVERY, planned.run.rollouts + 1, KEEP_EVERY), planned.run.rollouts}
        assert set(planned.ages) <= kept
