"""What there is of a profile's runs: those at hand, and those published that are further."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reports.curve_tables import timing_table
from reports.files import as_published
from reports.published_runs import Published, furthest, joined, read_published
from reports.training_profiles import Profile, directory
from reports.training_runs import WALL_CLOCK, TrainingRun, collect, commits, episodes


@dataclass(frozen=True)
class Gathered:
    """What there is of the runs of a plan; of those kept as published, the commits.

    at_hand: whether there is a run of at least an episode that is as far as what is published.
    """

    plan: tuple[TrainingRun, ...]
    found: Published
    kept: dict[str, str]
    at_hand: bool


def gather(profile: str, size: Profile, runs: Path, places: Sequence[Path]) -> Gathered:
    """The runs of a profile as far as they are, each from where it is furthest.

    Args:
        profile: name in the tables.
        size: which runs.
        runs: where experiments are kept; see `training_profiles.directory`.
        places: folders of reports that may have published some of them, the first first.

    Raises:
        ValueError: no episode yet, a directory with another run, damaged publications.
    """
    plan, trained = size.runs(), directory(size, runs)
    # Finished runs need nothing of what is published, so a damaged publication is mended.
    held = {run: episodes(run, trained) for run in plan}
    behind = [run for run in plan if min(held[run].values()) < run.rollouts]
    known = [read_published(behind, place) for place in places]
    kept = furthest(known, behind, {run.name: sum(held[run].values()) for run in behind})
    here = [run for run in plan if run.name not in kept.commits]
    data, timings = kept.data.assign(profile=profile), kept.timings.assign(profile=profile)
    at_hand = any(sum(held[run].values()) for run in here)
    if at_hand or not kept.commits:
        collected = collect(here, trained)
        collected.insert(0, "profile", profile)
        data = joined(plan, as_published(collected.drop(columns=list(WALL_CLOCK))), data)
        timings = joined(plan, timing_table(collected), timings)
    trained_by = {**commits(here, trained), **kept.commits}
    return Gathered(plan, Published(data, timings, trained_by), dict(kept.commits), at_hand)
