"""What the documents point to is there."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from maac_bench.__main__ import main
from maac_bench.checkpoint import capture
from maac_bench.config import to_dict
from maac_bench.estimators import ESTIMATORS
from maac_bench.presets import ALGORITHMS, preset
from maac_bench.run import RunDirectory
from maac_bench.tasks import TASKS, make_training_task
from tests.maac_bench.trainers import tiny_config, tiny_trainer, tiny_training

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "reports").glob("*/*.md")]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(path):
    links = re.findall(r"\]\(([^)\s]+)\)", path.read_text())
    inside = [link.partition("#")[0] for link in links if not link.startswith(("http", "#"))]
    missing = [link for link in inside if not (path.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_heading_leads_to_one(path):
    for link in re.findall(r"\]\(([^)\s]*#[^)\s]*)\)", path.read_text()):
        target, _, name = link.partition("#")
        if not target.startswith("http"):
            assert name in headings(path.parent / target if target else path), link


def headings(path):
    """The names that a document's headings have in links, as code hosts make them."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_there_are_documents_with_links():
    assert len(DOCUMENTS) > 10
    assert any("](docs/errata.md)" in path.read_text() for path in DOCUMENTS)


def python_blocks(name):
    """The Python of a document, a string per block."""
    return re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)


@pytest.mark.filterwarnings("ignore:.*A Box observation space")
def test_the_documents_environment_is_one_that_agents_can_learn(tmp_path, monkeypatch):
    """With outcomes learned, and with the functions that the second block adds to the module."""
    blocks = python_blocks("docs/extending.md")
    for name, text in (("my_module", blocks[0]), ("my_known_module", "".join(blocks[:2]))):
        module = text.replace("my_module:", f"{name}:")
        (tmp_path / f"{name}.py").write_text(module.replace("MyEnv-v0", f"MyEnv{len(name)}-v0"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("maac_bench.tasks.TASKS", dict(TASKS))
    for name, learns in (("my_module", True), ("my_known_module", False)):
        training = make_training_task(f"{name}:MyEnv{len(name)}-v0")
        assert training.learns_outcome == learns
        env = training.make()
        check_env(env.unwrapped, skip_render_check=True)
        state, _ = env.reset(seed=1)
        following, reward, *_ = env.step(np.array([0.5], np.float32))
        if not learns:
            row = [torch.tensor(x) for x in (state, np.array([0.5], np.float32), following)]
            assert float(training.task.reward(*row)) == pytest.approx(reward)
            assert float(training.task.terminated(*row)) == 0.0


@pytest.mark.filterwarnings("ignore:.*A Box observation space")
def test_the_documents_true_dynamics_are_the_environments(tmp_path, monkeypatch, capsys):
    """The third block completes the module: a run of its task can be measured."""
    blocks = python_blocks("docs/extending.md")
    text = "".join(blocks[:3]).replace("my_module:", "my_true_module:")
    (tmp_path / "my_true_module.py").write_text(text.replace("MyEnv-v0", "MyTrueEnv-v0"))
    monkeypatch.chdir(tmp_path)
    own_tables(monkeypatch)
    run = ["--task", "my_true_module:MyTrueEnv-v0", "--size", "tiny", "--seeds", "0", "1"]
    run += ["--data.random-rollouts", "1", "--data.updates-per-step", "0", "--rollouts", "2"]
    assert main(["train", *run, "--out", "runs/mine", "--compile", "no"]) == 0
    assert "differ from the environment's" not in "".join(capsys.readouterr())
    few = ["--samples", "8", "--replicates", "8", "--horizons", "0", "2", "--reference-steps", "4"]
    assert main(["gradient-error", "runs/mine", *few]) == 0
    assert (tmp_path / "runs" / "mine" / "gradient-error.csv").exists()


def test_the_readmes_estimate_is_what_it_prints(capsys):
    """But for the last digits, which differ between processors."""
    text = (ROOT / "README.md").read_text()
    examples = re.findall(r"\$ maac-bench (estimate .*)\n((?:    .*\n)+)", text)
    assert len(examples) == 2
    for command, shown in examples:
        assert main(command.split()) == 0
        printed = capsys.readouterr().out
        assert [re.sub(r"[\d.]+", "", line).split() for line in printed.splitlines()] == [
            re.sub(r"[\d.]+", "", line).split() for line in shown.splitlines()
        ]
        numbers = [[float(x) for x in re.findall(r"\d+\.\d+", part)] for part in (printed, shown)]
        assert numbers[0] == pytest.approx(numbers[1], rel=1e-2)


def own_tables(monkeypatch):
    """Rows that are added in this test are gone after it."""
    monkeypatch.setattr("maac_bench.tasks.TASKS", dict(TASKS))
    monkeypatch.setattr("maac_bench.estimators.ESTIMATORS", dict(ESTIMATORS))
    monkeypatch.setattr("maac_bench.presets.ALGORITHMS", dict(ALGORITHMS))


def test_the_documents_own_rows_are_used(tmp_path, monkeypatch, capsys):
    blocks = python_blocks("docs/extending.md")
    (tmp_path / "my_rows.py").write_text(blocks[-2].replace("my_module:", "my_rows:"))
    monkeypatch.chdir(tmp_path)
    own_tables(monkeypatch)
    arguments = ["--task", "my_rows:MyLQG-v0", "--estimator", "my_rows:mine", "--samples", "8"]
    assert main(["estimate", *arguments, "--replicates", "4"]) == 0
    mean = capsys.readouterr().out.splitlines()[3].split("[")[1].rstrip("]").split()
    assert 0 < max(abs(float(entry)) for entry in mean) <= 1
    for task in ("maac_bench/Hopper-v0", "maac_bench/Walker2d-v0", "maac_bench/CartPole-v0"):
        for size in ("paper", "small", "tiny"):
            usual, own = (preset(name, task, size) for name in ("maac", "my_rows:mine"))
            rate = usual.actor.learning_rate
            assert own.actor.learning_rate == 10 * rate
            assert replace(own, actor=replace(own.actor, learning_rate=rate)) == usual


def test_the_documents_python_runs(tmp_path, monkeypatch):
    """Every block, one after another, on a small run in the place of the one it names."""
    cheetah, config = "maac_bench/HalfCheetah-v0", tiny_config()
    trainer = tiny_trainer((0, 1), config, tiny_training(cheetah))
    for _ in range(2):
        trainer.rollout()
    identity = {"task": cheetah, "algorithm": "maac", "seeds": [0, 1], "config": to_dict(config)}
    run = RunDirectory(tmp_path / "runs" / "cart", identity, {})
    run.save(capture(trainer))
    run.close()
    trainer.close()
    monkeypatch.chdir(tmp_path)
    blocks = [*python_blocks("README.md"), *python_blocks("docs/extending.md")]
    assert len(blocks) == 7
    own_tables(monkeypatch)
    for block in blocks:
        names: dict[str, Any] = {}
        exec(block, names)
        if "gradient" in names:
            shapes = [part.shape for part in names["gradient"]]
            assert shapes == [p.shape for p in names["run"].agent.policy.parameters]
            assert all(part.any() for part in names["gradient"])
