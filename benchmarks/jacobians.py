"""`make jacobians`: how far the simulator's Jacobian can be trusted in contact -> jacobians/.

Beside it stand central differences of the whole step, which is another route: the Jacobian chains
one of every sub-step.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.command import run
from maac_bench.tasks import make_env
from maac_bench.tasks.mujoco_dynamics import Array, Simulator, mujoco_dynamics
from maac_bench.tasks.mujoco_paper import PAPER_TASKS
from reports import provenance

FOLDER = Path(__file__).parent / "jacobians"
LIMITS = (1e-4, 1e-2)
"""Relative errors that a state counts as off beyond."""
_EPISODES, _STEPS, _EVERY = 5, 500, 5


def whole_step_differences(
    simulator: Simulator, state: Array, action: Array, epsilon: float = 1e-6
) -> Array:
    """Jacobian [n, n + m] of a whole step, in the coordinates of the observation."""
    columns = []
    for direction in epsilon * np.eye(len(state) + len(action)):
        ds, da = direction[: len(state)], direction[len(state) :]
        high, low = simulator.step(state + ds, action + da), simulator.step(state - ds, action - da)
        columns.append((high - low) / (2.0 * epsilon))
    return np.array(columns).T


def relative_error(simulator: Simulator, state: Array, action: Array) -> float:
    """Of the chained Jacobian, in the Frobenius norm."""
    expected = whole_step_differences(simulator, state, action)
    difference = np.hstack(simulator.jacobian(state, action)) - expected
    return float(np.linalg.norm(difference) / np.linalg.norm(expected))


def touching_states(name: str, seed: int, steps: int) -> list[tuple[Array, Array]]:
    """States with contacts, and the actions there, of an episode of random actions."""
    env, rng = make_env(name), np.random.default_rng(seed)
    state, rows = env.reset(seed=seed)[0], []
    for _ in range(steps):
        action = rng.uniform(-1.0, 1.0, env.action_space.shape or ())
        if env.unwrapped.data.ncon:  # type: ignore[attr-defined]
            rows.append((state, action))
        state = env.step(action)[0]
    env.close()
    return rows


def jacobian_errors(name: str) -> dict[str, object]:
    """One task's row: states, the median relative error, and the shares beyond the limits."""
    simulator = mujoco_dynamics(name).simulator
    states = [
        row for seed in range(_EPISODES) for row in touching_states(name, seed, _STEPS)[::_EVERY]
    ]
    errors = np.array([relative_error(simulator, state, action) for state, action in states])
    shares = {f"share_above_{limit:g}": float(np.mean(errors > limit)) for limit in LIMITS}
    return {"task": name, "states": len(states), "median": float(np.median(errors)), **shares}


def measure_all() -> None:
    """Measure every task of the paper's family, write and print the table."""
    episodes = {"seeds": list(range(_EPISODES)), "steps": _STEPS, "every": _EVERY}
    origin = provenance.record("make jacobians", episodes)
    table = pd.DataFrame([jacobian_errors(f"maac_bench/{name}-v0") for name in PAPER_TASKS])
    provenance.publish({"results.csv": table}, FOLDER, origin)
    print(f"{table.to_string(index=False)}\nwritten: {FOLDER / 'results.csv'}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write; the exit status."""
    return run(
        "jacobians",
        "How far the simulator's Jacobian can be trusted in contact.",
        measure_all,
        arguments,
    )


if __name__ == "__main__":
    sys.exit(main())
