"""Small runs whose gradient error is measured."""

from maac_bench.checkpoint import capture
from maac_bench.config import to_dict
from maac_bench.run import RunDirectory
from tests.maac_bench.trainers import tiny_config, tiny_trainer, tiny_training

CHEETAH = "maac_bench/HalfCheetah-v0"
OPTIONS = ["--horizons", "0", "2", "--samples", "4", "--reference-steps", "3"]
OPTIONS += ["--replicates", "3"]


def make_run(path, algorithm="maac", task=CHEETAH, rollouts=2):
    """A run of two seeds after its random rollout and one or more with a model."""
    config = tiny_config(algorithm)
    trainer = tiny_trainer((3, 4), config, tiny_training(task))
    identity = {"task": task, "algorithm": algorithm, "seeds": [3, 4], "config": to_dict(config)}
    run = RunDirectory(path, identity, {"commit": "abc"})
    for _ in range(rollouts):
        trainer.rollout()
        if trainer.rollouts > 1:
            run.save(capture(trainer))
    run.close()
    trainer.close()
    return path
