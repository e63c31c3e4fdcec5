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
from reports.files import PUBLISHED_DIGITS, as_published, write_csv
from reports.published_runs import furthest, joined, read_published
from reports.training_profiles import Profile, directory
from reports.training_runs import (
    WALL_CLOCK,
    collect,
    commits,
    episodes,
    from_runs,
    run_all,
    unfinished,
)


@dataclass(frozen=True)
class CurveReport:
    """A report of learning curves.

    name: its folder's. profiles: its sizes. measures: the rows of its summary (see `score_table`).
    milestones: episodes whose return is another row. compares: whether the others are compared
    with the first algorithm of a profile.
    """

    name: str
    profiles: Mapping[str, Profile]
    measures: Sequence[str]
    milestones: Sequence[int] = ()
    compares: bool = False

    def make_data(
        self, profile: str, folder: Path, runs: Path, beside: Sequence[Path] = ()
    ) -> bool:
        """Train what is missing, then `collect`."""
        size = lookup("profile", profile, self.profiles)
        run_all(size.runs(), directory(size, runs))
        return self.collect(profile, folder, runs, beside)

    def collect(self, profile: str, folder: Path, runs: Path, beside: Sequence[Path] = ()) -> bool:
        """Publish the runs as far as they are into `folder`; True if the tables changed.

        What is published of a run, here or in another report, is kept with the commit it is from
        while the run at hand has not more episodes, all its seeds together: runs can be made on
        several machines, one after another.

        timings.csv holds wall-clock times, which do not repeat: it is written when the data change.

        Args:
            profile: which size.
            folder: the report's.
            runs: where experiments are kept; see `training_profiles.directory`.
            beside: folders of other reports of learning curves.

        Raises:
            ValueError: an unknown profile, no episode yet or none that is new, or a directory with
                another run.
        """
        size = lookup("profile", profile, self.profiles)
        plan, trained = size.runs(), directory(size, runs)
        # Finished runs need nothing of what is published, so a damaged publication is mended.
        held = {run: episodes(run, trained) for run in plan}
        behind = [run for run in plan if min(held[run].values()) < run.rollouts]
        known = [read_published(behind, place) for place in (folder, *beside)]
        kept = furthest(known, behind, {run.name: sum(held[run].values()) for run in behind})
        here = [run for run in plan if run.name not in kept.commits]
        if not here:
            raise ValueError(f"{trained} holds no run that is further than what is published")
        collected = collect(here, trained)
        collected.insert(0, "profile", profile)
        new = as_published(collected.drop(columns=list(WALL_CLOCK)))
        data = joined(plan, new, kept.data.assign(profile=profile))
        missing = unfinished(plan, data)
        origin = provenance.record(
            f"maac-bench figure {self.name} --profile {profile}", _configuration(profile, size)
        )
        origin = from_runs(origin, plan, {**commits(here, trained), **kept.commits}, missing)
        tables = {"data.csv": data, "summary.csv": self._summary(data, size)}
        changed = provenance.publish(tables, folder, origin, outdated=("timings.csv",))
        if not (folder / "timings.csv").exists():
            timings = joined(plan, timing_table(collected), kept.timings.assign(profile=profile))
            write_csv(timings, folder / "timings.csv", PUBLISHED_DIGITS)
        for name, commit in kept.commits.items():
            print(f"kept as published, further than at hand: {name}, from commit {commit[:10]}")
        for line in missing:
            print(f"unfinished: {line}")
        return changed

    def _summary(self, data: pd.DataFrame, size: Profile) -> pd.DataFrame:
        milestones = [k for k in self.milestones if k <= max(size.tasks.values())]
        measures = [*self.measures, *(f"return_at_{k}" for k in milestones)]
        scores = score_table(data, size.tasks, milestones)
        against = size.algorithms[0] if self.compares else None
        summary = summary_table(data, scores, measures, against)
        summary.insert(0, "profile", data["profile"].iloc[0])
        return summary


def _configuration(profile: str, size: Profile) -> dict[str, Any]:
    return {
        "profile": profile,
        "label": size.label,
        "tasks": dict(size.tasks),
        "algorithms": list(size.algorithms),
        "size": size.size,
        "seeds": list(size.seeds),
        "compiled": size.compiled,
    }
