"""Commands about reports: `figure`, `report` and `list`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from maac_bench.cli.train import DEFAULT_TASK
from maac_bench.config import leaves, to_dict
from maac_bench.estimators import ESTIMATORS
from maac_bench.names import lookup
from maac_bench.presets import ALGORITHMS, preset
from maac_bench.tasks import TASKS
from reports.figures import draw
from reports.files import ROOT, require_writable
from reports.page.build import write_page
from reports.provenance import made_by
from reports.registry import REPORTS, folder
from reports.units import RUNS


@dataclass(frozen=True)
class Figure:
    """Run a report's experiment, write its tables and draw it."""

    name: tyro.conf.Positional[str]
    """which report; `maac-bench list` names them"""
    profile: str | None = None
    """size of the experiment; default: the first that `maac-bench list` names"""
    redraw: bool = False
    """only draw, from the data that are there"""
    collect: bool = False
    """publish training runs as far as they are, without training further"""
    out: Path | None = None
    """folder for tables and images; default: beside the report's code"""
    runs: Path = RUNS
    """folder for finished units, reused by the next call"""

    def execute(self) -> None:
        """Run, publish, draw."""
        report = lookup("figure", self.name, REPORTS)
        profile = report.profiles[0] if self.profile is None else self.profile
        if profile not in report.profiles:
            raise ValueError(
                f"unknown profile {profile!r} of {self.name}; "
                f"choose from {', '.join(report.profiles)}"
            )
        target = folder(self.name, profile) if self.out is None else self.out
        make_data = report.collect if self.collect else report.make_data
        if make_data is None:
            raise ValueError(f"{self.name} has no unfinished runs to collect: leave out --collect")
        if self.redraw and self.collect:
            raise ValueError("--redraw draws what is there, --collect publishes first: choose one")
        if self.redraw and self.runs != RUNS:
            raise ValueError("--redraw draws from the tables alone: leave out --runs")
        self._require_own(target, profile)
        if not self.redraw:
            require_writable(target)  # before the work, not after it
            changed = make_data(profile, target, self.runs)
            print(f"data in {target}: {'written' if changed else 'reproduced, unchanged'}")
        print(f"drawn: {', '.join(str(image) for image in draw(self.name, target))}")

    def _require_own(self, target: Path, profile: str) -> None:
        """ValueError where a folder holds another report, or another profile than is asked for."""
        held = made_by(target)
        if held is None:
            return
        if held[0] != self.name:
            raise ValueError(
                f"{target} holds the report {held[0]}, not {self.name}: choose another --out"
            )
        asked = not self.redraw or self.profile is not None
        if asked and held[1] != profile:
            raise ValueError(
                f"{target} holds the profile {held[1]}, not {profile}: choose another --out, or "
                f"--profile {held[1]}"
            )


@dataclass(frozen=True)
class Report:
    """All reports on one page that needs no network, from the committed data."""

    reports: Path = ROOT / "reports"
    """folder of the reports"""
    out: Path | None = None
    """HTML file; default: index.html in that folder"""

    def execute(self) -> None:
        """Write the page."""
        out = self.out or self.reports / "index.html"
        if out.is_dir():
            raise ValueError(f"{out} is a folder: name an HTML file")
        if self.reports.is_dir():
            require_writable(out.parent)  # before the work, not after it
        print(f"{out}: {write_page(self.reports, out) / 1e6:.1f} MB")


@dataclass(frozen=True)
class List:
    """List tasks, algorithms (as on HalfCheetah, at the paper's size), estimators and figures."""

    def execute(self) -> None:
        """Print the names."""
        figures = [f"{name} ({', '.join(r.profiles)})" for name, r in REPORTS.items()]
        rows = {
            "tasks": list(TASKS),
            "algorithms": [f"{name:33s}{_described(name)}" for name in ALGORITHMS],
            "estimators": list(ESTIMATORS),
            "figures": figures,
        }
        for kind, names in rows.items():
            print("\n  ".join([f"{kind}:", *names]))


def _described(algorithm: str) -> str:
    """What an algorithm is in short, and a variant by what it does otherwise."""
    config, base = preset(algorithm, DEFAULT_TASK), algorithm.partition("-")[0]
    if algorithm != base:
        usual, own = leaves(to_dict(preset(base, DEFAULT_TASK))), leaves(to_dict(config))
        other = [f"{name} {value}" for name, value in own.items() if value != usual[name]]
        return f"{base} with {', '.join(other)}"
    return (
        f"H = {config.actor.horizon}, {config.critic.target} targets, "
        f"{config.data.updates_per_step} updates per step, "
        f"{config.data.model_share:.0%} of a batch imagined"
    )
