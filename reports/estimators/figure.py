"""How the estimator comparison is drawn: committed table in, figure out."""

from __future__ import annotations

from itertools import product
from pathlib import Path

from matplotlib import pyplot as plt

from reports import provenance
from reports.files import read_csv
from reports.style import GREY, PALETTE, save, write_below

_MARKERS = ("o", "s", "^", "D")
_COLUMNS = [
    "task",
    "estimator",
    "horizon",
    "samples",
    "rms_error",
    "bias_exact",
    "spread",
    "spread_exact",
]


def draw(folder: Path) -> None:
    """Draw estimators.png and .pdf from the table in `folder`, into `folder`.

    Raises:
        ValueError: the data are missing.
    """
    origin = provenance.load(folder)
    data = read_csv(folder / "data.csv", _COLUMNS)
    names = data["estimator"].unique()
    looks = dict(zip(names, product(_MARKERS, PALETTE), strict=False))
    tasks = list(data["task"].unique())
    figure, grid = plt.subplots(2, len(tasks), figsize=(12, 7.4), layout="constrained")
    for (upper, lower), task in zip(grid.T, tasks, strict=True):
        for name, rows in data[data["task"] == task].groupby("estimator", sort=False):
            (marker, color), last = looks[name], rows.iloc[-1]
            # Nearly the pathwise one where that has the smaller variance: neither hides the other.
            style = {"ls": "--", "mfc": "white"} if name == "inverse-variance" else {"ls": "-"}
            upper.plot(
                rows["samples"],
                rows["rms_error"],
                marker=marker,
                color=color,
                ms=3,
                label=name,
                **style,
            )
            upper.axhline(last["bias_exact"], color=color, lw=0.7, ls=":")
            size = {"ms": 10, "mfc": "none"} if "mfc" in style else {"ms": 7}
            lower.plot(last["spread"], last["bias_exact"], marker, color=color, **size)
            lower.plot(last["spread_exact"], last["bias_exact"], "kx", ms=5)
        noisiest = data[data["task"] == task].groupby("estimator")["rms_error"].first().max()
        first, last_n = data["samples"].min(), data["samples"].max()
        line = [2 * noisiest, 2 * noisiest * (first / last_n) ** 0.5]
        upper.plot([first, last_n], line, color=GREY, ls="--", lw=1, label=r"slope $N^{-1/2}$")
        for axes in (upper, lower):
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_title(task, fontsize=9)
        upper.set_xlabel("samples N")
        lower.set_xlabel("std per sample / |gradient|  (x: closed form)")
    grid[0, 0].set_ylabel("RMS error / |gradient|  (dotted: exact bias)")
    grid[1, 0].set_ylabel("exact bias / |gradient|")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=9)
    settings = origin["configuration"]
    note = f"profile {settings['profile']} · {settings['replicates']} replicates (seeds 0-"
    note += (
        f"{settings['replicates'] - 1}) · H = {settings['horizon']} with a stale critic, "
        "dpg H = 0, those without a critic the full horizon"
    )
    write_below(figure, provenance.caption(origin, note), 8)
    save(figure, folder / "estimators")
