"""What a run is measured for at several ages: collected from its checkpoints and published."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from reports import provenance
from reports.training_profiles import Profile, directory
from reports.training_runs import commits, held_ages, require_run
from reports.units import Experiment, run


def collect_measured(
    profile: str,
    training: Profile,
    ages: Sequence[int],
    experiment: Callable[[Path], Experiment],
    settings: Mapping[str, Any],
    folder: Path,
    runs: Path,
) -> bool:
    """Measure a profile's first run at the ages whose checkpoints are there.

    Args:
        profile: its name.
        training: whose run it is.
        ages: after how many episodes.
        experiment: a unit per measurement of the run in a directory; tables with a column rollout.
        settings: what the record says of the measurement.
        folder: the report's.
        runs: where experiments are kept.

    Returns:
        Whether the tables changed.

    Raises:
        ValueError: no checkpoint of any of the ages, or those of another run; or there is none of
            an age that is published.
    """
    trained, home = training.runs()[0], directory(training, runs)
    path = home / trained.name
    if path.exists():
        require_run(trained, home)
    planned = experiment(path)
    _require_published(folder, held_ages(path, ages))
    data = run(planned, runs)
    data.insert(0, "profile", profile)
    held = sorted(data["rollout"].unique().tolist())
    missing = [f"age {age}: no checkpoint" for age in ages if age not in held]
    for line in missing:
        print(f"unfinished: {line}")
    configuration: dict[str, Any] = {
        "profile": profile,
        "label": training.label,
        "task": trained.task,
        "seeds": trained.seeds,
        "ages": held,
        **settings,
    }
    command = f"maac-bench figure {planned.name} --profile {profile}"
    origin = provenance.record(command, configuration)
    origin |= {"runs": commits([trained], home), "unfinished": missing}
    return provenance.publish({"data.csv": data}, folder, origin)


def _require_published(folder: Path, held: Sequence[int]) -> None:
    """ValueError where a report has ages that are not measured again, and would be lost."""
    if not (folder / "provenance.json").exists():
        return
    known = provenance.load(folder)["configuration"].get("ages", [])
    lost = [str(age) for age in known if age not in held]
    if lost:
        raise ValueError(
            f"{folder} has results at ages of which there is no checkpoint ({', '.join(lost)}): "
            "train on to them, or delete provenance.json there to publish without them"
        )
