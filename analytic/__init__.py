"""The oracle: exact values and policy gradients of linear-quadratic-Gaussian problems.

float64, NumPy and SciPy only; imports nothing from maac_bench.
"""

from analytic import bounds
from analytic.constants import Constants, lipschitz_constants
from analytic.exact import Evaluation, evaluate, optimal_gain, policy_gradient
from analytic.lqg import LQG, LinearModel, UnstablePolicyError, double_integrator, random_lqg
from analytic.objective import (
    GradientError,
    QuadraticCritic,
    gradient_error,
    maac_gradient,
    maac_objective,
)
from analytic.variance import Moments, pathwise_moments, score_function_moments

__all__ = [
    "LQG",
    "Constants",
    "Evaluation",
    "GradientError",
    "LinearModel",
    "Moments",
    "QuadraticCritic",
    "UnstablePolicyError",
    "bounds",
    "double_integrator",
    "evaluate",
    "gradient_error",
    "lipschitz_constants",
    "maac_gradient",
    "maac_objective",
    "optimal_gain",
    "pathwise_moments",
    "policy_gradient",
    "random_lqg",
    "score_function_moments",
]
