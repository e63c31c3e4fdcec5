import numpy as np
import pandas as pd
import pytest
from scipy.stats import trim_mean

from reports.statistics import (
    interval_note,
    iqm_band,
    mann_whitney_p,
    mean_band,
    mean_probability_of_improvement,
    performance_profile,
    probability_of_improvement,
)


def table(values: np.ndarray) -> pd.DataFrame:
    seeds, points = np.indices(values.shape)
    return pd.DataFrame({"seed": seeds.ravel(), "x": points.ravel() * 10, "y": values.ravel()})


def test_band_covers_the_mean_at_the_stated_rate():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(150):
        band = mean_band(table(rng.normal(3.0, 2.0, size=(30, 1))), "x", "y")
        covered += bool(band["low"][0] <= 3.0 <= band["high"][0])
    assert 0.87 < covered / 150 < 0.99


def test_band_narrows_with_the_square_root_of_the_seeds():
    rng = np.random.default_rng(1)

    def width(seeds: int) -> float:
        band = mean_band(table(rng.normal(size=(seeds, 20))), "x", "y")
        return float((band["high"] - band["low"]).mean())

    assert width(25) / width(100) == pytest.approx(2.0, rel=0.15)


def test_mean_order_and_count():
    band = mean_band(table(np.array([[1.0, 5.0], [3.0, 7.0]])), "x", "y")
    assert list(band["x"]) == [0, 10]
    assert list(band["mean"]) == [2.0, 6.0]
    assert list(band["n"]) == [2, 2]


@pytest.mark.parametrize("band", [mean_band, iqm_band])
def test_a_band_leaves_out_a_fortieth_at_each_end(band):
    """One of 27 resamples holds the third seed three times: more than 1/40, less than 1/20."""
    rows = table(np.array([[0.0], [0.0], [1.0]]))
    assert band(rows, "x", "y")["high"].item() == 1.0
    assert band(rows, "x", "y", level=0.9)["high"].item() == pytest.approx(2 / 3)


def test_intervals_of_less_than_four_seeds_are_called_a_range():
    assert interval_note(3) == "bootstrap band (about the seeds' range)"
    assert interval_note(4) == "nominal 95 % bootstrap band"


def test_missing_or_non_finite_values_are_refused():
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="'y' has missing or non-finite"):
            mean_band(table(np.array([[1.0, bad], [3.0, 7.0]])), "x", "y")
    with pytest.raises(ValueError, match="'y' has missing"):
        mean_band(table(np.ones((3, 3))).iloc[:-1], "x", "y")


def test_iqm_by_hand():
    band = iqm_band(table(np.array([[1.0], [2.0], [4.0], [100.0]])), "x", "y")
    assert band["iqm"][0] == 3.0
    assert iqm_band(table(np.array([[1.0], [2.0], [6.0]])), "x", "y")["iqm"][0] == 3.0
    assert list(band.columns) == ["x", "iqm", "low", "high", "n"]


def test_iqm_is_the_trimmed_mean_of_all_entries():
    values = np.random.default_rng(2).normal(size=(11, 6))
    band = iqm_band(table(values), "x", "y")
    np.testing.assert_allclose(band["iqm"], trim_mean(values, 0.25, axis=0))
    assert (band["n"] == 11).all()
    assert (band["low"] <= band["iqm"]).all()
    assert (band["iqm"] <= band["high"]).all()


def test_iqm_band_covers_at_the_stated_rate():
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(100):
        band = iqm_band(table(rng.normal(3.0, 2.0, size=(30, 1))), "x", "y")
        covered += bool(band["low"][0] <= 3.0 <= band["high"][0])
    assert 0.85 < covered / 100 < 1.0


def test_iqm_band_is_independent_of_the_rows_order():
    rows = table(np.random.default_rng(4).normal(size=(5, 3)))
    shuffled = rows.sample(frac=1.0, random_state=0)
    pd.testing.assert_frame_equal(iqm_band(rows, "x", "y"), iqm_band(shuffled, "x", "y"))


def test_one_seed_has_no_width():
    band = iqm_band(table(np.array([[1.0, 5.0]])), "x", "y")
    for name in ("iqm", "low", "high"):
        assert list(band[name]) == [1.0, 5.0]
    assert list(band["n"]) == [1, 1]


def test_missing_seeds_are_left_out_and_counted():
    """Four seeds, one of which ends early and one of which has an empty entry."""
    values = np.array([[1.0, 1.0], [2.0, np.nan], [4.0, 3.0], [9.0, 50.0]])
    band = iqm_band(table(values).iloc[:-1], "x", "y")
    assert list(band["iqm"]) == [3.0, 2.0]
    assert list(band["n"]) == [4, 2]
    assert (band["low"][1], band["high"][1]) == (1.0, 3.0)


def test_a_place_where_no_seed_has_a_value_is_left_out():
    band = iqm_band(table(np.array([[1.0, np.nan], [3.0, np.nan]])), "x", "y")
    assert band.values.tolist() == [[0, 2, 1, 3, 2]]


def test_whole_curves_are_resampled():
    """Points that are alike in every seed have the same bounds: no point is drawn on its own."""
    column = np.random.default_rng(6).normal(size=(7, 1))
    band = iqm_band(table(np.repeat(column, 2, axis=1)), "x", "y")
    assert band["low"][0] == band["low"][1] < band["high"][0] == band["high"][1]


def test_many_columns_are_resampled_in_parts_to_the_same_bounds(monkeypatch):
    values = table(np.random.default_rng(7).normal(size=(5, 9)))
    whole = iqm_band(values, "x", "y")
    monkeypatch.setattr("reports.statistics._AT_ONCE", 20_000)  # two columns of 2000 x 5
    pd.testing.assert_frame_equal(iqm_band(values, "x", "y"), whole)


def test_seeds_are_drawn_within_their_stratum():
    """Strata that differ, seeds that do not: no resample mixes strata, so there is no spread."""
    rows = pd.DataFrame(
        {"task": ["a"] * 3 + ["b"] * 3, "seed": [0, 1, 2] * 2, "x": 0, "y": [0.0] * 3 + [1.0] * 3}
    )
    band = iqm_band(rows, "x", "y", stratum="task")
    assert (band["iqm"][0], band["low"][0], band["high"][0]) == (0.5, 0.5, 0.5)
    assert band["n"][0] == 6
    mixed = iqm_band(rows.assign(seed=range(6)), "x", "y")
    assert mixed["low"][0] < 0.5 < mixed["high"][0]


def test_iqm_refuses_infinite_values_and_doubled_rows():
    with pytest.raises(ValueError, match="'y' has infinite"):
        iqm_band(table(np.array([[1.0], [np.inf]])), "x", "y")
    rows = table(np.array([[1.0], [2.0]]))
    with pytest.raises(ValueError, match="duplicate"):
        iqm_band(pd.concat([rows, rows]), "x", "y")


def test_probability_of_improvement_by_hand():
    estimate = probability_of_improvement([1.0, 2.0, 3.0], [0.0, 2.0])
    assert estimate.value == pytest.approx(4.5 / 6)
    assert estimate.low <= estimate.value <= estimate.high
    assert probability_of_improvement([2.0, 3.0], [0.0, 1.0]) == (1.0, 1.0, 1.0)
    assert probability_of_improvement([1.0], [1.0]) == (0.5, 0.5, 0.5)
    swapped = probability_of_improvement([0.0, 2.0], [1.0, 2.0, 3.0])
    assert estimate.value + swapped.value == pytest.approx(1.0)


def test_probability_of_improvement_covers_at_the_stated_rate():
    """Equal distributions: one half."""
    rng, covered = np.random.default_rng(5), 0
    for _ in range(100):
        estimate = probability_of_improvement(rng.normal(size=20), rng.normal(size=20))
        covered += estimate.low <= 0.5 <= estimate.high
    assert 0.85 < covered / 100 < 1.0


def test_probability_of_improvement_needs_both_sides():
    for bad in ([], [np.nan]):
        with pytest.raises(ValueError, match="both sides need finite scores"):
            probability_of_improvement(bad, [1.0])


def test_improvement_over_tasks_is_the_mean_of_the_tasks():
    """Whatever the scales: the second task's scores are a thousand times the first one's."""
    tasks = [([1.0, 2.0, 3.0], [0.0, 2.0]), ([0.0, 1000.0], [2000.0])]
    estimate = mean_probability_of_improvement(tasks)
    assert estimate.value == pytest.approx((4.5 / 6 + 0) / 2)
    assert estimate.low <= estimate.value <= estimate.high <= 0.5
    assert mean_probability_of_improvement(tasks[:1]) == probability_of_improvement(*tasks[0])
    with pytest.raises(ValueError, match="needs a task that both sides have"):
        mean_probability_of_improvement([])


def test_mann_whitney_p_counts_every_split():
    """Separate sides are 2 of all splits; with ties, those splits that are as uneven."""
    assert mann_whitney_p([1, 2], [3, 4]) == pytest.approx(2 / 6)
    assert mann_whitney_p(range(5), range(5, 10)) == pytest.approx(2 / 252)
    assert mann_whitney_p([0, 0], [0, 1]) == 1.0
    assert mann_whitney_p([0, 0, 0], [0, 1, 1]) == pytest.approx(2 * 4 / 20)
    assert np.isnan(mann_whitney_p([1.0], [2.0, 3.0]))


def test_mann_whitney_p_is_exact_up_to_eight_against_eight():
    """16 scores have 12870 splits into halves."""
    assert mann_whitney_p(range(8), range(8, 16)) == pytest.approx(2 / 12870)


def test_mann_whitney_p_is_rarely_small_by_chance():
    rng = np.random.default_rng(3)
    values = [mann_whitney_p(rng.normal(size=5), rng.normal(size=5)) for _ in range(200)]
    assert 0.01 < np.mean(np.array(values) <= 0.056) < 0.12  # 5.6 % is attained exactly


def test_performance_profile_by_hand():
    """Two tasks with two and four runs: a run of the first one counts twice as much."""
    scores = pd.DataFrame({"task": [*"aabbbb"], "score": [0.2, 0.8, 0.1, 0.5, 0.5, 0.9]})
    profile = performance_profile(scores, "score", [0.0, 0.5, 0.85, 1.0], stratum="task")
    assert list(profile["share"]) == [1.0, (1 / 2 + 1 / 4) / 2, (0 + 1 / 4) / 2, 0.0]
    assert (profile["low"] <= profile["share"]).all()
    assert (profile["share"] <= profile["high"]).all()
    assert profile.loc[0, ["low", "high"]].tolist() == [1.0, 1.0]
    assert profile["n"].tolist() == [6] * 4
    pooled = performance_profile(scores, "score", [0.5])
    assert pooled["share"][0] == 2 / 6


def test_performance_profile_covers_at_the_stated_rate():
    rng, covered = np.random.default_rng(7), 0
    for _ in range(100):
        scores = pd.DataFrame({"score": rng.uniform(size=30)})
        profile = performance_profile(scores, "score", [0.4])
        covered += bool(profile["low"][0] <= 0.6 <= profile["high"][0])
    assert 0.85 < covered / 100 < 1.0


def test_performance_profile_refuses_missing_scores():
    for bad in ([], [np.nan], [np.inf]):
        with pytest.raises(ValueError, match="'score' needs finite scores"):
            performance_profile(pd.DataFrame({"score": bad}, dtype=float), "score", [0.5])


@pytest.mark.parametrize(("seeds", "coverage"), [(2, 0.5), (3, 0.75), (5, 0.91), (10, 0.94)])
def test_what_the_intervals_hold_is_what_the_module_says(seeds, coverage):
    """Of 2000 samples of standard normal scores, whose true mean is 0."""
    draws = np.random.default_rng(1).normal(size=(2000, seeds))
    table = pd.DataFrame(draws).reset_index(names="by")
    table = table.melt(id_vars="by", var_name="seed", value_name="score")
    band = iqm_band(table, "by", "score")
    held = ((band["low"] <= 0.0) & (band["high"] >= 0.0)).mean()
    assert held == pytest.approx(coverage, abs=0.03)
