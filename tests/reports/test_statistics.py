import numpy as np
import pandas as pd
import pytest

from reports.statistics import mean_band


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


def test_missing_or_non_finite_values_are_refused():
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="'y' has missing or non-finite"):
            mean_band(table(np.array([[1.0, bad], [3.0, 7.0]])), "x", "y")
    with pytest.raises(ValueError, match="'y' has missing"):
        mean_band(table(np.ones((3, 3))).iloc[:-1], "x", "y")
