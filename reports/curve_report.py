"""Reports of learning curves from end to end: train what is missing, write the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from maac_bench.names import lookup
from reports import provenance
from reports.curve_tables import score_table, summary_table, timing_table
from reports.files import PUBLISHED_DIGITS, write_csv
from reports.training_profiles import Profile, directory
from reports.training_runs import WALL_CLOCK, collect, from_runs, run_all, unfinished


@dataclass(frozen=True)
class CurveReport:
    """A report of learning curves.

    name: its folder's. profiles: its sizes. measures: the rows of its summary (see `score_table`).
    milestones: episodes whose return is another row. against: the algorithm that the others are
    compared with.
    """

    name: str
    profiles: Mapping[str, Profile]
    measures: Sequence[str]
    milestones: Sequence[int] = ()
    against: str | None = None

    def make_data(self, profile: str, folder: Path, runs: Path) -> bool:
        """Train what is missing, then `collect`."""
        size = lookup("profile", profile, self.profiles)
        run_all(size.runs(), directory(size, runs))
        return self.collect(profile, folder, runs)

    def collect(self, profile: str, folder: Path, runs: Path) -> bool:
        """Publish the runs as far as they are into `folder`; True if the tables changed.

        timings.csv holds wall-clock times, which do not repeat: it is written when the data change.

        Args:
            profile: which size.
            folder: the report's.
            runs: where experiments are kept; see `training_profiles.directory`.

        Raises:
            ValueError: an unknown profile, no episode yet, or a directory with another run.
        """
        size = lookup("profile", profile, self.profiles)
        plan, trained = size.runs(), directory(size, runs)
        collected = collect(plan, trained)
        collected.insert(0, "profile", profile)
        data = collected.drop(columns=list(WALL_CLOCK))
        tables = {"data.csv": data, "summary.csv": self._summary(data, size)}
        changed = provenance.publish(tables, folder, self._origin(profile, size, trained))
        if changed or not (folder / "timings.csv").exists():
            write_csv(timing_table(collected), folder / "timings.csv", PUBLISHED_DIGITS)
        for line in unfinished(plan, trained):
            print(f"unfinished: {line}")
        return changed

    def _summary(self, data: pd.DataFrame, size: Profile) -> pd.DataFrame:
        milestones = [k for k in self.milestones if k <= max(size.tasks.values())]
        measures = [*self.measures, *(f"return_at_{k}" for k in milestones)]
        scores = score_table(data, size.tasks, milestones)
        summary = summary_table(data, scores, measures, self.against)
        summary.insert(0, "profile", data["profile"].iloc[0])
        return summary

    def _origin(self, profile: str, size: Profile, folder: Path) -> dict[str, Any]:
        """Provenance: the data's commit is that of the runs, this code only collected them."""
        configuration = {
            "profile": profile,
            "label": size.label,
            "tasks": dict(size.tasks),
            "algorithms": list(size.algorithms),
            "size": size.size,
            "seeds": list(size.seeds),
            "compiled": size.compiled,
        }
        origin = provenance.record(
            f"maac-bench figure {self.name} --profile {profile}", configuration
        )
        return from_runs(origin, size.runs(), folder)
