"""What Table 1 measures: a unit's numbers depend on this file, see `reports.units`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from maac_bench.planning import PlannerSettings
from maac_bench.run_evaluation import evaluate_run, open_run, require_finite_returns


def evaluated(
    path: Path, rollouts: int, episodes: int, planner: PlannerSettings | None
) -> pd.DataFrame:
    """Test episodes of a run's policies after that many rollouts; see `evaluate_run`.

    Raises:
        FloatingPointError: a return is not finite.
    """
    table = evaluate_run(open_run(path, rollouts), episodes, planner)
    require_finite_returns(table)
    return table
