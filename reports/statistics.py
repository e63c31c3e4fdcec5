"""Aggregates over seeds with bootstrap intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

_RESAMPLES = 2000


def mean_band(
    table: pd.DataFrame, by: str, value: str, seed: str = "seed", level: float = 0.95
) -> pd.DataFrame:
    """Mean over seeds with a percentile-bootstrap interval that resamples whole seeds.

    Args:
        table: one row per (seed, by).
        by: the column on the horizontal axis.
        value: the column to average.
        seed: the column to resample.
        level: coverage of the interval.

    Returns:
        Columns by, mean, low, high, n, in the order of `by`.

    Raises:
        ValueError: a value is missing or not finite.
    """
    wide = table.pivot(index=seed, columns=by, values=value)
    values = wide.to_numpy(dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"column {value!r} has missing or non-finite entries")
    interval = bootstrap(
        (values,),
        np.mean,
        axis=0,
        confidence_level=level,
        n_resamples=_RESAMPLES,
        method="percentile",
        rng=0,
    ).confidence_interval
    return pd.DataFrame(
        {
            by: wide.columns.to_numpy(),
            "mean": values.mean(axis=0),
            "low": interval.low,
            "high": interval.high,
            "n": len(values),
        }
    )
