"""Reports of learning curves from end to end: train what is missing, write the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from maac_bench.names import lookup
from reports import provenance
from reports.curve_tables import score_table, summary_table
from reports.gathering import gather
from reports.published_runs import joined
from reports.training_profiles import Profile, directory
from reports.training_runs import from_runs, run_all, unfinished, with_commits


@dataclass(frozen=True)
class CurveReport:
    """A report of learning curves.

    name: its folder's. profiles: its sizes; the first algorithm of each is compared with the
    others. measures: the rows of its summary (see `score_table`). milestones: episodes whose return
    is another row.
    """

    name: str
    profiles: Mapping[str, Profile]
    measures: Sequence[str]
    milestones: Sequence[int] = ()

    def __post_init__(self) -> None:
        """Refuse a repetition of something else."""
        for name, profile in self.profiles.items():
            if profile.repeats is not None:
                _require_repetition(
                    name, profile, lookup("profile", profile.repeats, self.profiles)
                )

    def make_data(
        self, profile: str, folder: Path, runs: Path, beside: Sequence[Path] = ()
    ) -> bool:
        """Train what is missing, then `collect`."""
        for part in self._parts(profile).values():
            run_all(part.runs(), directory(part, runs))
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
        parts = self._parts(profile)
        size = parts[profile]
        gathered = {
            name: gather(name, part, runs, (folder, *beside)) for name, part in parts.items()
        }
        if not gathered[profile].at_hand:
            raise ValueError(
                f"{directory(size, runs)} holds no run that is further than what is published"
            )
        plan = size.runs()
        data = joined(plan, *(part.found.data for part in gathered.values()))
        made = {
            name if of == profile else f"{of}: {name}": run
            for of, part in gathered.items()
            for name, run in with_commits(part.plan, part.found.commits).items()
        }
        missing = [line for part in gathered.values() for line in unfinished(part.plan, data)]
        origin = provenance.record(
            f"maac-bench figure {self.name} --profile {profile}", _configuration(profile, parts)
        )
        origin = from_runs(origin, made, missing)
        tables = {"data.csv": data, "summary.csv": self.summary(profile, data)}
        timings = joined(plan, *(part.found.timings for part in gathered.values()))
        changed = provenance.publish(tables, folder, origin, {"timings.csv": lambda: timings})
        for name, commit in gathered[profile].kept.items():
            print(f"kept as published, further than at hand: {name}, from commit {commit[:10]}")
        for line in missing:
            print(f"unfinished: {line}")
        return changed

    def summary(self, profile: str, data: pd.DataFrame) -> pd.DataFrame:
        """Scores of published curves; see `curve_tables.summary_table`.

        Args:
            profile: which size.
            data: data.csv of it.

        Raises:
            ValueError: an unknown profile.
        """
        size = lookup("profile", profile, self.profiles)
        milestones = [k for k in self.milestones if k <= max(size.tasks.values())]
        measures = [*self.measures, *(f"return_at_{k}" for k in milestones)]
        scores = score_table(data, size.tasks, milestones)
        summary = summary_table(data, scores, measures, size.algorithms[0])
        summary.insert(0, "profile", profile)
        return summary

    def _parts(self, profile: str) -> dict[str, Profile]:
        """The profile, and before it the one that it repeats, as far as it does."""
        size = lookup("profile", profile, self.profiles)
        if size.repeats is None:
            return {profile: size}
        before = replace(self.profiles[size.repeats], tasks=size.tasks, algorithms=size.algorithms)
        return {size.repeats: before, profile: size}


def _require_repetition(name: str, again: Profile, first: Profile) -> None:
    trained = [(profile.size, profile.compiled, profile.device) for profile in (again, first)]
    shared = set(again.seeds) & set(first.seeds)
    if trained[0] != trained[1] or shared or first.repeats is not None:
        raise ValueError(f"profile {name} is not {again.repeats} with other seeds")


def _configuration(profile: str, parts: Mapping[str, Profile]) -> dict[str, Any]:
    size = parts[profile]
    return {
        "profile": profile,
        "label": size.label,
        "tasks": dict(size.tasks),
        "algorithms": list(size.algorithms),
        "size": size.size,
        "seeds": sorted(seed for part in parts.values() for seed in part.seeds),
        "compiled": size.compiled,
    }
