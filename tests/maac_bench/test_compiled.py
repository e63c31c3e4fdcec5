"""Fused updates and fits: the same numbers as the plain ones, and an exact resume."""

import shutil
from dataclasses import replace

import pytest
import torch

from maac_bench.presets import preset
from maac_bench.run_records import read_metrics
from maac_bench.tasks.swing_up import CART_POLE
from maac_bench.trainer import Trainer
from maac_bench.training import RunSettings, train
from tests.maac_bench.trainers import (
    PENDULUM,
    break_policy,
    tiny_config,
    tiny_trainer,
    tiny_training,
    untimed,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler"),
    # the compiler's own, inside torch
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:TensorFloat32"),
]
DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
    ),
]


def small_batches(algorithm="maac"):
    """Fits with full batches: those alone are fused."""
    config = tiny_config(algorithm)
    return replace(config, model=replace(config.model, batch_size=8))


@pytest.mark.parametrize(
    ("algorithm", "learns_outcome"),
    [
        ("sac", False),
        ("maac", False),
        ("maac", True),
        ("maac-no-steve", False),
        ("maac-plus", False),
        ("steve", False),
    ],
)
@pytest.mark.parametrize("device", DEVICES)
def test_fused_updates_are_the_plain_ones(algorithm, learns_outcome, device):
    """Over several steps, so that gradients, optimisers, target networks and fits count too.

    The programs are whole graphs: where torch cannot fuse a step, it says so.
    """
    task = tiny_training()._replace(learns_outcome=learns_outcome)
    plain, fused = (tiny_trainer((0, 1), small_batches(algorithm), task, device) for _ in range(2))
    fused.compile()
    for trainer in (plain, fused):
        trainer.rollout()
        trainer.prepare()
    # Adam's first steps have the sign of a gradient, however small it is and however it is rounded.
    rounding = 1e-4 if device == "cpu" else 5e-4
    for name, fit in plain.imagination.fits.items():
        for expected, found in zip(fit, fused.imagination.fits[name], strict=True):
            torch.testing.assert_close(found, expected, rtol=rounding, atol=1e-5)
    for _ in range(3):
        expected, found = plain.update(), fused.update()
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            assert found[name].tolist() == pytest.approx(values.tolist(), rounding, 1e-5), name
    for trainer in (plain, fused):
        trainer.close()


@pytest.fixture
def traced(monkeypatch):
    """Programs are traced only, in seconds: what may fail comes before their code is made."""
    compile_ = torch.compile

    def trace(function, fullgraph, dynamic, options):
        return compile_(function, fullgraph=fullgraph, dynamic=dynamic, backend="eager")

    monkeypatch.setattr(torch, "compile", trace)


def trace_updates(config, task=PENDULUM, seeds=(0, 1, 2, 3, 4)):
    data = replace(config.data, random_rollouts=1, branch_transitions=200, model_capacity=400)
    config = replace(config, data=data, model=replace(config.model, max_epochs=1))
    trainer = tiny_trainer(seeds, config, tiny_training(task))
    trainer.compile()
    trainer.rollout()
    if config.uses_model:
        trainer.prepare()
    for _ in range(2):
        assert trainer.update()["critic_loss"].isfinite().all()
    trainer.close()


@pytest.mark.usefixtures("traced")
def test_the_runs_of_a_figure_are_fused_in_one_process():
    """As a worker trains them: sizes that changed since the last run are known all the same."""
    for algorithm, task in (("mbpo", PENDULUM), ("steve", PENDULUM), ("maac", CART_POLE)):
        trace_updates(preset(algorithm, task, "tiny"), task)


@pytest.mark.usefixtures("traced")
def test_any_number_of_agents_is_fused_in_one_process():
    """More than the programs that torch keeps of one function."""
    for layers in range(1, 11):
        config = preset("sac", PENDULUM, "tiny")
        trace_updates(
            replace(config, actor=replace(config.actor, hidden=(8,) * layers)), seeds=(0,)
        )


@pytest.mark.parametrize("device", DEVICES)
def test_an_interrupted_fused_run_ends_up_the_same(tmp_path, monkeypatch, device):
    monkeypatch.setattr("maac_bench.training.make_training_task", lambda name: tiny_training(name))

    def go(folder: str) -> None:
        out = tmp_path / folder
        train(RunSettings(PENDULUM, "maac", (0, 1), 4, out, device, True), small_batches(), {})

    go("whole")
    act = Trainer._act

    def interrupted(trainer):
        if trainer.env_steps == 47:
            raise KeyboardInterrupt
        return act(trainer)

    monkeypatch.setattr(Trainer, "_act", interrupted)
    with pytest.raises(KeyboardInterrupt):
        go("resumed")
    monkeypatch.setattr(Trainer, "_act", act)
    go("resumed")
    for seed in (0, 1):
        whole, resumed = (read_metrics(tmp_path / name, seed) for name in ("whole", "resumed"))
        assert len(whole) == 4
        for row, expected in zip(resumed, whole, strict=True):
            found = untimed(row)
            assert {k: (v, found[k]) for k, v in untimed(expected).items() if found[k] != v} == {}


@pytest.mark.parametrize("device", DEVICES)
def test_a_fused_run_goes_on_without_a_seed_that_breaks(tmp_path, monkeypatch, device):
    """With programs for fewer seeds, and the numbers that the others would have had."""
    monkeypatch.setattr("maac_bench.training.make_training_task", lambda name: tiny_training(name))
    settings = RunSettings(PENDULUM, "maac", (0, 1, 2), 4, tmp_path / "whole", device, True)
    train(settings, small_batches(), {})
    break_policy(monkeypatch, seed=1, rollout=2)
    with pytest.raises(FloatingPointError, match="stopped early: seeds 1;"):
        train(replace(settings, out=tmp_path / "broken"), small_batches(), {})
    for seed, rollouts in ((0, 4), (1, 2), (2, 4)):
        whole, broken = (read_metrics(tmp_path / name, seed) for name in ("whole", "broken"))
        assert len(broken) == rollouts
        for row, expected in zip(broken, whole, strict=False):
            found = {name: float(value) for name, value in untimed(row).items()}
            for name, value in untimed(expected).items():
                assert found[name] == pytest.approx(float(value), rel=2e-2, abs=2e-2), name
