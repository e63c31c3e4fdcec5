"""The sizes of Figure 2, and which algorithms it compares."""

from __future__ import annotations

from reports.curve_report import CurveReport, Profile

ALGORITHMS = ("maac", "mbpo", "steve", "sac")

PROFILES = {
    "quick": Profile(
        tasks={"maac_bench/Pendulum-v0": 10, "maac_bench/CartPole-v0": 25},
        algorithms=ALGORITHMS,
        size="tiny",
        seeds=(0, 1, 2, 3, 4),
        compiled=True,
        label="reduced: tiny nets, small tasks",
    ),
    "mujoco": Profile(
        tasks={"maac_bench/HalfCheetah-v0": 50},
        algorithms=ALGORITHMS,
        size="small",
        seeds=(0, 1),
        compiled=True,
        label="reduced: small nets, one task, 50 of 200 episodes, 2 of 4 seeds",
    ),
    "paper": Profile(
        tasks={
            f"maac_bench/{name}-v0": 200 for name in ("HalfCheetah", "Hopper", "Walker2d", "Ant")
        },
        algorithms=ALGORITHMS,
        size="paper",
        seeds=(0, 1, 2, 3),
        compiled=True,
        label="the paper's tasks and sizes",
    ),
}

REPORT = CurveReport(
    "figure2",
    PROFILES,
    measures=("final", "area", "episodes_to_90"),
    milestones=(25, 50, 100, 150, 200),
)
