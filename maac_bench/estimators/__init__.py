"""Policy-gradient estimators by name. A new one is one file and one row of `ESTIMATORS`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from maac_bench.estimators.base import Estimator, EstimatorNoise, Settings, require_role
from maac_bench.estimators.combined import InverseVariance
from maac_bench.estimators.pathwise import (
    BackpropagationThroughTime,
    ModelAugmented,
    deterministic_policy_gradient,
)
from maac_bench.estimators.score_function import ScoreFunction
from maac_bench.estimators.zeroth_order import ZerothOrder
from maac_bench.names import make

__all__ = ["ESTIMATORS", "Estimator", "EstimatorNoise", "Settings", "make_estimator"]

ESTIMATORS: dict[str, Callable[[Settings], Estimator]] = {
    "pathwise": ModelAugmented,
    "dpg": deterministic_policy_gradient,
    "bptt": BackpropagationThroughTime,
    "score": ScoreFunction,
    "score-baseline": partial(ScoreFunction, baseline=True),
    "score-critic": partial(ScoreFunction, bootstrap=True, baseline=True),
    "zeroth-order": ZerothOrder,
    "inverse-variance": InverseVariance,
}


def make_estimator(name: str, settings: Settings) -> Estimator:
    """The estimator of that name, also the user's own; ValueError naming the known ones if none."""
    if not isinstance(settings, Settings):
        raise ValueError(f"settings must be Settings, got {type(settings).__name__}")
    estimator = make("estimator", name, ESTIMATORS, Estimator, settings)
    require_role(estimator)
    if not isinstance(estimator.settings, Settings):
        raise ValueError(
            f"the settings of estimator {name!r} are no Settings but "
            f"{type(estimator.settings).__name__}"
        )
    return estimator
