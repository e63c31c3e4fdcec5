"""`maac-bench estimate`: what it prints and writes of one score and of several."""

import numpy as np
import pandas as pd
import pytest

import analytic
from maac_bench.__main__ import main
from maac_bench.cli.scores import AtHorizon, describe
from maac_bench.scoring import Score

FEW = ["--samples", "64", "--replicates", "16"]


def test_a_score_is_shown_with_the_errors_of_its_parts():
    numbers = (0.1, 0.25, 0.5, 0.125, 3.0, 0.75)
    text = describe(AtHorizon(2, Score(np.ones(2), np.ones(2), *numbers), np.array([1.0, 2.0])))
    assert "distance of these two          0.7071, by chance 0.25\n" in text
    assert "0.1 ± 0.25, in expectation 0.7071" in text
    assert "0.5000 ± 0.12, in expectation 0.9487" in text
    assert text.index("3") < text.index("0.75")


def test_without_an_exact_mean_nothing_is_said_of_one():
    text = describe(AtHorizon(2, Score(np.ones(2), np.ones(2), *[0.5] * 6), None))
    assert "gradient that it estimates     its own\n" in text
    assert "in expectation" not in text
    assert "distance" not in text


def test_several_horizons_are_a_table_and_a_file(tmp_path, capsys):
    """Each with the numbers that it has alone."""
    file = tmp_path / "scores.csv"
    model = ["--model-scale", "1.02"]
    arguments = ["estimate", *FEW, *model, "--horizon", "8", "0", "2", "--out", str(file)]
    assert main(arguments) == 0
    said, truth, head, *lines = capsys.readouterr().out.splitlines()
    assert "model: A times 1.02; critic: the policy's exact one; 16 estimates of 64" in said
    assert truth.startswith("exact gradient of the return   [22.74")
    assert head.split()[0] == "H"
    assert [line.split()[0] for line in lines] == ["8", "0", "2"]
    table = pd.read_csv(file)
    assert table["horizon"].tolist() == [8, 0, 2]
    assert (table["model_scale"] == 1.02).all()
    lqg = analytic.double_integrator()
    gain = 0.5 * analytic.optimal_gain(lqg)
    model = analytic.LinearModel(1.02 * lqg.A, lqg.B, lqg.W)
    exact = analytic.policy_gradient(lqg, gain)
    for row in table.itertuples():
        off = analytic.maac_gradient(lqg, gain, row.horizon, model=model) - exact
        bias = np.linalg.norm(off) / np.linalg.norm(exact)
        assert row.bias_exact == pytest.approx(bias)
        assert row.bias == pytest.approx(bias, abs=5 * row.bias_error)
    alone = tmp_path / "alone.csv"
    assert (
        main(["estimate", *FEW, "--model-scale", "1.02", "--horizon", "2", "--out", str(alone)])
        == 0
    )
    pd.testing.assert_frame_equal(pd.read_csv(alone), table[2:].reset_index(drop=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--horizon", "2", "2"], "horizon has a value twice: 2 2"),
        (["--horizon"], "horizon must have a value"),
        (["--horizon", "2", "-1"], "horizon must be at least 0, got -1"),
        (["--estimator", "dpg", "--model-scale", "1.1"], "H = 0 asks no model: leave model_scale"),
        (["--estimator", "dpg", "--horizon", "0", "4"], "dpg has no use for horizon"),
        (["--model-scale", "nan"], "model_scale must be finite, got nan"),
        (["--out", "/proc/x.csv"], "/proc"),
    ],
)
def test_what_cannot_be_scored_is_refused_before_the_work(monkeypatch, capsys, options, message):
    monkeypatch.setattr("maac_bench.cli.estimate.score", None)
    assert main(["estimate", *options]) in (1, 2)
    assert message in capsys.readouterr().err
