"""Scores of estimators as text and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from analytic.lqg import Array
from maac_bench.scoring import Score, cosine


class AtHorizon(NamedTuple):
    """A score at one H, and the exact mean from `scoring.expectation`; None: not known."""

    horizon: int
    score: Score
    expected: Array | None

    @property
    def distance(self) -> float:
        """Of the mean estimate from what it estimates, relative to the exact gradient."""
        return self._relative(self.score.mean)

    @property
    def bias(self) -> float:
        """In expectation."""
        return self._relative(self.score.truth)

    @property
    def cosine(self) -> float:
        """In expectation."""
        return float("nan") if self.expected is None else cosine(self.expected, self.score.truth)

    def _relative(self, other: Array) -> float:
        if self.expected is None:
            return float("nan")
        lengths = np.linalg.norm(other - self.expected), np.linalg.norm(self.score.truth)
        return float(lengths[0] / lengths[1])


def describe(scored: AtHorizon) -> str:
    """A score as readable lines."""
    with np.printoptions(precision=4, suppress=True, threshold=20, edgeitems=4):
        return _lines(scored)


def _lines(scored: AtHorizon) -> str:
    result, expected = scored.score, scored.expected
    known = expected is not None
    bias = f", in expectation {scored.bias:.4g}" if known else ""
    direction = f", in expectation {scored.cosine:.4f}" if known else ""
    lines = {
        "exact gradient of the return": f"{result.truth}",
        "gradient that it estimates": f"{expected}" if known else "its own",
        "mean estimate": f"{result.mean}",
        "distance of these two": f"{scored.distance:.4g}, by chance {result.bias_error:.2g}"
        if known
        else "",
        "bias / |gradient|": f"{result.bias:.4g} ± {result.bias_error:.2g}{bias}",
        "cosine to the exact gradient": f"{result.cosine:.4f} ± {result.cosine_error:.2g}"
        f"{direction}",
        "std per sample / |gradient|": f"{result.spread:.4g}",
        "error of one estimate": f"{result.rms_error:.4g} (relative, RMS)",
    }
    return "\n".join(f"{name:31s}{text}" for name, text in lines.items() if text)


def table(scores: Sequence[AtHorizon]) -> str:
    """Scores as lines of a table, the exact gradient above it."""
    rows = [
        {
            "H": one.horizon,
            "bias": one.score.bias,
            "±": one.score.bias_error,
            "exact": one.bias,
            "cosine": one.score.cosine,
            "± ": one.score.cosine_error,
            "exact ": one.cosine,
            "std per sample": one.score.spread,
            "error of one": one.score.rms_error,
        }
        for one in scores
    ]
    angle = "{:.4f}".format
    shown = pd.DataFrame(rows).to_string(
        index=False,
        formatters={"cosine": angle, "exact ": angle},
        float_format="{:.3g}".format,
        na_rep="-",
    )
    with np.printoptions(precision=4, suppress=True, threshold=20, edgeitems=4):
        return f"exact gradient of the return   {scores[0].score.truth}\n{shown}"


def frame(scores: Sequence[AtHorizon], given: Mapping[str, object]) -> pd.DataFrame:
    """A row per H: what was given, what `Score` has but its vectors, and what is exact."""
    measured = ("bias", "bias_error", "cosine", "cosine_error", "spread", "rms_error")
    return pd.DataFrame(
        {
            **given,
            "horizon": one.horizon,
            **{name: getattr(one.score, name) for name in measured},
            "bias_exact": one.bias,
            "cosine_exact": one.cosine,
            "distance": one.distance,
        }
        for one in scores
    )
