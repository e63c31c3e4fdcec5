"""`maac-bench gradient-error` on runs and dials that it cannot measure, or only in part."""

import shutil
from dataclasses import replace

import pandas as pd
import pytest

from maac_bench.__main__ import main
from maac_bench.checkpoint import capture
from maac_bench.config import to_dict
from maac_bench.run import RunDirectory
from maac_bench.run_gradient_error import Measurement, gradient_error
from tests.maac_bench.measured_runs import CHEETAH, OPTIONS, make_run
from tests.maac_bench.trainers import tiny_config, tiny_trainer, tiny_training

SMALL = Measurement((0, 2), "pathwise", samples=4, reference_steps=3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"))


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
    assert "holds no run: there is no such folder" in capsys.readouterr().err
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
        (["--seed", "-1"], "maac-bench: seed must be at least 0, got -1"),
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
