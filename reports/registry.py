"""The reports by name. A new one is one folder and one row of `REPORTS`."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

from reports.estimators import experiment as estimators_experiment
from reports.estimators import figure as estimators_figure
from reports.estimators import report as estimators_report
from reports.figure3 import figure as figure3_figure
from reports.figure3 import report as figure3_report
from reports.figure3 import settings as figure3_settings
from reports.files import ROOT


class Report(NamedTuple):
    """make_data(profile, folder, runs) publishes tables; draw(folder) draws from them."""

    make_data: Callable[[str, Path, Path], bool]
    draw: Callable[[Path], None]
    profiles: Collection[str]


REPORTS = {
    "figure3": Report(
        figure3_report.make_data, figure3_figure.draw, tuple(figure3_settings.PROFILES)
    ),
    "estimators": Report(
        estimators_report.make_data, estimators_figure.draw, tuple(estimators_experiment.PROFILES)
    ),
}


def folder(name: str, profile: str) -> Path:
    """Where a report's committed data are: the quick profile's beside the code, others below."""
    base = ROOT / "reports" / name
    return base if profile == "quick" else base / profile
