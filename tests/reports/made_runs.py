"""Run directories as far as a comparison reads them."""

import json
from pathlib import Path

from maac_bench.__main__ import main

TASK = "maac_bench/Pendulum-v0"


def make_run(folder: Path, algo: str, returns: dict[int, list[float]], task: str = TASK, **config):
    """A run directory as far as a comparison reads it; 200 steps per episode."""
    folder.mkdir(parents=True)
    identity = {"task": task, "algorithm": algo, "seeds": list(returns), "config": config}
    (folder / "config.json").write_text(json.dumps(identity))
    for seed, values in returns.items():
        if values:
            rows = [f"{k},{200 * k},{value}" for k, value in enumerate(values, start=1)]
            path = folder / f"seed-{seed}" / "metrics.csv"
            path.parent.mkdir()
            path.write_text("\n".join(["rollout,env_steps,return", *rows]) + "\n")
    return folder


def make_two(root: Path) -> Path:
    """A folder with a run of maac and a run of sac, two seeds each."""
    make_run(root / "maac", "maac", {0: [1, 2, 3, 4, 5, 6], 1: [3, 4, 5, 6, 7, 8]})
    make_run(root / "sac", "sac", {0: [0, 0, 0, 0, 0, 0, 99], 1: [5, 5, 5, 5, 5, 5]})
    return root


def refusal(capsys, *arguments: object) -> str:
    """The one line with which `compare` refuses these arguments."""
    assert main(["compare", *map(str, arguments)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("maac-bench: ")
    assert error.count("\n") == 1, "one clear line"
    return error
