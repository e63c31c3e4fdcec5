"""What the documents point to is there."""

import re
from pathlib import Path
from typing import Any

import pytest

from maac_bench.checkpoint import capture
from maac_bench.config import to_dict
from maac_bench.run import RunDirectory
from tests.maac_bench.trainers import tiny_config, tiny_trainer, tiny_training

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "reports").glob("*/*.md")]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(path):
    links = re.findall(r"\]\(([^)\s]+)\)", path.read_text())
    inside = [link.partition("#")[0] for link in links if not link.startswith(("http", "#"))]
    missing = [link for link in inside if not (path.parent / link).exists()]
    assert not missing


def test_there_are_documents_with_links():
    assert len(DOCUMENTS) > 10
    assert any("](docs/errata.md)" in path.read_text() for path in DOCUMENTS)


def test_the_readmes_python_runs(tmp_path, monkeypatch):
    """Every block, one after another, on a small run in the place of the one it names."""
    cheetah, config = "maac_bench/HalfCheetah-v0", tiny_config()
    trainer = tiny_trainer((0, 1), config, tiny_training(cheetah))
    for _ in range(2):
        trainer.rollout()
    identity = {"task": cheetah, "algorithm": "maac", "seeds": [0, 1], "config": to_dict(config)}
    run = RunDirectory(tmp_path / "runs" / "cheetah", identity, {})
    run.save(capture(trainer))
    run.close()
    trainer.close()
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        names: dict[str, Any] = {}
        exec(block, names)
        if "gradient" in names:
            shapes = [part.shape for part in names["gradient"]]
            assert shapes == [p.shape for p in names["run"].agent.policy.parameters]
            assert all(part.any() for part in names["gradient"])
