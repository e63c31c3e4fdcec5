"""How gains along gradients are drawn: a panel per age and distance from the agent's policy."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from reports import provenance
from reports.files import read_csv
from reports.landscape_figure import COLUMNS, titled
from reports.style import BLUE, GREY, ORANGE, save, write_below

STEP = 0.001
"""The step that is drawn; the table has more."""
_MARKERS = {"o": "●", "s": "■", "^": "▲", "D": "◆"}


def draw(folder: Path) -> None:
    """Draw landscape.png and .pdf from the table in `folder`, into `folder`.

    Raises:
        ValueError: the data are missing.
    """
    origin = provenance.load(folder)
    data = read_csv(folder / "data.csv", [*COLUMNS, "random_seed"])
    data = data[data["step"].abs() == STEP].assign(title=titled(data))
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
        line[0].set_ylabel("gain in test return")
    settings = origin["configuration"]
    symbols = zip(sorted(data["seed"].unique()), cycle(_MARKERS.values()), strict=False)
    seeds = ", ".join(f"{symbol} seed {seed}" for seed, symbol in symbols)
    note = (
        f"{settings['task']} · profile {settings['profile']} ({settings['label']})\n"
        f"policies moved by {STEP:.1%} of their parameters' length · blue: up the gradient, "
        f"orange: down · {seeds} · mean of {data['episodes'].iloc[0]} episodes, bars: standard "
        f"error of the difference · reference: {settings['probe']['reference_steps']} true steps, "
        f"then the learned critic · {provenance.policies(origin)}"
    )
    write_below(figure, provenance.caption(origin, note))
    save(figure, folder / "landscape")


def _draw_place(axes: Axes, rows: pd.DataFrame, titles: list[str]) -> None:
    """Gains up and down every direction, a marker per seed; displacements side by side."""
    for marker, (_, seed) in zip(cycle(_MARKERS), rows.groupby("seed"), strict=False):
        for step, color, side in ((STEP, BLUE, 0.12), (-STEP, ORANGE, -0.12)):
            one = seed[seed["step"] == step]
            places = one["title"].map(titles.index) + side + 0.06 * (one["random_seed"] - 1)
            axes.errorbar(
                places,
                one["gain"],
                one["gain_error"],
                fmt=marker,
                color=color,
                ms=3,
                alpha=0.7,
                elinewidth=0.6,
            )
    axes.axhline(0.0, color=GREY, lw=0.8)
    axes.set_yscale("symlog", linthresh=100)
    axes.set_xticks(range(len(titles)), titles, rotation=90, fontsize=8)
