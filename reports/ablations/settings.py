"""Which algorithms the ablations compare, and how."""

from __future__ import annotations

from reports.curve_report import CurveReport
from reports.training_profiles import profiles

PROFILES = profiles(("maac", "maac-h0", "maac-no-steve", "maac-single-sample"))
REPORT = CurveReport("ablations", PROFILES, measures=("final", "area"), against="maac")
