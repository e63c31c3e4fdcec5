"""Landscapes of a trained run: measured at its ages and places, published and drawn."""

import json
from dataclasses import replace

import pandas as pd
import pytest
from matplotlib import pyplot as plt

from maac_bench.run_landscape import landscape
from reports.displacement.robot import MEASUREMENT
from reports.landscape import experiment, figure, report
from reports.landscape.experiment import PROBE, PROFILES
from reports.landscape_figure import titled
from reports.style import use_style
from reports.training_runs import KEEP_EVERY
from tests.maac_bench.measured_runs import make_run

HOME = ("training", "small-seeds-2-3", "HalfCheetah-v0", "maac")
FEW = replace(
    PROBE, horizons=(0, 2), steps=(figure.STEP, 0.01), episodes=2, samples=4, replicates=2
)


@pytest.fixture
def small(monkeypatch):
    planned = replace(PROFILES["mujoco"], ages=(2, 5), places=((0.0, 0), (0.2, 1)))
    monkeypatch.setitem(PROFILES, "mujoco", planned)
    few = replace(FEW, reference_steps=3)
    for module in (report, experiment):
        monkeypatch.setattr(module, "PROBE", few)
    # The run at hand is a tiny one in the place of the planned one.
    monkeypatch.setattr("reports.measured.require_run", lambda run, folder: None)
    return few


def test_a_run_is_followed_from_its_places(small, tmp_path, capsys):
    run = make_run(tmp_path.joinpath(*HOME), task="maac_bench/Pendulum-v0")
    out = tmp_path / "out"
    assert report.collect("mujoco", out, tmp_path)
    assert "unfinished: age 5: no checkpoint" in capsys.readouterr().out
    data = pd.read_csv(out / "data.csv")
    assert data.groupby(["displacement", "random_seed"]).ngroups == 2
    for share, seed in ((0.0, 0), (0.2, 1)):
        rows = data[data["displacement"] == share]
        expected = landscape(run, replace(small, displacement=share, seed=seed), 2)
        assert rows["return"].tolist() == pytest.approx(expected["return"].tolist(), rel=1e-4)
        assert (rows["random_seed"] == seed).all()
    origin = json.loads((out / "provenance.json").read_text())["configuration"]
    assert origin["ages"] == [2]
    assert origin["places"] == [[0.0, 0], [0.2, 1]]
    assert origin["probe"]["reference_steps"] == 3
    assert not report.collect("mujoco", out, tmp_path)
    use_style()
    figure.draw(out)
    first = (out / "landscape.png").read_bytes()
    figure.draw(out)
    assert (out / "landscape.png").read_bytes() == first


def test_the_gradients_are_those_of_the_displacement_report():
    for name in ("horizons", "samples", "reference_steps"):
        assert getattr(PROBE, name) == getattr(MEASUREMENT, name)
    assert PROBE.replicates == MEASUREMENT.rollouts
    assert PROBE.seed == MEASUREMENT.seed
    assert figure.STEP in PROBE.steps
    for planned in PROFILES.values():
        (trained,) = planned.training.runs()
        kept = {*range(KEEP_EVERY, trained.rollouts + 1, KEEP_EVERY), trained.rollouts}
        assert set(planned.ages) <= kept
        assert len(set(planned.places)) == len(planned.places)


def made_table():
    rows = pd.DataFrame(
        {
            "task": "T",
            "rollout": 20,
            "displacement": 0.03,
            "seed": [2, 2, 3, 3],
            "direction": ["learned", "learned", "step_back", "step_back"],
            "horizon": [4.0, 4.0, None, None],
            "step": [-0.001, 0.001] * 2,
            "gain": [-300.0, 500.0, -10.0, 20.0],
            "gain_error": [3.0, 4.0, 0.0, 2.0],
            "random_seed": 0,
        }
    )
    return rows.assign(title=titled(rows))


def test_a_slope_is_half_the_difference_between_up_and_down():
    found = figure.slopes(made_table(), 0.001)
    assert found["title"].tolist() == ["learned, H = 4", "step back"]
    assert found["slope"].tolist() == [400.0, 15.0]
    assert found["slope_error"].tolist() == [2.5, 1.0]
    with pytest.raises(ValueError, match=r"has not every step of 0\.001 in both directions"):
        figure.slopes(made_table().drop(index=2), 0.001)


def test_a_panel_shows_every_slope_at_its_direction():
    _, axes = plt.subplots()
    figure._draw_place(axes, figure.slopes(made_table(), 0.001), ["learned, H = 4", "step back"])
    shown = {}
    for line, _, _ in axes.containers:
        for place, slope in zip(line.get_xdata(), line.get_ydata(), strict=True):
            shown[slope] = round(place), line.get_color(), line.get_marker()
    assert shown == {400.0: (0, figure.BLUE, "o"), 15.0: (1, figure.GREY, "s")}
