"""What every preset is, on record."""

import json
from pathlib import Path

from maac_bench.config import Config, leaves, to_dict
from maac_bench.presets import preset
from maac_bench.tasks import TASKS

SIZES = ["paper", "small", "tiny"]
BASES = (
    "sac",
    "mbpo",
    "steve",
    "maac",
    "maac-authors",
    "maac-plus",
    "maac-scaled-critic",
    "maac-bfloat16",
    "maac-scaled-critic-tf32",
)
CHEETAH = "maac_bench/HalfCheetah-v0"


def on_record() -> dict[str, dict[str, object]]:
    """What each preset has instead of the defaults, and what a task changes in it."""

    def settings(name: str, task: str, size: str) -> dict[str, object]:
        return leaves(json.loads(json.dumps(to_dict(preset(name, task, size)))))

    def beside(found: dict[str, object], known: dict[str, object]) -> dict[str, object]:
        return {field: value for field, value in found.items() if known[field] != value}

    defaults = leaves(json.loads(json.dumps(to_dict(Config()))))
    record = {
        f"{name}, {size}": beside(settings(name, CHEETAH, size), defaults)
        for name in BASES
        for size in SIZES
    }
    for name in ("mbpo", "maac"):
        for task in TASKS:
            usual, own = settings(name, CHEETAH, "paper"), settings(name, task, "paper")
            record[f"{name} on {task}"] = beside(own, usual)
    return record


def test_presets_are_what_is_on_record():
    """Runs and figures name presets: a change of one must be meant, and goes into presets.json too.

    Where the numbers come from: presets.py.
    """
    known = json.loads((Path(__file__).parent / "presets.json").read_text())
    found = on_record()
    assert found.keys() == known.keys()
    for name, settings in found.items():
        assert settings == known[name], name
