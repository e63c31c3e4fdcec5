"""What a command is asked for reaches the code that does it."""

import numpy as np
import pytest

import analytic
from maac_bench.__main__ import main
from maac_bench.estimators import Settings
from maac_bench.scoring import Score
from maac_bench.tasks import require_lqg
from reports.registry import REPORTS, Report
from tests.maac_bench.test_cli import failure


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """What a report of two profiles, which computes nothing, was asked for."""
    calls = []

    def made(kind, changed):
        return lambda *given: calls.append((kind, *given)) or changed

    report = Report(made("make", True), ("small", "large"), made("collect", False))
    monkeypatch.setitem(REPORTS, "made-up", report)
    monkeypatch.setattr("maac_bench.cli.figures.folder", lambda _name, profile: tmp_path / profile)
    monkeypatch.setattr(
        "maac_bench.cli.figures.draw", lambda name, place: calls.append(("draw", name, place)) or []
    )
    return calls


def test_a_figure_is_made_of_the_profile_and_where_it_is_asked_for(capsys, tmp_path, asked):
    runs, out = tmp_path / "runs", tmp_path / "out"
    command = ["figure", "made-up", "--runs", str(runs)]
    for options, kind, profile, place, said in (
        ([], "make", "small", tmp_path / "small", "written"),
        (["--profile", "large", "--collect"], "collect", "large", tmp_path / "large", "unchanged"),
        (["--out", str(out)], "make", "small", out, "written"),
    ):
        assert main([*command, *options]) == 0
        assert asked == [(kind, profile, place, runs), ("draw", "made-up", place)]
        assert said in capsys.readouterr().out
        asked.clear()


def test_redrawing_and_collecting_exclude_each_other(capsys, tmp_path, asked):
    both = ("figure", "made-up", "--redraw", "--collect", "--out", str(tmp_path))
    status, error = failure(capsys, *both)
    assert status == 2
    assert "choose one" in error
    assert not asked


def test_a_report_that_trains_nothing_has_nothing_to_collect(capsys, tmp_path):
    status, error = failure(capsys, "figure", "figure3", "--collect", "--out", str(tmp_path))
    assert status == 2
    assert "figure3 has no unfinished runs to collect: leave out --collect" in error


def test_the_page_is_written_where_it_is_asked_for(tmp_path, monkeypatch, capsys):
    written = []
    monkeypatch.setattr(
        "maac_bench.cli.figures.write_page", lambda *places: written.append(places) or 2_000_000
    )
    page = tmp_path / "page.html"
    assert main(["report", "--reports", str(tmp_path), "--out", str(page)]) == 0
    assert written == [(tmp_path, page)]
    assert capsys.readouterr().out == f"{page}: 2.0 MB\n"


@pytest.mark.parametrize(
    ("estimator", "own", "settings"),
    [
        ("pathwise", ["--terminal-samples", "2"], Settings(horizon=3, terminal_samples=2)),
        ("zeroth-order", ["--smoothing", "0.5"], Settings(horizon=3, smoothing=0.5)),
    ],
)
def test_every_option_of_an_estimate_arrives(monkeypatch, estimator, own, settings):
    seen = []

    def spy(task, estimator, **given):
        seen.append((task, estimator, given))
        return Score(np.ones(12), np.ones(12), 0.1, 0.2, 0.3, 0.05, 0.4, 0.5)

    monkeypatch.setattr("maac_bench.cli.estimate.score", spy)
    options = ["--task", "maac_bench/RandomLQG6-v0", "--estimator", estimator, "--horizon", "3"]
    options += ["--samples", "8", "--replicates", "5", "--seed", "7"]
    options += ["--gain-share", "0.25", "--critic-share", "0.75", "--model-scale", "0.5", *own]
    assert main(["estimate", *options]) == 0
    ((task, estimator, given),) = seen
    assert task.name == "maac_bench/RandomLQG6-v0"
    assert estimator.settings == settings
    assert (given["samples"], list(given["seeds"])) == (8, [7, 8, 9, 10, 11])
    best = analytic.optimal_gain(require_lqg(task))
    np.testing.assert_allclose(given["gain"], 0.25 * best)
    stale = analytic.evaluate(require_lqg(task), 0.75 * best)
    np.testing.assert_allclose(given["critic"].G, stale.G)
    np.testing.assert_array_equal(given["model"].A, 0.5 * require_lqg(task).A)
    np.testing.assert_array_equal(given["model"].B, require_lqg(task).B)


def test_a_horizon_that_an_estimator_does_not_use_is_refused_whatever_it_is(capsys):
    few = ["--samples", "4", "--replicates", "4"]
    for horizon in ("1", "4", "8"):
        assert main(["estimate", "--estimator", "dpg", "--horizon", horizon, *few]) == 2
        assert "horizon" in capsys.readouterr().err
    assert main(["estimate", "--estimator", "dpg", *few]) == 0
    left_out = capsys.readouterr().out
    assert main(["estimate", "--estimator", "dpg", "--horizon", "0", *few]) == 0
    assert capsys.readouterr().out == left_out


def test_an_option_of_another_command_is_named_in_a_short_line(capsys):
    assert main(["estimate", "--figure", "curves.png"]) == 2
    error = capsys.readouterr().err
    assert "--figure" in error
    assert len(error) < 200


def test_nets_of_more_numbers_than_can_be_counted_are_too_large(tmp_path, capsys):
    huge = str(2**62)
    run = ["--task", "maac_bench/CartPole-v0", "--seeds", "0", "--rollouts", "1"]
    run += ["--actor.hidden", huge, "--out", str(tmp_path / "run")]
    assert main(["train", *run]) == 1
    assert "not enough memory" in capsys.readouterr().err
