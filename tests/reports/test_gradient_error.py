"""The gradient error of a run at several ages, as a report."""

import json

import pandas as pd
import pytest

from maac_bench.gradient_parts import PARTS
from maac_bench.run_gradient_error import Measurement
from reports.gradient_error import report
from reports.gradient_error.figure import draw
from reports.style import use_style
from reports.training_profiles import profiles
from tests.maac_bench.test_run_gradient_error import make_run

HOME = ("training", "small", "HalfCheetah-v0", "maac")


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
