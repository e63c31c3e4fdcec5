"""Which reports the page has, and what it shows of each."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import NamedTuple

from reports.ablations.figure import COLORS as ABLATIONS
from reports.figure2.figure import COLORS as FIGURE2
from reports.page.charts import Group, curve_charts, error_charts, group_html, sample_charts
from reports.page.markup import image_html, page_html
from reports.page.origin import origin_html
from reports.page.paper import folders
from reports.page.tables import horizon_html, planning_html, summary_html, timing_html
from reports.parity.figure import COLORS as PARITY
from reports.statistics import interval_note


class Section(NamedTuple):
    """One report.

    title: where it has no page of its own. profiles: its sizes; the first one's data are in the
    report's folder, the others' below it. charts: of a profile's folder; caption: what they show,
    where {band} stands for what an interval of that many seeds is called.
    images: names without suffix. tables: of a profile's folder.
    """

    title: str
    profiles: Sequence[str]
    charts: Callable[[Path], Group] | None
    caption: str
    images: Sequence[str]
    tables: Sequence[Callable[[Path], str]]


def _estimator_table(folder: Path) -> str:
    path = folder / "table.md"
    return f'<div class="numbers">{page_html(path, {}, level=2)}</div>' if path.exists() else ""


_CURVES = (
    "Interquartile mean over seeds and {band}; thin lines are single seeds. "
    "Hiding a seed hides its line, not its share of the mean."
)
SECTIONS = {
    "figure3": Section(
        "Figure 3: gradient error against the horizon",
        ("quick", "paper"),
        error_charts,
        "Error against the gradient of the return, learned critic: mean over seeds and {band}; "
        "thin lines are single seeds.",
        ("figure3", "regimes"),
        (horizon_html,),
    ),
    "estimators": Section(
        "All estimators against the exact gradient",
        ("quick", "paper"),
        sample_charts,
        "Root-mean-square error of one estimate against its number of samples.",
        ("estimators",),
        (_estimator_table,),
    ),
    "figure2": Section(
        "Figure 2: against the baselines",
        (
            "quick",
            "mujoco",
            "mujoco-repeated",
            "longer",
            "longer-critic-unit",
            "other-tasks",
            "ant",
            "paper-size",
            "paper-size-repeated",
            "paper-size-gpu",
            "paper",
        ),
        partial(curve_charts, colors=FIGURE2),
        _CURVES,
        (),
        (summary_html, timing_html),
    ),
    "ablations": Section(
        "Ablations: what each part contributes",
        (
            "quick",
            "mujoco",
            "mujoco-repeated",
            "longer",
            "critic-unit",
            "critic-unit-baseline",
            "critic-unit-repeated",
            "critic-unit-small-tasks",
            "other-tasks",
            "other-tasks-critic-unit",
            "other-tasks-repeated",
            "ant",
            "ant-longer",
            "normalisation",
            "entropy",
            "plus",
            "plus-critic-unit",
            "precision",
            "updates",
            "fits",
            "target-members",
            "paper-size",
            "paper-size-gpu",
            "paper-size-tf32",
            "paper-size-tf32-repeated",
            "paper",
        ),
        partial(curve_charts, colors=ABLATIONS),
        _CURVES,
        (),
        (summary_html, timing_html),
    ),
    "gradient_error": Section(
        "Gradient error on a robot: learned against true MuJoCo dynamics",
        (
            "mujoco",
            "plus",
            "critic-unit",
            "hopper",
            "walker2d",
            "ant",
            "paper-size",
            "paper-size-critic-unit",
            "paper-size-gpu-h0",
            "paper-size-tf32-31",
            "paper-size-tf32",
            "paper",
        ),
        None,
        "",
        ("gradient_error",),
        (),
    ),
    "displacement": Section(
        "Where a gradient is measured",
        ("exact", "mujoco", "hopper"),
        None,
        "",
        ("displacement",),
        (),
    ),
    "landscape": Section(
        "What a step along a gradient is worth",
        ("mujoco", "hopper"),
        None,
        "",
        ("landscape",),
        (),
    ),
    "parity": Section(
        "Parity: SAC here and in stable-baselines3",
        ("quick",),
        partial(curve_charts, colors=PARITY),
        _CURVES,
        (),
        (summary_html,),
    ),
    "table1": Section(
        "Table 1: planning at test time",
        (
            "quick",
            "mujoco",
            "critic-unit",
            "longer",
            "paper-size",
            "paper-size-gpu",
            "paper-size-tf32",
            "paper",
        ),
        None,
        "",
        (),
        (planning_html,),
    ),
}
ANCHORS = {f"{name}/README.md": name for name in SECTIONS} | {"docs/errata.md": "errata"}
_ZOOM = (
    "Click a name to hide its lines. Drag over a range to enlarge it, double click to go back; "
    "the buttons do the same."
)


def section_html(reports: Path, name: str) -> str:
    """A report: its page, then every profile that has data, and which have none.

    Raises:
        ValueError: data that are there are damaged.
    """
    section, page = SECTIONS[name], reports / name / "README.md"
    here = dict(folders(reports, name, section.profiles))
    parts = []
    if page.exists():
        parts.append(page_html(page, ANCHORS, level=2))
    else:
        parts.append(f"<h2>{escape(section.title)}</h2>\n")
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    parts += [_profile(name, section, profile, folder, text) for profile, folder in here.items()]
    absent = [profile for profile in section.profiles if profile not in here]
    if absent:
        which = "profiles" if len(absent) > 1 else "profile"
        parts.append(f'<p class="missing">Not run yet: {which} {", ".join(absent)}.</p>\n')
    return f'<section id="{name}">\n{"".join(parts)}</section>\n'


def _profile(name: str, section: Section, profile: str, folder: Path, text: str) -> str:
    parts = [f'<h3 id="{name}-{profile}">Profile {profile}</h3>\n', origin_html(folder)]
    if section.charts is not None:
        group = section.charts(folder)
        series = [one for chart in group["charts"] for one in chart["series"]]
        fewest = min((len(one["seeds"]) for one in series), default=0)
        note = section.caption.format(band=interval_note(fewest))
        note = f"{note} {_ZOOM}" if series else note
        parts += [f'<p class="note">{note}</p>\n', group_html(f"{name}-{profile}-data", group)]
    place = "" if profile == section.profiles[0] else f"{profile}/"
    for image in section.images:
        # The report's text shows an image where it speaks of it.
        if not re.search(rf"!\[[^]]*\]\({re.escape(f'{place}{image}.png')}\)", text):
            parts.append(image_html(folder / f"{image}.png", f"{name}, profile {profile}: {image}"))
    parts += [table(folder) for table in section.tables]
    return "".join(parts)
