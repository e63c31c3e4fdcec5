"""Run directories as far as a comparison reads them."""

import json
from pathlib import Path

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
