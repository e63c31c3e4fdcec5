"""Which nets round the products between their hidden layers."""

from dataclasses import replace

import pytest

from tests.maac_bench.trainers import tiny_config, tiny_trainer


@pytest.mark.parametrize("part", ["actor", "critic", "model"])
def test_a_precision_is_that_of_its_nets(part):
    """After fits, elites and updates, and of no other net."""
    config = tiny_config("mbpo" if part == "model" else "maac")
    config = replace(config, **{part: replace(getattr(config, part), precision="bfloat16")})
    trainer = tiny_trainer((0,), config)
    trainer.rollout()
    trainer.prepare()
    trainer.update()
    trainer.close()
    agent, imagination = trainer.agent, trainer.imagination
    nets = {
        "actor": [agent.policy.net],
        "critic": [agent.critics.net, agent.targets.net],
        "model": [imagination.model.net, imagination.world.model.net],
    }
    for name, held in nets.items():
        expected = "bfloat16" if name == part else "full"
        assert {net.precision for net in held} == {expected}, name
