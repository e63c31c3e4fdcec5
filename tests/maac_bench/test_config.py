import json
import math
from dataclasses import replace

import pytest

from maac_bench.config import (
    ActorSettings,
    Config,
    CriticSettings,
    DataSettings,
    from_dict,
    to_dict,
)
from maac_bench.model_fitting import ModelConfig
from maac_bench.presets import ALGORITHMS, preset
from maac_bench.sizes import resized
from tests.maac_bench.trainers import PENDULUM

SIZES = ["paper", "small", "tiny"]
EVERY = [(name, size) for name in ALGORITHMS for size in SIZES]


def flat(config: Config) -> dict[str, object]:
    values = {}
    for name, value in to_dict(config).items():
        group = value if isinstance(value, dict) else {"": value}
        values.update({f"{name}.{field}".rstrip("."): entry for field, entry in group.items()})
    return values


def differences(name: str, other: str, size: str) -> set[str]:
    one, two = (flat(preset(algorithm, PENDULUM, size)) for algorithm in (name, other))
    return {field for field in one if one[field] != two[field]}


@pytest.mark.parametrize(("name", "size"), EVERY)
def test_every_preset_survives_json(name, size):
    config = replace(preset(name, "Hopper-v5", size), discount=0.97)
    assert from_dict(to_dict(config)) == config
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


@pytest.mark.parametrize(("name", "size"), EVERY)
def test_only_sac_goes_without_a_model(name, size):
    assert preset(name, PENDULUM, size).uses_model is (not name.startswith("sac"))


@pytest.mark.parametrize(
    "part",
    [
        {"actor": {"horizon": 1}},
        {"critic": {"target": "steve", "target_horizon": 1}},
        {"data": {"model_share": 0.5}},
    ],
)
def test_the_least_part_that_needs_a_model_has_one(part):
    plain = to_dict(preset("sac", PENDULUM, "tiny"))
    assert not from_dict(plain).uses_model
    for section, changes in part.items():
        plain[section].update(changes)
    assert from_dict(plain).uses_model


@pytest.mark.parametrize("size", SIZES)
def test_the_ablations_change_one_thing(size):
    assert differences("maac", "maac-h0", size) == {"actor.horizon"}
    assert differences("maac", "maac-single-sample", size) == {"actor.terminal_samples"}
    # How many members serve the target is of no concern to a target without model steps.
    changed = differences("maac", "maac-no-steve", size) - {"critic.target_members"}
    assert changed == {"critic.target"}
    assert preset("maac-no-steve", PENDULUM, size).expansion_horizon == 0


@pytest.mark.parametrize("size", SIZES)
def test_a_bound_stays_one_where_it_shrinks(size):
    config = preset("maac", PENDULUM, "paper")
    for steps in (0, 1, 3):
        bounded = replace(config, data=replace(config.data, refit_steps=steps))
        assert bool(resized(bounded, size).data.refit_steps) == bool(steps)


@pytest.mark.parametrize("size", SIZES)
def test_the_variants_change_one_thing(size):
    """Of how many members serve a target without model steps, nothing reads it."""
    plus = differences("maac", "maac-plus", size) - {"critic.target_members"}
    parts = {
        "maac-plus-short-branches": {"data.branch_length", "data.branch_ramp"},
        "maac-plus-steve": {"critic.target"},
        "maac-plus-unbounded": {"critic.bounded"},
    }
    assert plus == set.union(*parts.values())
    for name, part in parts.items():
        assert differences("maac-plus", name, size) - {"critic.target_members"} == part
    assert differences("maac", "maac-first-entropy", size) == {"actor.entropy"}
    assert differences("maac", "maac-short-fits", size) == {"data.refit_steps"}
    assert differences("maac", "maac-all-members", size) == {"critic.target_members"}
    every = preset("maac-all-members", PENDULUM, size)
    assert every.critic.target_members == every.model.members
    for base in ("maac", "maac-h0", "maac-plus", "mbpo", "steve", "sac"):
        assert differences(base, f"{base}-scaled-critic", size) == {"critic.unit"}
    for base in ("maac", "maac-h0"):
        assert differences(base, f"{base}-sqrt-critic", size) == {"critic.transform"}
    for base in ("maac", "maac-scaled-critic"):
        assert differences(base, f"{base}-more-updates", size) == {"data.updates_per_step"}
        once, twice = (preset(name, PENDULUM, size).data for name in (base, f"{base}-more-updates"))
        assert twice.updates_per_step == 2 * once.updates_per_step
    assert differences("maac", "maac-plain-critic", size) == {"critic.layer_norm"}
    assert differences("maac", "maac-plain-model", size) == {"model.layer_norm"}
    assert differences("maac", "maac-plain", size) == {"critic.layer_norm", "model.layer_norm"}


def test_few_members_stay_few():
    """A share that rounds to none would mean all."""
    config = preset("maac", PENDULUM)
    model = replace(config.model, members=20, elites=2)
    critic = replace(config.critic, target_members=1)
    small = resized(replace(config, model=model, critic=critic), "small")
    assert (small.model.elites, small.critic.target_members) == (1, 1)


def test_steve_needs_two_critics_to_weigh_by():
    with pytest.raises(ValueError, match="count must be at least 2"):
        Config(critic=CriticSettings(target="steve", count=1))
    assert Config(critic=CriticSettings(target="steve", count=1, target_horizon=0))


@pytest.mark.parametrize(
    ("group", "settings", "message"),
    [
        (ActorSettings, {"initial_temperature": math.inf}, "initial_temperature must be"),
        (ActorSettings, {"target_entropy": math.nan}, "target_entropy must be finite"),
        (ActorSettings, {"learning_rate": math.inf}, "learning_rate must be"),
        (ActorSettings, {"temperature_learning_rate": math.inf}, "temperature_learning_rate must"),
        (DataSettings, {"batch_size": 1}, "batch_size must be at least 2"),
        (DataSettings, {"batch_size": 64.0}, "batch_size must be whole, got 64.0"),
        (DataSettings, {"branch_length": (1, 2.5)}, "branch_length must be whole"),
        (ActorSettings, {"horizon": 2.5}, "horizon must be whole, got 2.5"),
        (CriticSettings, {"count": True}, "count must be whole, got True"),
        (CriticSettings, {"unit": 0.0}, "unit must be positive and finite, got 0.0"),
        (CriticSettings, {"unit": math.inf}, "unit must be positive and finite, got inf"),
        (
            CriticSettings,
            {"transform": "log"},
            "transform 'log' is unknown; choose from identity, sqrt",
        ),
        (ModelConfig, {"hidden": (200, 1.5)}, "hidden must be whole"),
        (ModelConfig, {"hidden": [200, 200]}, "hidden must be a tuple"),
        (DataSettings, {"model_share": 0.001}, "is less than a row"),
    ],
)
def test_values_that_cannot_train_are_refused(group, settings, message):
    with pytest.raises(ValueError, match=message):
        group(**settings)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"critic": None}, "config.critic must be a group of settings, got None"),
        ({"actor": {"horizon": "4"}}, "config.actor: "),
    ],
)
def test_a_damaged_configuration_is_named(values, message):
    with pytest.raises(ValueError, match=message):
        from_dict(values)


def test_settings_without_effect_are_known():
    assert "data.refit_" in preset("sac", PENDULUM).idle
    assert "actor.entropy" in preset("maac-h0", PENDULUM).idle
    assert "data.branch_ramp" in preset("maac", PENDULUM).idle
    assert "data.branch_ramp" not in preset("maac-plus", PENDULUM).idle
    assert {"critic.target_horizon", "critic.target_members"} <= preset(
        "maac-plus", PENDULUM
    ).idle.keys()
    base = preset("maac", PENDULUM)
    still = replace(base, actor=replace(base.actor, temperature_learning_rate=0.0))
    assert "actor.target_entropy" in still.idle
    assert not {"actor.target_entropy", "actor.entropy", "data.refit_"} & base.idle.keys()


def test_a_path_target_needs_a_path():
    with pytest.raises(ValueError, match="horizon must be at least 1"):
        Config(actor=ActorSettings(horizon=0), critic=CriticSettings(target="path"))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_sizes_leave_the_algorithm_alone(name):
    """Tiny ones also have rates and intervals to match."""
    allowed = {
        "actor.hidden",
        "actor.terminal_samples",
        "critic.hidden",
        "critic.target_members",
        "model.members",
        "model.elites",
        "model.hidden",
        "data.batch_size",
        "data.updates_per_step",
        "data.refit_steps",
        "data.branch_transitions",
        "data.model_capacity",
    }
    rates = {
        "actor.learning_rate",
        "actor.temperature_learning_rate",
        "critic.learning_rate",
        "critic.target_rate",
        "data.random_rollouts",
        "data.refit_every",
        "data.branch_every",
        "discount",
    }
    whole = flat(preset(name, PENDULUM))
    for size, free in (("small", allowed), ("tiny", allowed | rates)):
        reduced = flat(preset(name, PENDULUM, size))
        assert {field for field in whole if whole[field] != reduced[field]} <= free


def test_maac_is_the_papers():
    config = preset("maac", "maac_bench/HalfCheetah-v0")
    assert (config.actor.horizon, config.actor.terminal_samples) == (4, 5)
    assert (config.critic.target, config.critic.target_horizon) == ("steve", 2)
    assert (config.model.members, config.data.updates_per_step) == (8, 8)
    assert preset("maac", "maac_bench/Walker2d-v0").actor.horizon == 2
    assert preset("maac", "maac_bench/Ant-v0").data.branch_length == (1, 25)
    assert preset("sac", "maac_bench/Ant-v0").data.branch_length == (1, 1)


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ValueError, match="unknown algorithm 'ppo'; choose from sac, mbpo"):
        preset("ppo", PENDULUM)
    with pytest.raises(ValueError, match="unknown size 'huge'; choose from paper, small, tiny"):
        preset("maac", PENDULUM, "huge")


def test_fields_of_another_version_are_named():
    values = to_dict(Config())
    with pytest.raises(ValueError, match=r"config\.actor .*: colour"):
        from_dict({**values, "actor": {**values["actor"], "colour": 1}})
    del values["critic"]["count"]
    assert from_dict(values) == Config()


def test_the_branch_length_grows_along_its_ramp():
    data = DataSettings(branch_length=(1, 15), branch_ramp=(20, 100))
    lengths = [data.length_at(rollout) for rollout in range(121)]
    assert lengths == sorted(lengths)
    assert set(lengths[:21]) == {1}
    assert lengths[60] == 8
    assert lengths[58] == 8  # 7.65
    assert set(lengths[100:]) == {15}
    assert {DataSettings().length_at(rollout) for rollout in range(200)} == {1}


def test_rows_from_the_model_follow_its_share():
    shares = {share: DataSettings(model_share=share).model_rows for share in (0.0, 0.95, 1.0)}
    assert shares == {0.0: 0, 0.95: 243, 1.0: 256}
    assert DataSettings(model_share=0.72, batch_size=16).model_rows == 12  # 11.52


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ActorSettings(horizon=-1), "horizon must be at least 0, got -1"),
        (lambda: ActorSettings(terminal_samples=0), "terminal_samples must be at least 1, got 0"),
        (lambda: ActorSettings(entropy="all"), "entropy must be 'first' or 'path', got 'all'"),
        (lambda: ActorSettings(initial_temperature=0.0), "initial_temperature .*, got 0.0"),
        (lambda: ActorSettings(hidden=()), r"hidden must be positive layer widths, got \(\)"),
        (lambda: ActorSettings(hidden=(8, 0)), r"hidden must .*, got \(8, 0\)"),
        (lambda: ActorSettings(initial_temperature=1e300), "must lie within single precision"),
        (lambda: CriticSettings(unit=1e300), "must lie within single precision"),
        (lambda: CriticSettings(unit=1e-300), "unit must lie within single precision"),
        (lambda: ActorSettings(hidden=(10**21,)), "hidden must fit into 64 bits"),
        (lambda: DataSettings(branch_ramp=()), "branch_ramp must be two numbers"),
        (lambda: DataSettings(branch_length=(1, 2, 3)), "branch_length must be two numbers"),
        (lambda: ActorSettings(activation="sin"), "activation 'sin' is unknown; choose from relu"),
        (
            lambda: ActorSettings(learning_rate=0.0),
            "learning_rate must be positive and finite, got 0.0",
        ),
        (lambda: ActorSettings(learning_rate=float("nan")), "learning_rate must be positive"),
        (lambda: CriticSettings(target="mc"), "target 'mc' is unknown; choose from td, expansion"),
        (lambda: CriticSettings(target_horizon=-2), "target_horizon must be at least 0, got -2"),
        (lambda: CriticSettings(count=0), "count must be at least 1, got 0"),
        (lambda: CriticSettings(target_rate=0.0), r"target_rate must lie in \(0, 1\], got 0.0"),
        (lambda: CriticSettings(target_rate=math.nan), "target_rate must lie in .*, got nan"),
        (lambda: DataSettings(random_rollouts=0), "random_rollouts must be at least 1, got 0"),
        (lambda: DataSettings(updates_per_step=-1), "updates_per_step must be at least 0, got -1"),
        (lambda: DataSettings(batch_size=0), "batch_size must be at least 2, got 0"),
        (lambda: DataSettings(model_share=1.5), r"model_share must lie in \[0, 1\], got 1.5"),
        (lambda: DataSettings(branch_length=(3, 2)), "branch_length must .*, got 3, 2"),
        (lambda: DataSettings(branch_ramp=(9, 9)), r"branch_ramp must increase, got \(9, 9\)"),
        (lambda: DataSettings(branch_transitions=0), "branch_transitions must .*, got 0"),
        (lambda: DataSettings(model_capacity=10), "model_capacity 10, got 100000"),
        (lambda: Config(discount=1.0), r"discount must lie in \[0, 1\), got 1.0"),
        (lambda: Config(evaluations=-1), "evaluations must be at least 0, got -1"),
        (
            lambda: Config(critic=CriticSettings(target_members=9), model=ModelConfig(members=8)),
            "critic.target_members 9 exceeds the ensemble's 8 members that serve",
        ),
        (
            lambda: Config(critic=CriticSettings(target_members=3), model=ModelConfig(elites=2)),
            "target_members 3 exceeds the ensemble's 2 members that serve",
        ),
        (lambda: ModelConfig(members=3, elites=4), "elites must lie between 0 and .* 3 members"),
        (
            lambda: ModelConfig(min_improvement=math.nan),
            "min_improvement must be at least 0 and finite, got nan",
        ),
        (lambda: ModelConfig(min_improvement=-1.0), "min_improvement must be at least 0"),
        (lambda: Config(model=ModelConfig(activation="sin")), "activation 'sin' is unknown"),
        (lambda: Config(model=ModelConfig(hidden=(0,))), r"hidden must .*, got \(0,\)"),
    ],
)
def test_values_that_cannot_train_are_refused_and_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_mbpo_follows_its_paper():
    """Janner et al. 2019, App. C: updates, branches from epoch 20 to 100, five elites of seven."""
    model = preset("mbpo", "maac_bench/HalfCheetah-v0").model
    assert (model.members, model.elites) == (7, 5)
    assert preset("mbpo", PENDULUM, "small").model.elites == 4
    cheetah, hopper, ant = (
        preset("mbpo", f"maac_bench/{task}-v0").data for task in ("HalfCheetah", "Hopper", "Ant")
    )
    assert (cheetah.updates_per_step, hopper.updates_per_step) == (40, 20)
    assert preset("mbpo-scaled-critic", "maac_bench/HalfCheetah-v0").data == cheetah
    assert [cheetah.length_at(k) for k in (0, 20, 100, 150)] == [1, 1, 1, 1]
    assert [hopper.length_at(k) for k in (0, 20, 60, 100, 150)] == [1, 1, 8, 15, 15]
    assert [ant.length_at(k) for k in (20, 60, 100)] == [1, 13, 25]
    assert preset("steve", "maac_bench/Hopper-v0").data.branch_length == (1, 1)
