"""How slopes along gradients are drawn: a panel per age and distance from the agent's policy."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from reports import provenance
from reports.files import read_csv
from reports.landscape_figure import COLUMNS, titled
from reports.style import BLACK, BLUE, GREY, ORANGE, save, write_below

STEP = 0.0003
"""The step that is drawn; the table has more."""
_COLORS = {"learned": BLUE, "reference": BLACK, "shuffled": ORANGE}
_PLACE = ["task", "seed", "rollout", "displacement", "random_seed"]
_MARKERS = {"o": "●", "s": "■", "^": "▲", "D": "◆"}


def draw(folder: Path) -> None:
    """Draw landscape.png and .pdf from the table in `folder`, into `folder`.

    Raises:
        ValueError: the data are missing.
    """
    origin = provenance.load(folder)
    data = read_csv(folder / "data.csv", [*COLUMNS, "random_seed"])
    data = slopes(data, STEP)
    data = data.assign(title=titled(data))
    places = data.groupby(["rollout", "displacement"], sort=True)
    ages, shares = data["rollout"].nunique(), data["displacement"].nunique()
    figure, grid = plt.subplots(
        ages,
        shares,
        figsize=(3.4 * shares, 0.9 + 3.4 * ages),
        layout="constrained",
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    # "step back" is not everywhere: the axis has all that there are.
    titles = max((rows["title"].unique().tolist() for _, rows in places), key=len)
    for axes, ((age, share), rows) in zip(grid.flat, places, strict=True):
        _draw_place(axes, rows, titles)
        where = f"{share:.0%} off it" if share else "at the agent's policy"
        axes.set_title(f"{age} episodes, {where}", fontsize=9)
    for line in grid:
        line[0].set_ylabel("slope of the test return")
    settings = origin["configuration"]
    symbols = zip(sorted(data["seed"].unique()), cycle(_MARKERS.values()), strict=False)
    seeds = ", ".join(f"{symbol} seed {seed}" for seed, symbol in symbols)
    note = (
        f"{settings['task']} · profile {settings['profile']} ({settings['label']})\n"
        f"half the difference between test returns {STEP:.2%} of the parameters' length up and "
        f"down · {seeds} · bars: standard error over {data['episodes'].iloc[0]} episodes · "
        f"reference: {settings['probe']['reference_steps']} true steps, "
        f"then the learned critic · {provenance.policies(origin)}"
    )
    write_below(figure, provenance.caption(origin, note))
    save(figure, folder / "landscape")


def slopes(data: pd.DataFrame, step: float) -> pd.DataFrame:
    """Half of what a step up leads to more than a step down, and its standard error.

    Args:
        data: a table of landscapes.
        step: length of the two.

    Returns:
        A row per place and direction, with `slope` and `slope_error` beside the columns they share.
    """
    up, down = (data[data["step"] == one].reset_index(drop=True) for one in (step, -step))
    shared = [*_PLACE, "direction", "horizon"]
    if not up[shared].equals(down[shared]):
        raise ValueError(f"the table has not every step of {step:g} in both directions")
    return up.assign(
        slope=(up["gain"] - down["gain"]) / 2.0,
        slope_error=(up["gain_error"] ** 2 + down["gain_error"] ** 2) ** 0.5 / 2.0,
    )


def _draw_place(axes: Axes, rows: pd.DataFrame, titles: list[str]) -> None:
    """The slope in every direction, a marker per seed; displacements side by side."""
    for marker, (_, seed) in zip(cycle(_MARKERS), rows.groupby("seed"), strict=False):
        for name, one in seed.groupby("direction"):
            axes.errorbar(
                one["title"].map(titles.index) + 0.15 * one["random_seed"],
                one["slope"],
                one["slope_error"],
                fmt=marker,
                color=_COLORS.get(str(name), GREY),
                ms=3.5,
                alpha=0.7,
                elinewidth=0.6,
            )
    axes.axhline(0.0, color=GREY, lw=0.8)
    axes.set_yscale("symlog", linthresh=100)
    axes.set_xticks(range(len(titles)), titles, rotation=90, fontsize=8)
