"""`maac-bench gradient-error`: a run directory's actor gradient against the true dynamics."""

import json
import shutil
from dataclasses import replace

import pandas as pd
import pytest
import torch

from maac_bench.__main__ import main
from maac_bench.gradient_parts import PARTS, horizon_gradients
from maac_bench.run import RunDirectory
from maac_bench.run_checkpoints import require_checkpoint
from maac_bench.run_gradient_error import (
    SUMMARY,
    Measurement,
    gradient_error,
    summary,
)
from maac_bench.run_measurement import actor_setting, blocks, true_dynamics
from maac_bench.run_records import read_identity
from maac_bench.streams import Streams
from maac_bench.tasks import make_training_task
from tests.maac_bench.measured_runs import CHEETAH, OPTIONS, make_run
from tests.maac_bench.trainers import PENDULUM

SMALL = Measurement((0, 2), "pathwise", samples=4, reference_steps=3)


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
    assert not table.drop(columns="step_back").isna().any().any()
    without_model = table[(table["horizon"] == 0) & (table["part"] == "model")]
    assert (without_model["l1_error"] == 0.0).all()
    with_model = table[(table["horizon"] == 2) & (table["part"] == "model")]
    assert (with_model["l1_error"] > 0.0).all()
    pd.testing.assert_frame_equal(gradient_error(trained, SMALL), table)
    other = gradient_error(trained, replace(SMALL, seed=1))
    assert (other["l1_error"] != table["l1_error"]).sum() >= len(table) - 2


def test_every_block_of_rollouts_is_reported(trained, monkeypatch):
    monkeypatch.setattr("maac_bench.run_measurement._LARGEST_BLOCK", 8)
    shares = []
    gradient_error(trained, replace(SMALL, replicates=6), on_rollouts=shares.append)
    assert shares == pytest.approx([1 / 6] * 6)


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
    assert not table.drop(columns="step_back").isna().any().any()
    model = table[(table["part"] == "model") & (table["horizon"] == 2)]
    assert (model["l1_error"] > 0.0).all()
    true = true_dynamics(make_training_task(task))
    whole = actor_setting
    monkeypatch.setattr(
        "maac_bench.run_gradient_error.actor_setting",
        lambda agent, world, _model, dynamics: whole(agent, world, true, dynamics),
    )
    table = gradient_error(tmp_path, SMALL)
    assert (table[table["part"] == "model"]["l1_error"] == 0.0).all()


def test_score_functions_smooth_the_same_parts(trained, monkeypatch):
    """Without a model step the model part is the same gradient, estimated in two ways."""
    monkeypatch.setattr("maac_bench.run_measurement._LARGEST_BLOCK", 4 * 60)
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


def ones(setting):
    """A gradient for each of four start states, [1, 4, parameters]."""
    return torch.ones(1, 4, sum(p[0].numel() for p in setting.policy.parameters))


def test_parts_are_compared_with_what_they_are_errors_of(trained, monkeypatch):
    def scaled(setting, *_arguments):
        sizes = {"learned": 8.0, "true": 4.0, "tail": 2.0, "reference": 1.0}
        one = ones(setting)
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

    monkeypatch.setattr("maac_bench.run_measurement.Streams", spy)
    gradient_error(trained, replace(SMALL, horizons=(2,)))
    assert len(set(names)) == 4  # displacement, starts, noise, resampling


def test_a_block_counts_as_many_times_as_it_has_replicates(trained, monkeypatch):
    """Seven are four and three: a mean over blocks would be 3.5."""

    def sized(setting, start, *_rest):
        one = ones(setting)
        same = dict.fromkeys(("true", "tail", "reference"), one)
        return {2: {"learned": start.shape[2] * one, **same}}

    monkeypatch.setattr("maac_bench.run_measurement._LARGEST_BLOCK", 4 * 4)
    monkeypatch.setattr("maac_bench.run_gradient_error.horizon_gradients", sized)
    table = gradient_error(trained, replace(SMALL, replicates=7)).set_index("part")["norm_ratio"]
    assert table["total"].tolist() == pytest.approx([(4 * 4 + 3 * 3) / 7] * 2)
    assert table["truncation"].tolist() == pytest.approx([1.0, 1.0])


def test_the_summary_is_a_mean_over_seeds():
    pairs = ((0.25, 0.75), (0.1, 0.3), (1, 2), (3, 7), (10, 30), (0, 1))
    values = dict(zip(SUMMARY, pairs, strict=True))
    table = pd.concat(
        pd.DataFrame({"seed": (3, 4), "horizon": 2, "part": part, "reference_steps": 20, **values})
        for part in PARTS
    )
    first, *shown = [line.split() for line in summary(table).splitlines() if line.startswith("2 ")]
    assert first == ["2", "0.5", "0.2", "20"]
    assert shown == [
        ["2", *[mean] * len(PARTS)] for mean in ("0.5", "0.2", "1.5", "5", "20", "0.5")
    ]


def test_a_part_without_numbers_is_shown_without_any(trained):
    table = gradient_error(trained, SMALL)
    table.loc[table["part"] == "model", "norm_ratio"] = float("nan")
    assert "NaN" in summary(table)


def test_a_gradient_that_is_not_finite_is_named(trained, monkeypatch, capsys):
    def broken(setting, *_arguments):
        gradient = ones(setting)
        if setting.temperature == require_checkpoint(trained).tensors["temperature.0"][1].exp():
            gradient[0, 2, 0] = torch.inf
        return {2: dict.fromkeys(("learned", "true", "tail", "reference"), gradient)}

    monkeypatch.setattr("maac_bench.run_gradient_error.horizon_gradients", broken)
    assert main(["gradient-error", str(trained), *OPTIONS]) == 2
    message = "gradient 'learned' at H = 2 is not finite for 1 start states, the first of them of"
    assert f"{message} seed 4" in capsys.readouterr().err


def test_blocks_hold_all_replicates():
    for replicates, samples in ((1, 64), (2, 20_000), (7, 5000), (256, 64), (1000, 4)):
        sizes = blocks(replicates, samples)
        assert sum(sizes) == replicates
        assert min(sizes) >= min(2, replicates)
        assert max(sizes) * samples <= 8192 or max(sizes) <= 3


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
    monkeypatch.setattr("maac_bench.cli.gradients.never", None)
    assert main(["gradient-error", str(trained), *OPTIONS]) == 0
    assert f"episodes of {CHEETAH} may end: gradients" in capsys.readouterr().out


def test_the_results_of_a_checkpoint_that_was_asked_for_have_their_own_names(trained):
    assert main(["gradient-error", str(trained), "--rollout", "2", *OPTIONS]) == 0
    assert set(pd.read_csv(trained / "gradient-error-2.csv")["rollout"]) == {2}
    assert (trained / "gradient-error-2.png").stat().st_size > 10_000
