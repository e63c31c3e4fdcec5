"""The reports by name. A new one is one folder, one row of `REPORTS` and one of `figures`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from reports.ablations import settings as ablations_settings
from reports.curve_report import CurveReport
from reports.displacement import report as displacement_report
from reports.estimators import experiment as estimators_experiment
from reports.estimators import report as estimators_report
from reports.figure2 import settings as figure2_settings
from reports.figure3 import report as figure3_report
from reports.figure3 import settings as figure3_settings
from reports.files import ROOT
from reports.gradient_error import report as gradient_error_report
from reports.landscape import report as landscape_report
from reports.landscape.experiment import PROFILES as LANDSCAPES
from reports.parity import report as parity_report
from reports.parity import settings as parity_settings
from reports.table1 import report as table1_report


class Report(NamedTuple):
    """make_data(profile, folder, runs) publishes tables, from which `figures` draws.

    profiles: sizes of the experiment; the first is the default.

    collect(profile, folder, runs) publishes unfinished training runs as far as they are; None for
    reports that train no agent.
    """

    make_data: Callable[[str, Path, Path], bool]
    profiles: Sequence[str]
    collect: Callable[[str, Path, Path], bool] | None = None


def _of_curves(report: CurveReport) -> Report:
    def make_data(profile: str, place: Path, runs: Path) -> bool:
        return report.make_data(profile, place, runs, _folders_of_curves())

    def collect(profile: str, place: Path, runs: Path) -> bool:
        return report.collect(profile, place, runs, _folders_of_curves())

    return Report(make_data, tuple(report.profiles), collect)


def _folders_of_curves() -> list[Path]:
    reports = (figure2_settings.REPORT, ablations_settings.REPORT)
    return [folder(report.name, profile) for report in reports for profile in report.profiles]


REPORTS = {
    "figure3": Report(figure3_report.make_data, tuple(figure3_settings.PROFILES)),
    "estimators": Report(estimators_report.make_data, tuple(estimators_experiment.PROFILES)),
    "figure2": _of_curves(figure2_settings.REPORT),
    "ablations": _of_curves(ablations_settings.REPORT),
    "table1": Report(table1_report.make_data, tuple(table1_report.PROFILES), table1_report.collect),
    "gradient_error": Report(
        gradient_error_report.make_data,
        tuple(gradient_error_report.PROFILES),
        gradient_error_report.collect,
    ),
    "displacement": Report(
        displacement_report.make_data,
        tuple(displacement_report.PROFILES),
        displacement_report.collect,
    ),
    "landscape": Report(landscape_report.make_data, tuple(LANDSCAPES), landscape_report.collect),
    "parity": Report(parity_report.make_data, tuple(parity_settings.PROFILES)),
}


def folder(name: str, profile: str) -> Path:
    """Where a report's committed data are: its first profile's beside the code, others below."""
    base = ROOT / "reports" / name
    return base if profile == REPORTS[name].profiles[0] else base / profile
