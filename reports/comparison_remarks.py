"""What a reader of a comparison must know of the runs in it, a line each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias, get_args

import numpy as np
import pandas as pd

from maac_bench.config import from_dict, leaves, to_dict
from maac_bench.presets import ALGORITHMS, preset
from maac_bench.run_records import continuations
from maac_bench.sizes import Size

Seed: TypeAlias = tuple[str, str, int]
"""Task, algorithm, seed."""
_MOST_NAMED = 3


def mixtures(identities: Mapping[Path, Mapping[str, Any]], names: Mapping[Path, str]) -> list[str]:
    """A line per algorithm and task whose runs, shown as one, are not of the same program.

    Args:
        identities: of every run.
        names: what each is called.
    """
    alike: dict[tuple[str, str], list[Path]] = {}
    for path, identity in identities.items():
        alike.setdefault((names[path], str(identity["task"])), []).append(path)
    lines = []
    for (name, task), paths in alike.items():
        origins = [_origin(path, identities[path]) for path in paths]
        other = [key for key in origins[0] if len({origin[key] for origin in origins}) > 1]
        if other:
            lines.append(f"{name} on {task}: its {len(paths)} runs differ in {', '.join(other)}")
    return lines


def _origin(path: Path, identity: Mapping[str, Any]) -> dict[str, str]:
    """What the numbers of a run depend on besides its configuration."""
    known: list[Mapping[str, Any]] = []
    if (path / "provenance.json").exists():
        first, later = continuations(path)
        known = [first, *later]
    return {
        "commit": str([record.get("commit") for record in known]),
        "modules": str([record.get("modules") for record in known]),
        "device": str(identity.get("device")),
        "compiled": str(identity.get("compiled")),
    }


def deviations(
    identities: Mapping[Path, Mapping[str, Any]], names: Mapping[Path, str]
) -> list[str]:
    """A line per algorithm that is not its preset, where on another task it is, or another one.

    Args:
        identities: of every run.
        names: what each is called.
    """
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for path, identity in identities.items():
        if identity["algorithm"] in ALGORITHMS:
            of = found.setdefault(names[path], {})
            of.setdefault(str(identity["task"]), tuple(_beside_preset(identity)))
    return [
        f"{name} is not the same on every task: "
        + "; ".join(f"{task}: {_shortened(of[task])}" for task in of)
        for name, of in found.items()
        if len(set(of.values())) > 1
    ]


def _beside_preset(identity: Mapping[str, Any]) -> Iterator[str]:
    """The settings that are not those of the algorithm's preset, of the size that is nearest."""
    own = leaves(to_dict(from_dict(identity["config"])))
    presets = [
        leaves(to_dict(preset(identity["algorithm"], identity["task"], size)))
        for size in get_args(Size)
    ]
    nearest = min(presets, key=lambda usual: sum(own[name] != usual[name] for name in own))
    return (f"{name}={value}" for name, value in own.items() if value != nearest[name])


def _shortened(settings: tuple[str, ...]) -> str:
    more = len(settings) - _MOST_NAMED
    named = [*settings[:_MOST_NAMED], *([f"{more} more"] if more > 0 else [])]
    return ", ".join(named) or "as its preset"


def failures(lengths: pd.Series[int], failed: set[Seed], common: Mapping[str, int]) -> list[str]:
    """A line per seed that failed."""
    lines = []
    for task, algo, seed in sorted(failed):
        episodes = lengths.get((task, algo, seed), 0)
        end = "; left out of the scores" if episodes < common.get(task, 0) else ""
        lines.append(
            f"{algo} on {task} seed {seed} failed after {episodes} "
            f"episode{'s' if episodes != 1 else ''}; see its failure.json" + end
        )
    return lines


def unequal_lengths(lengths: pd.Series[int], common: Mapping[str, int]) -> list[str]:
    """A line per task on which some seed has more episodes than are compared."""
    lines = []
    for task, of in lengths.groupby("task", sort=False):
        least = common[str(task)]
        if of.max() > least:
            _, algo, seed = of.index[int(np.argmin(of.to_numpy()))]
            lines.append(
                f"unequal lengths on {task}: {least} to {of.max()} episodes; compared at episode "
                f"{least}, the last of {algo} seed {seed}"
            )
    return lines


def gaps(lengths: pd.Series[int], scores: pd.DataFrame) -> list[str]:
    """A line per seed that has no score because evaluations are missing in between."""
    scored = set(zip(scores["task"], scores["algo"], scores["seed"], strict=True))
    return [
        f"left out: {algo} on {task} seed {seed} lacks evaluations in between"
        for task, algo, seed in lengths.index
        if (task, algo, seed) not in scored
    ]
