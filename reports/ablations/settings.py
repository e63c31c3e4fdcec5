"""Which algorithms the ablations compare, and how."""

from __future__ import annotations

from dataclasses import replace

from reports.curve_report import CurveReport
from reports.training_profiles import profiles

PROFILES = profiles(("maac", "maac-h0", "maac-no-steve", "maac-single-sample"))
# Whether the critics need the normalisation that the paper does not have.
PROFILES["normalisation"] = replace(
    PROFILES["mujoco"],
    tasks={"maac_bench/HalfCheetah-v0": 15},
    algorithms=("maac", "maac-plain-critic"),
    label="reduced: small nets, one task, the first 15 episodes, 2 seeds",
)
REPORT = CurveReport("ablations", PROFILES, measures=("final", "area"), against="maac")
