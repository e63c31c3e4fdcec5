"""Nothing of one seed reaches another, and the same seed gives the same numbers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from maac_bench.config import Config
from tests.maac_bench.trainers import (
    STEPS,
    fill_,
    hopper,
    rows_of,
    tiny_config,
    tiny_trainer,
)


def restless(config: Config) -> Config:
    """Members stop fitting at different times."""
    fitting = replace(config.model, learning_rate=0.03, max_epochs=25, patience=1)
    return replace(config, model=fitting)


def assert_same_rows(some, others, tolerance=2e-3):
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        assert one == pytest.approx(other, rel=tolerance, abs=tolerance)


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others():
    first, again, other = (rows_of(tiny_trainer((seed,)), 3)[seed] for seed in (1, 1, 2))
    assert first == again
    for name in ("train_return", "return", "critic_loss", "prediction_error_1"):
        assert first[-1][name] != other[-1][name]


@pytest.mark.parametrize("algorithm", ["maac", "sac"])
def test_a_seed_trains_the_same_alone_and_in_a_stack(algorithm):
    config = tiny_config(algorithm)
    both, alone = (rows_of(tiny_trainer(seeds, config), 3) for seeds in ((0, 1), (1,)))
    assert_same_rows(both[1], alone[1])
    assert both[0][-1]["return"] != both[1][-1]["return"]


def test_how_long_one_seed_fits_its_model_is_nothing_to_another():
    """The second fit draws the same numbers whenever the first one stopped."""
    config = restless(tiny_config())
    both, alone = (rows_of(tiny_trainer(seeds, config), 3) for seeds in ((0, 1), (1,)))
    assert both[0][1]["model_epochs"] != both[1][1]["model_epochs"], "otherwise nothing is shown"
    assert_same_rows(both[1], alone[1])


@pytest.mark.filterwarnings("ignore:.*settotalmass.*")
def test_how_long_one_seed_stays_upright_is_nothing_to_another():
    """Hoppers fall at different times, and diagnostics draw noise as long as one stands."""
    config = tiny_config("sac")
    both, alone = (rows_of(tiny_trainer(seeds, config, hopper(20)), 4) for seeds in ((0, 1), (1,)))
    assert_same_rows(both[1], alone[1])


def test_a_seed_that_breaks_is_named_and_leaves_the_other_alone():
    config = tiny_config()
    broken, whole = (tiny_trainer((0, 1), config) for _ in range(2))
    for trainer in (broken, whole):
        trainer.rollout()
    fill_([p[0] for p in broken.agent.policy.parameters], float("nan"))
    rows, expected = rows_of(broken, 2), rows_of(whole, 2)
    (failure,) = broken.failures
    assert failure.seed == 0
    assert (
        failure.reason == f"the policy's action is not finite (environment step {STEPS}, update 0)"
    )
    assert not whole.failures
    assert rows[1] == expected[1]
    assert all(torch.isfinite(field).all() for field in broken.real.all()), "its data stay whole"


def test_an_environment_that_breaks_is_not_blamed_on_the_policy(monkeypatch):
    trainer = tiny_trainer((0, 1), tiny_config())
    trainer.rollout()
    begin = trainer.episodes.begin

    def broken():
        state = begin().copy()
        state[1] = float("nan")
        return state

    monkeypatch.setattr(trainer.episodes, "begin", broken)
    trainer.rollout()
    trainer.close()
    (failure,) = trainer.failures
    assert failure.seed == 1
    assert failure.reason.startswith("the environment's observation is not finite (environment")


def test_an_observation_that_breaks_at_the_end_of_an_episode_is_seen_there(monkeypatch):
    """The next one is of another episode; D_env would have it first."""
    trainer = tiny_trainer((0, 1), tiny_config())
    step = trainer.episodes.step

    def broken(action):
        found = step(action)
        if found.truncated.any():
            found.next_state[0] = float("nan")
        return found

    monkeypatch.setattr(trainer.episodes, "step", broken)
    trainer.rollout()
    trainer.close()
    (failure,) = trainer.failures
    assert failure.seed == 0
    assert failure.reason.startswith("the environment's observation is not finite (environment")


def test_training_touches_no_global_generator():
    def drawn():
        with torch.random.fork_rng():
            return torch.rand(3).tolist(), np.random.get_state()[1].tolist()  # noqa: NPY002

    before = drawn()
    trainer = tiny_trainer((0,), tiny_config())
    for _ in range(2):
        trainer.rollout()
    trainer.close()
    assert drawn() == before


def test_a_seed_whose_model_breaks_is_named_and_leaves_the_other_alone():
    config = tiny_config(refit_every=10)
    broken, whole = (tiny_trainer((0, 1), config) for _ in range(2))
    for trainer in (broken, whole):
        trainer.rollout()
        trainer.prepare()
    fill_([p[1] for p in broken.imagination.world.model.parameters], float("nan"))
    rows, expected = rows_of(broken, 1), rows_of(whole, 1)
    assert [failure.seed for failure in broken.failures] == [1]
    assert broken.failures[0].reason == (
        f"the model's validation loss is not finite (environment step {STEPS}, update 0)"
    )
    assert rows[0] == expected[0]


def test_what_breaks_first_is_blamed_and_not_the_action_that_follows():
    """Critics that jump away are seen in the actor's loss of the same update."""
    config = tiny_config("sac")
    config = replace(config, critic=replace(config.critic, learning_rate=1e30))
    trainer = tiny_trainer((0,), config)
    rows_of(trainer, 2)
    (failure,) = trainer.failures
    assert failure.reason == f"actor_loss is not finite (environment step {STEPS + 1}, update 1)"
