"""Tasks by name. A new task is one file and one row of `TASKS`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from analytic import double_integrator, random_lqg
from maac_bench.names import lookup
from maac_bench.tasks.base import Task
from maac_bench.tasks.linear_quadratic import LinearGaussianDynamics, linear_quadratic_task

__all__ = ["TASKS", "LinearGaussianDynamics", "Task", "linear_quadratic_task", "make_task"]

# The random problems are part of their tasks' names: other matrices, other name.
TASKS: dict[str, Callable[[], Task]] = {
    "maac_bench/DoubleIntegrator-v0": lambda: linear_quadratic_task(
        "maac_bench/DoubleIntegrator-v0", double_integrator()
    ),
    "maac_bench/RandomLQG6-v0": lambda: linear_quadratic_task(
        "maac_bench/RandomLQG6-v0", random_lqg(6, 2, np.random.default_rng(6))
    ),
    "maac_bench/RandomLQG20-v0": lambda: linear_quadratic_task(
        "maac_bench/RandomLQG20-v0", random_lqg(20, 4, np.random.default_rng(20))
    ),
}


def make_task(name: str) -> Task:
    """The task of that name; ValueError naming the known ones otherwise."""
    return lookup("task", name, TASKS)()
