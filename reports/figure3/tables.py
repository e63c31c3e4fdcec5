"""From estimated gradients to errors: pure functions of the experiment's table."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd

import analytic
from analytic.lqg import Array
from maac_bench.tasks import make_task, require_lqg
from reports.figure3.settings import TASK, gains_along_ascent

BATCH = 256
"""Samples per actor update; the size for which the sampling error is reported."""

PARTS = ("truncation", "model", "critic", "interaction", "sampling", "total")
_ROUNDING = 1e-12  # a sine below it is none
_KEYS = ["regime", "gain", "seed", "horizon"]


@cache
def exact_gradient(gain: str, horizon: int | None) -> Array:
    """Gradient of the return (horizon None) or of the exact H-step objective, flattened."""
    lqg, gains = _problem()
    K = gains[gain]
    if horizon is None:
        return analytic.policy_gradient(lqg, K).ravel()
    return analytic.maac_gradient(lqg, K, horizon).ravel()


@cache
def _problem() -> tuple[analytic.LQG, dict[str, Array]]:
    lqg = require_lqg(make_task(TASK))
    return lqg, gains_along_ascent(lqg)


def error_table(raw: pd.DataFrame) -> pd.DataFrame:
    """Every estimated gradient against both references (reports/figure3/data.csv).

    Columns: regime, gain, seed, horizon, dynamics, critic, reference, l1_error, l2_relative,
    cosine, norm_ratio, rescaled_error (relative L2 error after the best positive or negative
    scalar), monte_carlo_error (root-mean-square L2 length of the expected gradient's own sampling
    error, an upper bound: see `measures.stratified_starts`).

    Raises:
        FloatingPointError: a gradient is not finite.
    """
    gradients, errors = _entries(raw, "gradient"), _entries(raw, "error")
    finite = np.isfinite(gradients).all(axis=1)
    if not finite.all():
        where = raw[[*_KEYS, "dynamics", "critic"]].iloc[int(np.argmin(finite))].to_dict()
        raise FloatingPointError(f"the estimated gradient is not finite at {where}")
    tables = []
    for reference in ("return", "objective"):
        truth = np.array(
            [
                exact_gradient(gain, None if reference == "return" else horizon)
                for gain, horizon in zip(raw["gain"], raw["horizon"], strict=True)
            ]
        )
        table = raw[[*_KEYS, "dynamics", "critic"]].copy()
        table["reference"] = reference
        size, true_size = np.linalg.norm(gradients, axis=1), np.linalg.norm(truth, axis=1)
        cosine = np.sum(gradients * truth, axis=1) / (size * true_size)
        table["l1_error"] = np.abs(gradients - truth).sum(axis=1)
        table["l2_relative"] = np.linalg.norm(gradients - truth, axis=1) / true_size
        table["cosine"] = cosine
        table["norm_ratio"] = size / true_size
        table["rescaled_error"] = _sine(gradients / size[:, None], truth / true_size[:, None])
        table["monte_carlo_error"] = np.linalg.norm(errors, axis=1)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _sine(one: Array, other: Array) -> Array:
    """Of the angle between unit vectors in rows: min_c ||c g - g*|| / ||g*||.

    From what is left of one beside the other: sqrt(1 - cos^2) would be rounding below 1e-8, which
    differs from processor to processor.
    """
    along = np.sum(one * other, axis=1, keepdims=True)
    sine = np.linalg.norm(one - along * other, axis=1)
    return np.where(sine > _ROUNDING, sine, 0.0)


def decomposition_table(raw: pd.DataFrame) -> pd.DataFrame:
    """The learned pair's error against the return, part by part.

    truncation + model + critic + interaction = total, as vectors; `sampling` is the expected
    L1 size of a batch's Monte-Carlo error around its own mean. Columns: regime, gain, seed,
    horizon, part, l1_error, l2_relative.
    """
    indexed = raw.set_index([*_KEYS, "dynamics", "critic"]).sort_index()
    gradients = pd.DataFrame(_entries(indexed, "gradient"), index=indexed.index)

    def pair(dynamics: str, critic: str) -> pd.DataFrame:
        selected = gradients.xs((dynamics, critic), level=("dynamics", "critic"))
        assert isinstance(selected, pd.DataFrame)
        return selected

    exact, both = pair("true", "exact"), pair("learned", "learned")
    model, critic = pair("learned", "exact") - exact, pair("true", "learned") - exact
    keys = exact.index.to_frame(index=False)
    truth = np.array([exact_gradient(gain, None) for gain in keys["gain"]])
    vectors = {
        "truncation": exact.to_numpy() - truth,
        "model": model.to_numpy(),
        "critic": critic.to_numpy(),
        "interaction": (both - exact - model - critic).to_numpy(),
        "total": both.to_numpy() - truth,
    }
    spread = indexed.xs(("learned", "learned"), level=("dynamics", "critic"))
    assert isinstance(spread, pd.DataFrame)
    # For a normal error with standard deviation sd, the mean absolute value is sd sqrt(2 / pi).
    sampling = _entries(spread, "spread") / np.sqrt(BATCH)
    true_size = np.linalg.norm(truth, axis=1)
    tables = []
    for part in PARTS:
        table = keys.copy()
        table["part"] = part
        if part == "sampling":
            table["l1_error"] = np.sqrt(2.0 / np.pi) * sampling.sum(axis=1)
            table["l2_relative"] = np.linalg.norm(sampling, axis=1) / true_size
        else:
            table["l1_error"] = np.abs(vectors[part]).sum(axis=1)
            table["l2_relative"] = np.linalg.norm(vectors[part], axis=1) / true_size
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def bound_table(raw: pd.DataFrame) -> pd.DataFrame:
    """Lemma 4.1 for the learned pair, as a bound on the L1 error against the objective.

    The lemma bounds the L2 norm; over p entries the L1 norm is at most sqrt(p) times that.
    Columns: regime, gain, seed, horizon, printed, corrected.
    """
    entries = _entries(raw, "gradient").shape[1]
    rows = raw[(raw["dynamics"] == "learned") & (raw["critic"] == "learned")]
    rows = rows.dropna(subset=["bound_printed", "bound_corrected"])
    table = rows[_KEYS].copy()
    for form in ("printed", "corrected"):
        table[form] = np.sqrt(entries) * rows[f"bound_{form}"]
    return table.reset_index(drop=True)


def fit_table(raw: pd.DataFrame) -> pd.DataFrame:
    """How good the fits are: regime, gain, seed and the columns of `measures.measure_fits`."""
    columns = [c for c in raw.columns if c.startswith("fit_")]
    table = raw.drop_duplicates(["regime", "gain", "seed"])[["regime", "gain", "seed", *columns]]
    return table.rename(columns=lambda name: name.removeprefix("fit_")).reset_index(drop=True)


def horizon_table(errors: pd.DataFrame, limits: pd.DataFrame) -> pd.DataFrame:
    """Which H is best, per regime and gain.

    Columns: regime, gain; h_return and h_objective, the smallest mean L1 error of the learned pair
    against each reference; h_bound_printed and h_bound_corrected, the smallest mean bound; l1_at_0,
    l1_at_best, l1_at_longest, against the return; rise and rise_error, the mean paired difference
    between the longest and the best H and its standard error over seeds; rise_held_out and
    rise_held_out_error, the same with each seed's best H chosen on the others, which chance alone
    does not make positive; seeds_that_turn, the share of seeds whose own smallest error is before
    the longest H.
    """
    learned = errors[(errors["dynamics"] == "learned") & (errors["critic"] == "learned")]
    rows = []
    for (regime, gain), group in learned.groupby(["regime", "gain"], sort=False):
        by_seed = group.pivot_table(
            index="seed", columns=["reference", "horizon"], values="l1_error"
        )
        horizons = sorted(group["horizon"].unique())
        to_return, to_objective = (
            by_seed[reference][horizons].to_numpy() for reference in ("return", "objective")
        )
        chosen = limits[(limits["regime"] == regime) & (limits["gain"] == gain)]
        bound = chosen.groupby("horizon")[["printed", "corrected"]].mean()
        mean = to_return.mean(axis=0)
        best = int(np.argmin(mean))
        rise = to_return[:, -1] - to_return[:, best]
        held_out = to_return[:, -1] - _at_the_others_best(to_return)
        rows.append(
            {
                "regime": regime,
                "gain": gain,
                "h_return": horizons[best],
                "h_objective": horizons[int(np.argmin(to_objective.mean(axis=0)))],
                "h_bound_printed": bound["printed"].idxmin(),
                "h_bound_corrected": bound["corrected"].idxmin(),
                "h_longest": horizons[-1],
                "l1_at_0": mean[0],
                "l1_at_best": mean[best],
                "l1_at_longest": mean[-1],
                "rise": rise.mean(),
                "rise_error": rise.std(ddof=1) / np.sqrt(len(rise)),
                "rise_held_out": held_out.mean(),
                "rise_held_out_error": held_out.std(ddof=1) / np.sqrt(len(rise)),
                "seeds_that_turn": np.mean(np.argmin(to_return, axis=1) < len(horizons) - 1),
            }
        )
    return pd.DataFrame(rows)


def _at_the_others_best(errors: Array) -> Array:
    """Each seed's error at the horizon that is best in the mean of the other seeds, [seeds].

    Args:
        errors: [seeds, horizons].
    """
    others = errors.sum(axis=0) - errors
    result: Array = np.take_along_axis(errors, others.argmin(axis=1)[:, None], axis=1)[:, 0]
    return result


def _entries(table: pd.DataFrame, name: str) -> Array:
    columns = sorted(c for c in table.columns if c.startswith(f"{name}_"))
    return table[columns].to_numpy(dtype=np.float64)
