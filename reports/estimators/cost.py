"""What one gradient estimate costs, in wall-clock time on this machine."""

from __future__ import annotations

import time
from statistics import median

import pandas as pd
import torch

from maac_bench.estimators import ESTIMATORS
from maac_bench.scoring import linear_problem
from maac_bench.streams import Streams
from maac_bench.tasks import make_task, require_true
from reports.estimators.experiment import FULL_HORIZON, PROFILES, prepare

SAMPLES = 256
_REPEATS = 9


def cost_table() -> pd.DataFrame:
    """Median milliseconds per gradient of 256 samples, one thread: columns task, estimator, ms."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = [
            {"task": task, "estimator": name, "ms": 1e3 * seconds_per_gradient(task, name)}
            for task in FULL_HORIZON
            for name in ESTIMATORS
        ]
    finally:
        torch.set_num_threads(threads)
    return pd.DataFrame(rows)


def seconds_per_gradient(task_name: str, name: str) -> float:
    """Median time of one estimate, noise drawn beforehand."""
    task, setup = make_task(task_name), prepare(task_name, name, PROFILES["quick"].horizon)
    problem, policy = linear_problem(task, setup.gain, setup.critic, stack=1)
    estimator = setup.estimator
    start = require_true(task).start(Streams([0], "cost-start"), SAMPLES)
    noise = estimator.draw(Streams([0], "cost-noise"), problem, policy, start)
    times = []
    for _ in range(_REPEATS):
        begin = time.perf_counter()
        estimator.gradient(problem, policy, start, noise)
        times.append(time.perf_counter() - begin)
    return median(times)
