"""The sizes of the ablations, and which they are."""

from __future__ import annotations

from reports.curve_report import CurveReport, Profile

ALGORITHMS = ("maac", "maac-h0", "maac-no-steve", "maac-single-sample")

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

REPORT = CurveReport("ablations", PROFILES, measures=("final", "area"), against="maac")
