"""From learning curves to scores: pure functions of collected metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from reports.statistics import iqm_band, mann_whitney_p, probability_of_improvement

FINAL_EPISODES = 5
"""Last evaluations whose mean is the final return."""
_SHARE_OF_RISE = 0.9
_FEWER_IS_BETTER = {"episodes_to_90"}


def score_table(
    data: pd.DataFrame, rollouts: Mapping[str, int], milestones: Sequence[int] = ()
) -> pd.DataFrame:
    """What a seed's learning curve comes to.

    Measures: `final`, the mean of the last `FINAL_EPISODES` evaluations, or of fewer where training
    began later; `area`, the mean of all since training began, which is the area under the curve
    over its length; `return_at_K`; `episodes_to_90`, the first episode whose evaluation reaches
    90 % of the rise from the first evaluation to the final return (returns can be negative, so a
    share of the return itself would mean nothing). A curve that does not reach the last episode has
    only the milestones it reached; one that does not rise has no `episodes_to_90`.

    Args:
        data: columns task, algo, seed, episode, return; where it has `temperature`, that is empty
            before training begins. Where it is not known, all evaluations count.
        rollouts: task to its number of episodes.
        milestones: the Ks; those beyond a task's last episode are left out.

    Returns:
        Columns task, algo, seed, measure, score.
    """
    rows = []
    for (task, algo, seed), curve in data.groupby(["task", "algo", "seed"], sort=False):
        returns = curve.set_index("episode")["return"].dropna().sort_index()
        scores = {
            f"return_at_{k}": returns[k]
            for k in milestones
            if k <= rollouts[str(task)] and k in returns.index
        }
        if len(returns) == rollouts[str(task)]:
            trained = curve.set_index("episode").get("temperature", returns).reindex(returns.index)
            begun = trained.notna() if trained.notna().any() else returns.notna()
            scores["final"] = float(returns[begun].iloc[-FINAL_EPISODES:].mean())
            scores |= _rise(returns, scores["final"])
            scores["area"] = float(returns[begun].mean())
        rows += [
            {"task": task, "algo": algo, "seed": seed, "measure": measure, "score": score}
            for measure, score in scores.items()
        ]
    return pd.DataFrame(rows, columns=["task", "algo", "seed", "measure", "score"])


def _rise(returns: pd.Series[float], final: float) -> dict[str, float]:
    values = returns.to_numpy(dtype=np.float64)
    if not final > values[0]:
        return {}
    reached = values >= values[0] + _SHARE_OF_RISE * (final - values[0])
    return {"episodes_to_90": float(returns.index[int(np.argmax(reached))])}


def summary_table(
    data: pd.DataFrame, scores: pd.DataFrame, measures: Sequence[str], against: str | None = None
) -> pd.DataFrame:
    """Interquartile mean of each score over seeds, with its 95 % interval.

    Args:
        data: names every (task, algo) there is.
        scores: from `score_table`.
        measures: which, in which order.
        against: an algorithm whose probability of improvement over each other one is added, and
            the p-value of their difference.

    Returns:
        Columns task, algo, measure, n, iqm, low, high, and with `against` also improvement,
        improvement_low, improvement_high, p_value; empty with n = 0 where no seed has the score.
    """
    rows = []
    for (task, algo), _ in data.groupby(["task", "algo"], sort=False):
        for measure in measures:
            alike = scores[(scores["task"] == task) & (scores["measure"] == measure)]
            row: dict[str, object] = {"task": task, "algo": algo, "measure": measure}
            mine = alike[alike["algo"] == algo]
            row["n"] = len(mine)
            if len(mine):
                row |= _interquartile(mine)
            if against not in (None, algo):
                better = -1.0 if measure in _FEWER_IS_BETTER else 1.0
                theirs = alike[alike["algo"] == against]
                row |= _improvement(better * theirs["score"], better * mine["score"])
            rows.append(row)
    columns = ["task", "algo", "measure", "n", "iqm", "low", "high"]
    if against is not None:
        columns += ["improvement", "improvement_low", "improvement_high", "p_value"]
    return pd.DataFrame(rows, columns=columns)


def _interquartile(scores: pd.DataFrame) -> dict[str, float]:
    band = iqm_band(scores, "measure", "score")
    return {name: float(band[name].iloc[0]) for name in ("iqm", "low", "high")}


def _improvement(better: pd.Series[float], other: pd.Series[float]) -> dict[str, float]:
    if better.empty or other.empty:
        return {}
    estimate = probability_of_improvement(list(better), list(other))
    return {
        "improvement": estimate.value,
        "improvement_low": estimate.low,
        "improvement_high": estimate.high,
        "p_value": mann_whitney_p(list(better), list(other)),
    }


def timing_table(collected: pd.DataFrame) -> pd.DataFrame:
    """Wall-clock time of each run: all its seeds together, on one thread.

    Returns:
        Columns profile, task, algo, seeds, env_steps (each), seconds, seconds_per_1000_steps,
        update_share, model_share (of the seconds that went into updates, and into model fits and
        model rollouts).
    """
    rows = []
    for (profile, task, algo), run in collected.groupby(["profile", "task", "algo"], sort=False):
        # Every seed of a stack carries the time of the whole stack.
        parts = [name for name in run.columns if name.startswith("seconds")]
        episodes = run.groupby("episode")[["env_steps", *parts]].max()
        steps, spent = int(episodes["env_steps"].max()), episodes[parts].sum()
        seconds = float(spent["seconds"])
        rows.append(
            {
                "profile": profile,
                "task": task,
                "algo": algo,
                "seeds": run["seed"].nunique(),
                "env_steps": steps,
                "seconds": seconds,
                "seconds_per_1000_steps": 1000.0 * seconds / steps,
                "update_share": float(spent["seconds_update"]) / seconds,
                "model_share": float(spent["seconds_model"] + spent["seconds_branch"]) / seconds,
            }
        )
    return pd.DataFrame(rows)
