"""`maac-bench evaluate`: the policies of a run directory, tested."""

import json
import math
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from maac_bench.__main__ import main
from maac_bench.checkpoint import capture
from maac_bench.config import to_dict
from maac_bench.episodes import Episodes
from maac_bench.evaluation import run_episode
from maac_bench.planning import PlannerSettings
from maac_bench.run import RunDirectory
from maac_bench.run_evaluation import OpenRun, begins_with, evaluate_run, open_run
from maac_bench.run_records import read_identity
from tests.maac_bench.agents import make_record
from tests.maac_bench.trainers import PENDULUM, tiny_config, tiny_trainer, tiny_training


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """A run of two seeds after its random rollout, and its trainer."""
    monkeypatch.setattr(
        "maac_bench.run_evaluation.make_training_task", lambda name: tiny_training(name)
    )
    trainer, config = tiny_trainer((3, 4)), to_dict(tiny_config())
    trainer.rollout()
    identity = {"task": PENDULUM, "algorithm": "maac", "seeds": [3, 4], "config": config}
    run = RunDirectory(tmp_path, identity, {})
    run.save(capture(trainer))
    run.close()
    yield tmp_path, trainer
    trainer.close()


def test_the_newest_policies_are_tested_and_the_numbers_repeat(trained):
    path, trainer = trained
    done = []
    table = evaluate_run(open_run(path), 2, on_episode=lambda: done.append("episode"))
    assert done == ["episode"] * 2
    assert (table["task"] == PENDULUM).all()
    assert table["episode"].tolist() == [0, 0, 1, 1]
    assert table["seed"].tolist() == [3, 4, 3, 4]
    assert (table["rollout"] == 1).all()
    assert (table["steps"] == 20).all()
    again = evaluate_run(open_run(path), 2)
    timed = ["ms_per_decision"]
    pd.testing.assert_frame_equal(again.drop(columns=timed), table.drop(columns=timed))
    environments = Episodes(tiny_training().make, [3, 4], "test")
    record = run_episode(trainer.agent.policy.mean_action, environments)
    assert table["return"][:2].tolist() == pytest.approx(record.returns.tolist())
    environments.close()


def test_steps_are_a_seeds_own_and_time_is_shared_by_all_decisions(trained, monkeypatch):
    alive = torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    record = make_record(None, None, torch.ones(4, 2), alive, terminated=torch.tensor([0.0, 1.0]))
    clock = iter([100.0, 101.0, 200.0, 200.5])
    module = "maac_bench.run_evaluation"
    monkeypatch.setattr(f"{module}.run_episode", lambda policy, environments: record)
    monkeypatch.setattr(f"{module}.time", SimpleNamespace(perf_counter=lambda: next(clock)))
    table = evaluate_run(open_run(trained[0]), 2)
    assert table["steps"].tolist() == table["return"].tolist() == [4, 2, 4, 2]
    assert table["ms_per_decision"].tolist() == [250.0, 250.0, 125.0, 125.0]


def test_every_episode_has_a_decider_of_its_own_and_planned_ones_are_marked(trained, monkeypatch):
    asked = []

    def decider(run, planner, episode):
        asked.append((planner, episode))
        return run.agent.policy.mean_action

    monkeypatch.setattr(OpenRun, "decider", decider)
    run, planner = open_run(trained[0]), PlannerSettings()
    planned, plain = evaluate_run(run, 3, planner), evaluate_run(run, 2)
    assert asked == [(planner, 0), (planner, 1), (planner, 2), (None, 0), (None, 1)]
    assert (planned["mpc"] == 1).all()
    assert (plain["mpc"] == 0).all()


def test_the_command_writes_the_table_and_prints_the_mean(trained, capsys):
    path, _ = trained
    assert main(["evaluate", str(path), "--episodes", "2"]) == 0
    table = pd.read_csv(path / "evaluation.csv")
    assert f"seed 3: {table['return'][::2].mean():.1f}" in capsys.readouterr().out


def test_a_shorter_evaluation_of_the_same_policies_does_not_replace_a_longer_one(trained, capsys):
    path, _ = trained
    assert main(["evaluate", str(path), "--episodes", "2"]) == 0
    longer = (path / "evaluation.csv").read_bytes()
    assert main(["evaluate", str(path), "--episodes", "1"]) == 0
    assert "evaluation.csv stays: it has these episodes and more" in capsys.readouterr().out
    assert (path / "evaluation.csv").read_bytes() == longer
    other = pd.read_csv(path / "evaluation.csv")
    for column, change in (("return", 1.0), ("rollout", 1), ("episode", 5)):
        changed = other.assign(**{column: other[column] + change})
        changed.to_csv(path / "evaluation.csv", index=False)
        assert main(["evaluate", str(path), "--episodes", "1"]) == 0
        assert len(pd.read_csv(path / "evaluation.csv")) == 2, column
    for damaged in ("", "seed\n3\n3\n3\n", other.assign(seed="x").to_csv(index=False)):
        (path / "evaluation.csv").write_text(damaged)
        assert main(["evaluate", str(path), "--episodes", "1"]) == 0
        assert set(pd.read_csv(path / "evaluation.csv")["seed"]) == {3, 4}
    broken = other.assign(**{"return": [math.nan, *other["return"][1:]]})
    assert begins_with(broken, broken[:2])
    assert not begins_with(broken, other[:2])


def test_the_spreads_printed_are_those_of_a_sample(trained, capsys, monkeypatch):
    table = pd.DataFrame({"seed": (3, 3, 4, 4), "return": (1.0, 3.0, 5.0, 9.0)})
    table["ms_per_decision"] = 0.75
    monkeypatch.setattr("maac_bench.cli.runs.evaluate_run", lambda *_arguments: table)
    assert main(["evaluate", str(trained[0]), "--episodes", "2"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "seed 3: 2.0 ± 1.4",
        "seed 4: 7.0 ± 2.8",
        "return 4.5 ± 3.5 over 2 seeds, 2 episodes each, 0.75 ms per decision",
        "± is the standard deviation of episodes, and of the seeds' means",
    ]


def test_options_of_a_planner_that_is_not_used_are_refused(trained, capsys):
    path, _ = trained
    assert main(["evaluate", str(path), "--episodes", "1", "--planner.horizon", "3"]) == 2
    assert "planner options do nothing without --mpc" in capsys.readouterr().err
    assert not (path / "evaluation.csv").exists()


def test_the_table_of_a_checkpoint_that_was_asked_for_has_its_own_file(trained):
    path, _ = trained
    assert main(["evaluate", str(path), "--episodes", "1"]) == 0
    newest = (path / "evaluation.csv").read_bytes()
    assert main(["evaluate", str(path), "--episodes", "2", "--rollout", "1"]) == 0
    assert (path / "evaluation.csv").read_bytes() == newest
    assert set(pd.read_csv(path / "evaluation-1.csv")["rollout"]) == {1}


def test_a_return_that_is_not_finite_is_said_and_not_left_out(trained, capsys, monkeypatch):
    path, _ = trained
    play, count = run_episode, []

    def broken(policy, environments):
        record = play(policy, environments)
        count.append(0)
        if len(count) == 2:
            record.rewards[3, 1] = math.nan
        return record

    monkeypatch.setattr("maac_bench.run_evaluation.run_episode", broken)
    assert main(["evaluate", str(path), "--episodes", "3"]) == 2
    printed = capsys.readouterr()
    assert "seed 4: nan ± nan\n" in printed.out
    assert "return nan ± nan over 2 seeds" in printed.out
    assert "the return is not finite: seed 4 in episode 1." in printed.err
    assert pd.read_csv(path / "evaluation.csv")["return"].isna().sum() == 1


def test_every_episode_is_planned_with_noise_of_its_own(trained, monkeypatch):
    path, _ = trained
    monkeypatch.setattr(
        "maac_bench.run_evaluation.Planner",
        lambda agent, world, planner, noise: SimpleNamespace(mean_action=noise.normal(3)),
    )
    run = open_run(path)
    first, again, second = (run.decider(PlannerSettings(), episode) for episode in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_a_folder_of_runs_is_no_run_and_they_are_named(trained, tmp_path):
    path, _ = trained
    inside = path / "moved"
    inside.mkdir()
    (path / "config.json").rename(inside / "config.json")
    with pytest.raises(ValueError, match=f"config.json is missing; below it: {inside}$"):
        open_run(path)
    with pytest.raises(ValueError, match="holds no run: it is no folder"):
        open_run(inside / "config.json")


def test_a_configuration_that_is_not_the_checkpoints_is_refused(trained, capsys):
    path, _ = trained
    assert open_run(str(path)).rollouts == 1
    text = (path / "config.json").read_text()
    hidden = json.loads(text)["config"]["actor"]["hidden"]
    identity = json.loads(text)
    identity["config"]["actor"]["hidden"] = [width + 1 for width in hidden]
    (path / "config.json").write_text(json.dumps(identity))
    assert main(["evaluate", str(path)]) == 2
    assert "the checkpoint does not fit the run's task and" in capsys.readouterr().err


@pytest.mark.parametrize("episodes", ["0", "-1"])
def test_no_episodes_are_refused(trained, capsys, episodes):
    assert main(["evaluate", str(trained[0]), "--episodes", episodes]) == 2
    assert f"episodes must be at least 1, got {episodes}" in capsys.readouterr().err


def test_what_is_no_run_or_has_no_checkpoint_is_named(tmp_path, capsys):
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "holds no run: config.json is missing" in capsys.readouterr().err
    RunDirectory(
        tmp_path, {"task": PENDULUM, "algorithm": "maac", "seeds": [0], "config": {}}, {}
    ).close()
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "has no checkpoint yet" in capsys.readouterr().err


def test_an_evaluation_of_as_many_episodes_is_written_again(trained, capsys):
    path, _ = trained
    table = evaluate_run(open_run(path), 1)
    assert not begins_with(table, table)
    assert main(["evaluate", str(path), "--episodes", "1"]) == 0
    (path / "evaluation.csv").write_text(
        (path / "evaluation.csv").read_text().replace("ms_per_decision", "other")
    )
    assert main(["evaluate", str(path), "--episodes", "1"]) == 0
    assert "stays" not in capsys.readouterr().out
    assert "ms_per_decision" in pd.read_csv(path / "evaluation.csv")


def test_the_policies_of_a_checkpoint_that_was_asked_for_are_opened(trained):
    path, trainer = trained
    early = [p.detach().clone() for p in trainer.agent.policy.parameters]
    trainer.rollout()
    run = RunDirectory(path, read_identity(path), {})
    run.save(capture(trainer))
    run.close()
    newest, earlier = open_run(path), open_run(path, 1)
    assert (newest.rollouts, earlier.rollouts) == (2, 1)
    for mine, its in zip(earlier.agent.policy.parameters, early, strict=True):
        assert torch.equal(mine, its)
    assert not torch.equal(newest.agent.policy.parameters[0], early[0])


def test_the_time_of_a_decision_is_a_median(trained, capsys, monkeypatch):
    table = pd.DataFrame({"seed": (3, 3, 3), "return": (1.0, 2.0, 3.0)})
    table["ms_per_decision"] = (0.25, 0.75, 99.0)
    monkeypatch.setattr("maac_bench.cli.runs.evaluate_run", lambda *_arguments: table)
    assert main(["evaluate", str(trained[0]), "--episodes", "3"]) == 0
    assert "0.75 ms per decision" in capsys.readouterr().out


def test_a_directory_that_cannot_be_written_is_named_before_the_work(trained, capsys, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("maac_bench.cli.runs.require_writable", refuse)
    monkeypatch.setattr("maac_bench.cli.runs.evaluate_run", pytest.fail)
    assert main(["evaluate", str(trained[0])]) == 1
    assert f"Permission denied: {trained[0]}" in capsys.readouterr().err


def test_where_no_video_can_be_written_nothing_is_evaluated(trained, capsys, monkeypatch):
    monkeypatch.setattr("maac_bench.cli.runs.evaluate_run", lambda *_: pytest.fail("evaluated"))
    path, _ = trained
    (path / "file").touch()
    assert main(["evaluate", str(path), "--video", str(path / "file" / "film.gif")]) == 1
    assert "file" in capsys.readouterr().err


def test_environments_are_freed_after_an_evaluation(trained, monkeypatch):
    closed, run, close = [], open_run(trained[0]), Episodes.close
    monkeypatch.setattr(Episodes, "close", lambda episodes: closed.append(0) or close(episodes))
    evaluate_run(run, 1)
    assert closed == [0]


def test_results_of_another_planner_are_not_replaced(trained, capsys, monkeypatch):
    table = pd.DataFrame({"seed": (3, 4), "return": (1.0, 2.0), "ms_per_decision": (0.1, 0.1)})
    monkeypatch.setattr("maac_bench.cli.runs.evaluate_run", lambda *_arguments: table)
    command = ["evaluate", str(trained[0]), "--mpc", "--planner.horizon"]
    assert main([*command, "2"]) == 0
    assert set(pd.read_csv(trained[0] / "evaluation-mpc.csv")["planner_horizon"]) == {2}
    assert main([*command, "2"]) == 0
    assert main([*command, "3"]) == 2
    said = capsys.readouterr().err
    assert "holds results with planner_horizon 2, not 3: rename it to keep both" in said
    assert set(pd.read_csv(trained[0] / "evaluation-mpc.csv")["planner_horizon"]) == {2}


def test_a_seed_that_stopped_is_said_to_be_left_out(trained, capsys, monkeypatch):
    table = pd.DataFrame({"seed": (4,), "return": (1.0,), "ms_per_decision": (0.1,)})
    monkeypatch.setattr("maac_bench.cli.runs.evaluate_run", lambda *_arguments: table)
    assert main(["evaluate", str(trained[0])]) == 0
    assert "left out: seed 3 stopped in training; see its failure.json" in capsys.readouterr().out
