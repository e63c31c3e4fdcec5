"""The gradient error of a run at several ages, as a report."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from maac_bench.gradient_parts import PARTS
from maac_bench.run import RunDirectory
from maac_bench.run_gradient_error import Measurement
from reports.gradient_error import report
from reports.gradient_error.figure import draw
from reports.style import use_style
from reports.training_profiles import profiles
from reports.training_runs import KEEP_EVERY
from tests.maac_bench.runs import IDENTITY, reach
from tests.maac_bench.test_run_gradient_error import make_run

HOME = ("training", "small", "HalfCheetah-v0", "maac")


def test_runs_keep_the_checkpoints_that_are_measured():
    for name, size in report.PROFILES.items():
        last = size.run.rollouts
        kept = {*range(KEEP_EVERY, last + 1, KEEP_EVERY), last}
        assert set(size.ages) <= kept, name


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(
        report.PROFILES, "mujoco", report.Size(profiles(("maac",))["mujoco"], (2, 5))
    )
    dials = {"horizons": (0, 2), "samples": 4, "reference_steps": 3}
    both = (
        Measurement(through="score_function", replicates=2, **dials),
        Measurement(through="pathwise", **dials),
    )
    monkeypatch.setattr(report, "MEASUREMENTS", both)
    # The run at hand is a tiny one in the place of the planned one.
    monkeypatch.setattr(report, "require_run", lambda run, folder: None)


@pytest.fixture
def published(small, monkeypatch, tmp_path):
    """A report at age 2 of a run that has lost that checkpoint and reached age 3."""

    def measure(path, measurement, age):
        beside = {"target_norm": 1.0, "step_back": 0.5}
        row = {"seed": 0, "rollout": age, "through": measurement.through, "cosine": 1 / age}
        return pd.DataFrame([{**row, "displacement": 0.0, "shuffled_model": 0, **beside}])

    def at_once(experiment, runs):
        return pd.concat([unit() for unit in experiment.units.values()], ignore_index=True)

    size = report.Size(profiles(("maac",))["mujoco"], (2, 3))
    monkeypatch.setitem(report.PROFILES, "mujoco", size)
    monkeypatch.setattr(report, "gradient_error", measure)
    monkeypatch.setattr(report, "run", at_once)
    monkeypatch.setattr("reports.provenance.commit", lambda: "first")
    run = RunDirectory(tmp_path.joinpath(*HOME), IDENTITY, {"commit": "abc"})
    for age in (1, 2):
        reach(run, age)
    assert report.collect("mujoco", tmp_path / "out", tmp_path)
    for age in (3, 4):
        reach(run, age)
    run.close()
    monkeypatch.setattr("reports.provenance.commit", lambda: "second")
    return tmp_path / "out"


def test_an_age_keeps_the_commit_that_measured_it(published, tmp_path):
    assert report.collect("mujoco", published, tmp_path)
    origin = json.loads((published / "provenance.json").read_text())
    assert origin["commit"] == "second"
    assert origin["measured"] == {"2": "first", "3": "second"}
    data = pd.read_csv(published / "data.csv")
    assert data["through"].tolist() == 2 * ["score_function"] + 2 * ["pathwise"]
    assert data["rollout"].tolist() == [2, 3, 2, 3]


def test_an_age_is_kept_where_the_run_is_only_called_otherwise(published, monkeypatch, tmp_path):
    size = report.PROFILES["mujoco"]
    again = size._replace(training=replace(size.training, label="in other words"))
    monkeypatch.setitem(report.PROFILES, "mujoco", again)
    assert report.collect("mujoco", published, tmp_path)
    assert set(pd.read_csv(published / "data.csv")["rollout"]) == {2, 3}


def test_an_age_measured_with_other_dials_is_not_kept(published, monkeypatch, tmp_path):
    before = (published / "data.csv").read_bytes()
    others = tuple(replace(one, samples=5) for one in report.MEASUREMENTS)
    monkeypatch.setattr(report, "MEASUREMENTS", others)
    with pytest.raises(ValueError, match=r"or of other dials, at ages of which .* \(2\)"):
        report.collect("mujoco", published, tmp_path)
    assert (published / "data.csv").read_bytes() == before


def test_an_age_is_not_kept_from_a_table_that_was_changed(published, tmp_path):
    path = published / "data.csv"
    changed = path.read_text() + path.read_text().splitlines()[-1] + "\n"
    path.write_text(changed)
    with pytest.raises(ValueError, match=r"is not the table that provenance\.json describes"):
        report.collect("mujoco", published, tmp_path)
    assert path.read_text() == changed


def test_ages_that_are_there_are_measured_and_the_others_named(
    small, monkeypatch, tmp_path, capsys
):
    make_run(tmp_path.joinpath(*HOME), rollouts=3)
    out = tmp_path / "out"
    assert report.collect("mujoco", out, tmp_path)
    assert "unfinished: age 5: no checkpoint" in capsys.readouterr().out
    data = pd.read_csv(out / "data.csv")
    assert len(data) == 2 * 2 * 2 * len(PARTS)
    assert list(data["through"].unique()) == ["score_function", "pathwise"]
    assert (data["rollout"] == 2).all()
    origin = json.loads((out / "provenance.json").read_text())
    assert origin["configuration"]["ages"] == [2]
    assert origin["unfinished"] == ["age 5: no checkpoint"]
    assert not report.collect("mujoco", out, tmp_path)
    kept = list(tmp_path.glob("gradient_error-*/*.csv"))
    stamps = {path: path.stat().st_mtime_ns for path in kept}
    monkeypatch.setitem(report.PROFILES, "mujoco", report.PROFILES["mujoco"]._replace(ages=(2, 3)))
    assert report.collect("mujoco", out, tmp_path)  # only the new age is measured
    assert len(list(tmp_path.glob("gradient_error-*/*.csv"))) == 4
    assert {path: path.stat().st_mtime_ns for path in kept} == stamps
    use_style()
    draw(out)
    first = (out / "gradient_error.png").read_bytes()
    draw(out)
    assert (out / "gradient_error.png").read_bytes() == first


def test_what_is_published_of_a_run_outlives_its_checkpoints(small, monkeypatch, tmp_path):
    """Another run does not take its place unasked."""
    home, out = tmp_path.joinpath(*HOME), tmp_path / "out"
    monkeypatch.setitem(
        report.PROFILES, "mujoco", report.Size(profiles(("maac",))["mujoco"], (2, 3))
    )
    make_run(home, rollouts=3)
    older = home / "checkpoint" / "rollout-000002"
    assert report.collect("mujoco", out, tmp_path)
    before = (out / "data.csv").read_bytes()
    origin = json.loads((out / "provenance.json").read_text())
    assert origin["configuration"]["ages"] == [2, 3]
    assert origin["measured"].keys() == {"2", "3"}
    for suffix in (".json", ".safetensors"):
        older.with_suffix(suffix).unlink()
    assert not report.collect("mujoco", out, tmp_path)
    assert (out / "data.csv").read_bytes() == before
    assert json.loads((out / "provenance.json").read_text()) == origin
    path = home / "provenance.json"
    later = {"from_rollout": 4, "commit": "later"}
    path.write_text(json.dumps({**json.loads(path.read_text()), "continued": [later]}))
    assert not report.collect("mujoco", out, tmp_path)
    path = home / "provenance.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "commit": "another"}))
    with pytest.raises(ValueError, match=r"of which this one has no checkpoint \(2\)"):
        report.collect("mujoco", out, tmp_path)
    assert (out / "data.csv").read_bytes() == before
    (out / "provenance.json").unlink()
    assert report.collect("mujoco", out, tmp_path)
    assert set(pd.read_csv(out / "data.csv")["rollout"]) == {3}


def test_another_run_in_its_place_is_not_measured(tmp_path):
    make_run(tmp_path.joinpath(*HOME), rollouts=10)
    with pytest.raises(ValueError, match="holds another run"):
        report.collect("mujoco", tmp_path / "out", tmp_path)


def test_without_a_checkpoint_there_is_nothing_to_measure(small, tmp_path):
    with pytest.raises(ValueError, match="no checkpoint of the ages 2, 5: train it first"):
        report.collect("mujoco", tmp_path / "out", tmp_path)
    with pytest.raises(ValueError, match="unknown profile 'huge'"):
        report.collect("huge", tmp_path / "out", tmp_path)
