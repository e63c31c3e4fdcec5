"""One agent update as a run makes it: batch, noise, critics, actor, temperature, targets.

HalfCheetah sizes and the presets' own: SAC with batch 256 and 2x256 nets; MAAC with H = 4, five
terminal samples, STEVE over two steps and eight members of 4x200. And what fitting that ensemble
costs per batch, but for the optimiser.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from benchmarks.floor import Row, measured
from maac_bench.ensemble_training import likelihood_gradient
from maac_bench.fusion import fuse
from maac_bench.presets import preset
from maac_bench.tasks import make_training_task
from maac_bench.trainer import Trainer

TASK = "maac_bench/HalfCheetah-v0"


def ready_trainer(
    algorithm: str,
    seeds: int,
    compiled: bool,
    device: str = "cpu",
    target_members: int | None = None,
) -> Trainer:
    """A trainer of the paper's size with an episode of replay and a model fitted for an epoch.

    target_members: as in the configuration; None: the preset's.
    """
    config = preset(algorithm, TASK, "paper")
    if target_members is not None:
        config = replace(config, critic=replace(config.critic, target_members=target_members))
    config = replace(
        config,
        evaluations=0,
        model=replace(config.model, max_epochs=1),
        data=replace(config.data, random_rollouts=1, updates_per_step=0),
    )
    trainer = Trainer(make_training_task(TASK), config, range(seeds), device)
    trainer.rollout()
    trainer.prepare()
    if compiled:
        trainer.compile()
    return trainer


def measure(
    name: str,
    algorithm: str,
    seeds: int = 1,
    compiled: bool = True,
    target_members: int | None = None,
) -> Row:
    """One preset's row; `target_members` as for `ready_trainer`."""
    trainer = ready_trainer(algorithm, seeds, compiled=False, target_members=target_members)
    step: Callable[[], object] = trainer.update
    return measured(name, step, prepare=trainer.compile if compiled else None)


def measure_fit(name: str, compiled: bool) -> Row:
    """The row of one gradient of the ensemble's likelihood, 256 samples per member."""
    trainer = ready_trainer("maac", 1, compiled=False)
    ensemble = trainer.imagination.model
    assert ensemble is not None
    leaves = ensemble.replace([p.detach().requires_grad_() for p in ensemble.parameters])
    width = ensemble.inputs.mean.shape[-1] + ensemble.targets.mean.shape[-1]
    samples = torch.randn(1, ensemble.members, trainer.config.model.batch_size, width)
    gradient = likelihood_gradient

    def fuse_gradient() -> None:
        nonlocal gradient
        gradient = fuse(likelihood_gradient, samples.device)

    return measured(
        name, lambda: gradient(leaves, samples), prepare=fuse_gradient if compiled else None
    )


def rows() -> list[Row]:
    """Updates and fits fused and not, and several stacked seeds."""
    found = []
    for algorithm in ("sac", "maac"):
        found.append(measure(f"{algorithm}_step_eager", algorithm, compiled=False))
        found.append(measure(f"{algorithm}_step", algorithm))
    found.append(measure("maac_step_bfloat16", "maac-bfloat16"))
    found.append(measure("maac_step_4_target_members", "maac", target_members=4))
    found.append(measure_fit("model_gradient_eager", compiled=False))
    found.append(measure_fit("model_gradient", compiled=True))
    for algorithm in ("sac", "maac"):
        found += [measure(f"{algorithm}_step_{n}_seeds", algorithm, n) for n in (2, 4, 8)]
    return found


def rows_of_default_products() -> list[Row]:
    """What the choice of the library for matrix products is worth."""
    return [measure("maac_step_default_products", "maac")]
