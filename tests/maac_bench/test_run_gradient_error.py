"""`maac-bench gradient-error`: a run directory's actor gradient against the true dynamics."""

import json
import shutil
from dataclasses import replace

import pandas as pd
import pytest
import torch

from maac_bench.__main__ import main
from maac_bench.checkpoint import capture
from maac_bench.config import to_dict
from maac_bench.gradient_parts import PARTS, horizon_gradients
from maac_bench.run import RunDirectory
from maac_bench.run_checkpoints import require_checkpoint
from maac_bench.run_gradient_error import (
    SUMMARY,
    Measurement,
    _blocks,
    _setting,
    gradient_error,
    summary,
    true_dynamics,
)
from maac_bench.run_records import read_identity
from maac_bench.streams import Streams
from maac_bench.tasks import make_training_task
from tests.maac_bench.trainers import PENDULUM, tiny_config, tiny_trainer, tiny_training

CHEETAH = "maac_bench/HalfCheetah-v0"
SMALL = Measurement((0, 2), "pathwise", samples=4, reference_steps=3)
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


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"))


def test_every_seed_horizon_and_part_has_a_row_and_the_numbers_repeat(trained):
    table = gradient_error(trained, SMALL)
    assert len(table) == 2 * 2 * len(PARTS)
    assert set(table["seed"]) == {3, 4}
    assert (table["rollout"] == 2).all()
    order = [(horizon, part, seed) for horizon in (0, 2) for part in PARTS for seed in (3, 4)]
    assert list(table[["horizon", "part", "seed"]].itertuples(index=False, name=None)) == order
    assert (table["reference_steps"] == 3).all()
    assert not table.isna().any().any()
    without_model = table[(table["horizon"] == 0) & (table["part"] == "model")]
    assert (without_model["l1_error"] == 0.0).all()
    with_model = table[(table["horizon"] == 2) & (table["part"] == "model")]
    assert (with_model["l1_error"] > 0.0).all()
    pd.testing.assert_frame_equal(gradient_error(trained, SMALL), table)
    other = gradient_error(trained, replace(SMALL, seed=1))
    assert (other["l1_error"] != table["l1_error"]).sum() >= len(table) - 2


def test_a_seeds_numbers_do_not_depend_on_the_other_horizons(trained):
    table = gradient_error(trained, SMALL)
    alone = gradient_error(trained, replace(SMALL, horizons=(2,)))
    rows = table[table["horizon"] == 2].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, rows)


@pytest.mark.parametrize("task", [PENDULUM, "maac_bench/DoubleIntegrator-v0"])
def test_tasks_in_tensors_are_their_own_true_dynamics(task, tmp_path, monkeypatch):
    """With the true dynamics in the model's place nothing is left of the model's part."""
    make_run(tmp_path, task=task)
    table = gradient_error(tmp_path, SMALL)
    assert not table.isna().any().any()
    model = table[(table["part"] == "model") & (table["horizon"] == 2)]
    assert (model["l1_error"] > 0.0).all()
    true = true_dynamics(make_training_task(task))
    whole = _setting
    monkeypatch.setattr(
        "maac_bench.run_gradient_error._setting",
        lambda agent, world, _model, dynamics: whole(agent, world, true, dynamics),
    )
    table = gradient_error(tmp_path, SMALL)
    assert (table[table["part"] == "model"]["l1_error"] == 0.0).all()


def test_score_functions_smooth_the_same_parts(trained, monkeypatch):
    """Without a model step the model part is the same gradient, estimated in two ways."""
    monkeypatch.setattr("maac_bench.run_gradient_error._LARGEST_BLOCK", 4 * 60)
    dials = replace(SMALL, through="score_function", replicates=1000)
    table = gradient_error(trained, dials)
    assert len(table) == 2 * 2 * len(PARTS)
    assert (table["replicates"] == 1000).all()
    assert (gradient_error(trained, SMALL)["replicates"] == 1).all()
    at = table.set_index(["horizon", "part"])
    assert (at.loc[(0, "model"), "cosine"] > 0.95).all()
    assert (at.loc[(0, "critic"), "cosine"] < at.loc[(0, "model"), "cosine"].min()).all()


def test_the_runs_own_objective_is_measured_from_different_states(trained, tmp_path, monkeypatch):
    """Whose entropy counts and how many terminal actions: as the run was configured."""
    path = tmp_path / "other"
    shutil.copytree(trained, path)
    identity = json.loads((path / "config.json").read_text())
    identity["config"]["actor"] |= {"entropy": "first", "terminal_samples": 3}
    (path / "config.json").write_text(json.dumps(identity))
    seen = []

    def spy(setting, start, noise, *rest):
        seen.append((setting, start, noise))
        return horizon_gradients(setting, start, noise, *rest)

    monkeypatch.setattr("maac_bench.run_gradient_error.horizon_gradients", spy)
    identity["config"]["discount"] = 0.9
    (path / "config.json").write_text(json.dumps(identity))
    assert main(["gradient-error", str(path), *OPTIONS]) == 0
    assert len(seen) == 2, "a seed at a time: memory is that of one"
    tensors = require_checkpoint(path).tensors
    for k, (setting, start, noise) in enumerate(seen):
        assert setting.entropy == "first"
        assert setting.true.discount == setting.learned.discount == 0.9
        torch.testing.assert_close(setting.temperature, tensors["temperature.0"][k : k + 1].exp())
        (states,) = start[:, :, 0].tolist()
        known = {tuple(row) for row in tensors["real.0"][k, :, : start.shape[-1]].tolist()}
        assert {tuple(state) for state in states} <= known
        assert len({tuple(state) for state in states}) > 2  # of four, drawn with replacement
        assert noise.terminal.shape[-2] == 3
        assert setting.learned.dynamics is not setting.true.dynamics
    assert not torch.equal(seen[0][1], seen[1][1])


def test_parts_are_compared_with_what_they_are_errors_of(trained, monkeypatch):
    def scaled(*_arguments):
        sizes = {"learned": 8.0, "true": 4.0, "tail": 2.0, "reference": 1.0}
        one = torch.ones(1, 4, 3)
        return {2: {name: size * one for name, size in sizes.items()}}

    monkeypatch.setattr("maac_bench.run_gradient_error.horizon_gradients", scaled)
    table = gradient_error(trained, SMALL).set_index("part")["norm_ratio"]
    for part, ratio in {"model": 2.0, "critic": 2.0, "truncation": 2.0, "total": 8.0}.items():
        assert table[part].tolist() == pytest.approx([ratio, ratio]), part


def test_a_seeds_numbers_do_not_depend_on_its_place_in_the_stack(trained, tmp_path):
    """As those of a run go on whose first seed has failed."""
    path = tmp_path / "one"
    shutil.copytree(trained, path)
    run = RunDirectory(path, read_identity(path), {})
    run.save(require_checkpoint(path).select([1]))
    run.close()
    both, alone = gradient_error(trained, SMALL), gradient_error(path, SMALL)
    pd.testing.assert_frame_equal(alone, both[both["seed"] == 4].reset_index(drop=True))


def test_starts_and_noise_are_drawn_apart(trained, monkeypatch):
    names = []

    def spy(seeds, purpose, *rest):
        names.append(purpose)
        return Streams(seeds, purpose, *rest)

    monkeypatch.setattr("maac_bench.run_gradient_error.Streams", spy)
    gradient_error(trained, replace(SMALL, horizons=(2,)))
    assert len(set(names)) == 3  # starts, noise, resampling


def test_a_block_counts_as_many_times_as_it_has_replicates(trained, monkeypatch):
    """Seven are four and three: a mean over blocks would be 3.5."""

    def sized(_setting, start, *_rest):
        one = torch.ones(1, 4, 3)
        same = dict.fromkeys(("true", "tail", "reference"), one)
        return {2: {"learned": start.shape[2] * one, **same}}

    monkeypatch.setattr("maac_bench.run_gradient_error._LARGEST_BLOCK", 4 * 4)
    monkeypatch.setattr("maac_bench.run_gradient_error.horizon_gradients", sized)
    table = gradient_error(trained, replace(SMALL, replicates=7)).set_index("part")["norm_ratio"]
    assert table["total"].tolist() == pytest.approx([(4 * 4 + 3 * 3) / 7] * 2)
    assert table["truncation"].tolist() == pytest.approx([1.0, 1.0])


def test_the_summary_is_a_mean_over_seeds():
    pairs = ((0.25, 0.75), (0.1, 0.3), (1, 2), (3, 7), (10, 30), (0, 1))
    values = dict(zip(SUMMARY, pairs, strict=True))
    table = pd.concat(
        pd.DataFrame({"seed": (3, 4), "horizon": 2, "part": part, **values}) for part in PARTS
    )
    shown = [line.split() for line in summary(table).splitlines() if line.startswith("2 ")]
    assert shown == [
        ["2", *[mean] * len(PARTS)] for mean in ("0.5", "0.2", "1.5", "5", "20", "0.5")
    ]


def test_a_part_without_numbers_is_shown_without_any(trained):
    table = gradient_error(trained, SMALL)
    table.loc[table["part"] == "model", "norm_ratio"] = float("nan")
    assert "NaN" in summary(table)


def test_a_gradient_that_is_not_finite_is_named(trained, monkeypatch, capsys):
    def broken(setting, *_arguments):
        gradient = torch.ones(1, 4, 3)
        if setting.temperature == require_checkpoint(trained).tensors["temperature.0"][1].exp():
            gradient[0, 2, 0] = torch.inf
        return {2: dict.fromkeys(("learned", "true", "tail", "reference"), gradient)}

    monkeypatch.setattr("maac_bench.run_gradient_error.horizon_gradients", broken)
    assert main(["gradient-error", str(trained), *OPTIONS]) == 2
    message = "gradient 'learned' at H = 2 is not finite for 1 start states, the first of them of"
    assert f"{message} seed 4" in capsys.readouterr().err


def test_blocks_hold_all_replicates():
    for replicates, samples in ((1, 64), (2, 20_000), (7, 5000), (256, 64), (1000, 4)):
        blocks = _blocks(replicates, samples)
        assert sum(blocks) == replicates
        assert min(blocks) >= min(2, replicates)
        assert max(blocks) * samples <= 8192 or max(blocks) <= 3


def test_the_command_writes_the_table_draws_it_and_prints_it(trained, capsys):
    assert main(["gradient-error", str(trained), *OPTIONS]) == 0
    table = pd.read_csv(trained / "gradient-error.csv")
    assert len(table) == 2 * 2 * len(PARTS)
    assert (trained / "gradient-error.png").stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert "cosine of the mean gradients" in printed
    assert all(part in printed for part in PARTS)


def test_where_episodes_may_end_the_parts_are_said_to_include_that(trained, capsys, monkeypatch):
    """Known by the function: a row that says `never` has no such part."""
    assert main(["gradient-error", str(trained), *OPTIONS]) == 0
    assert "may end" not in capsys.readouterr().out
    monkeypatch.setattr("maac_bench.cli.runs.never", None)
    assert main(["gradient-error", str(trained), *OPTIONS]) == 0
    assert f"episodes of {CHEETAH} may end: then" in capsys.readouterr().out


def test_the_results_of_a_checkpoint_that_was_asked_for_have_their_own_names(trained):
    assert main(["gradient-error", str(trained), "--rollout", "2", *OPTIONS]) == 0
    assert set(pd.read_csv(trained / "gradient-error-2.csv")["rollout"]) == {2}
    assert (trained / "gradient-error-2.png").stat().st_size > 10_000


def test_another_checkpoint_than_those_there_is_refused(trained, capsys):
    assert main(["gradient-error", str(trained), "--rollout", "1", *OPTIONS]) == 2
    assert "no checkpoint of rollout 1, only of 2" in capsys.readouterr().err


def test_a_run_without_a_model_is_measured_at_horizon_0_alone(tmp_path, capsys):
    make_run(tmp_path, "sac")
    assert main(["gradient-error", str(tmp_path), *OPTIONS]) == 2
    assert "learns no model: it can be measured with --horizons 0 alone" in capsys.readouterr().err
    assert main(["gradient-error", str(tmp_path), "--horizons", "2"]) == 2
    assert "learns no model" in capsys.readouterr().err
    pathwise = ["--horizons", "0", "--through", "pathwise", *OPTIONS[3:]]
    assert main(["gradient-error", str(tmp_path), *pathwise]) == 0
    table = pd.read_csv(tmp_path / "gradient-error.csv").set_index(["part", "seed"])
    assert set(table["horizon"]) == {0}
    for seed in (3, 4):
        assert table.loc[("model", seed), "l2_relative"] == 0.0
        total, critic = (table.loc[part, seed] for part in ("total", "critic_and_truncation"))
        assert total["l2_relative"] == critic["l2_relative"] > 0.0


def test_a_run_before_its_first_fit_is_named(tmp_path, capsys):
    trainer = tiny_trainer((3,), tiny_config("maac", random_rollouts=2), tiny_training(CHEETAH))
    trainer.rollout()
    config = to_dict(trainer.config)
    identity = {"task": CHEETAH, "algorithm": "maac", "seeds": [3], "config": config}
    run = RunDirectory(tmp_path, identity, {"commit": "abc"})
    run.save(capture(trainer))
    run.close()
    trainer.close()
    assert main(["gradient-error", str(tmp_path), *OPTIONS]) == 2
    assert "has fitted no model yet" in capsys.readouterr().err


def test_other_tasks_missing_runs_and_missing_checkpoints_are_named(tmp_path, capsys):
    assert main(["gradient-error", str(tmp_path / "pendulum")]) == 2
    assert "holds no run: config.json is missing" in capsys.readouterr().err
    make_run(tmp_path / "other", task="HalfCheetah-v5")
    assert main(["gradient-error", str(tmp_path / "other")]) == 2
    assert "task 'HalfCheetah-v5' has no true dynamics" in capsys.readouterr().err
    identity = {"task": CHEETAH, "algorithm": "maac", "seeds": [0], "config": {}}
    RunDirectory(tmp_path / "new", identity, {}).close()
    assert main(["gradient-error", str(tmp_path / "new")]) == 2
    assert "has no checkpoint yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--samples", "3"], "samples must be at least 4, got 3"),
        (["--reference-steps", "0"], "reference_steps must be at least 1, got 0"),
        (["--reference-steps", "5"], "reference_steps must be at least the longest horizon, 10"),
        (["--horizons", "-1"], "horizons must be one or more, each at least 0"),
        (["--replicates", "1"], "replicates must be at least 2 for score_function, got 1"),
        (
            ["--through", "pathwise", "--replicates", "0"],
            "replicates must be at least 1 for pathwise, got 0",
        ),
    ],
)
def test_dials_that_give_no_numbers_are_refused(trained, capsys, options, complaint):
    assert main(["gradient-error", str(trained), *options]) == 2
    assert complaint in capsys.readouterr().err


def test_the_longest_horizon_may_be_the_references_length(trained):
    table = gradient_error(trained, replace(SMALL, horizons=(3,)))
    assert set(table["horizon"]) == set(table["reference_steps"]) == {3}


@pytest.mark.parametrize(
    "dial",
    [{"samples": 4.5}, {"reference_steps": 20.5}, {"replicates": 2.5}, {"horizons": (1.5,)}],
)
def test_counts_are_whole(dial):
    with pytest.raises(ValueError, match=f"{next(iter(dial))} must be whole"):
        Measurement(**dial)


def test_a_measurement_with_other_dials_is_not_replaced(trained, tmp_path, capsys):
    path = tmp_path / "run"
    shutil.copytree(trained, path)
    (path / "gradient-error.csv").unlink(missing_ok=True)
    command = ["gradient-error", str(path), *OPTIONS]
    assert main(command) == 0
    before = (path / "gradient-error.csv").read_bytes()
    assert main([*command, "--replicates", "4"]) == 2
    assert "holds results with replicates 3, not 4: rename it" in capsys.readouterr().err
    assert main([*command, "--seed", "1"]) == 2
    assert "holds results with random_seed 0, not 1: rename it" in capsys.readouterr().err
    assert main([*command, "--horizons", "2"]) == 2
    assert "also holds the horizons 0: rename it to keep them" in capsys.readouterr().err
    assert (path / "gradient-error.csv").read_bytes() == before


def test_a_file_from_before_a_dial_was_recorded_is_compared_by_the_others(
    trained, tmp_path, capsys
):
    path = tmp_path / "run"
    shutil.copytree(trained, path)
    command = ["gradient-error", str(path), *OPTIONS]
    dials = replace(SMALL, through="score_function", replicates=3)
    gradient_error(path, dials).to_csv(path / "gradient-error.csv", index=False)
    assert main([*command, "--replicates", "4"]) == 2
    assert "holds results with replicates 3, not 4: rename it" in capsys.readouterr().err
    assert main(command) == 0
    assert set(pd.read_csv(path / "gradient-error.csv")["random_seed"]) == {0}
