"""Which algorithms Figure 2 compares, and how."""

from __future__ import annotations

from dataclasses import replace

from reports.curve_report import CurveReport
from reports.training_profiles import (
    ant,
    longer,
    other_tasks,
    paper_size,
    paper_size_gpu,
    profiles,
    repeated,
)

_ALGORITHMS = ("maac", "mbpo", "steve", "sac")
PROFILES = profiles(_ALGORITHMS)
PROFILES["mujoco-repeated"] = repeated(_ALGORITHMS)
PROFILES["longer"] = longer(_ALGORITHMS)
# All four with the critics' unit with which MAAC learns most there.
PROFILES["longer-critic-unit"] = longer(tuple(f"{name}-scaled-critic" for name in _ALGORITHMS))
PROFILES["other-tasks"] = other_tasks(_ALGORITHMS)
# Whether anything is learned on Ant in all of the paper's episodes.
PROFILES["ant"] = ant(("maac", "sac"))
PROFILES["paper-size"] = paper_size(_ALGORITHMS)
PROFILES["paper-size-repeated"] = replace(
    paper_size(_ALGORITHMS),
    seeds=(1,),
    label="reduced: the paper's nets and updates, one task, 50 of 200 episodes",
    place="paper-seed-1",
    repeats="paper-size",
)
PROFILES["paper-size-gpu"] = paper_size_gpu(_ALGORITHMS)
REPORT = CurveReport(
    "figure2",
    PROFILES,
    measures=("final", "area", "episodes_to_90"),
    milestones=(25, 50, 100, 150, 200),
)
