import json

import pandas as pd
import pytest

from reports import units
from reports.files import ROOT
from reports.style import use_style
from reports.table1 import evaluation
from reports.table1.figure import draw
from reports.table1.report import PLANNER, PROFILES, _age, collect, summary
from reports.training_runs import identity
from reports.units import Experiment


def episodes() -> pd.DataFrame:
    rows = [
        ("quick", "a/T-v0", "maac", seed, 7, mpc, episode, 10.0 * seed + episode + 5.0 * mpc, 200)
        for mpc in (0, 1)
        for seed in (0, 1)
        for episode in (0, 2)
    ]
    names = ["profile", "task", "algo", "seed", "rollout", "mpc", "episode", "return", "steps"]
    return pd.DataFrame(rows, columns=names)


def at_once(experiment: Experiment, _runs) -> pd.DataFrame:
    """Every unit here, none kept."""
    return pd.concat([unit() for unit in experiment.units.values()], ignore_index=True)


@pytest.fixture
def evaluated(monkeypatch):
    """Collecting takes these columns of every evaluation, and policies after 7 episodes."""
    module, columns, planners = "reports.table1.report", {"ms_per_decision": 1.0}, []

    def evaluate(task, count, planner):
        planners.append(planner)
        rows = episodes().drop(columns="profile")
        rows = rows[rows["mpc"] == (planner is not None)]
        return rows.assign(task=task, **columns)

    tasks = {run.name: run.task for run in PROFILES["quick"].runs()}
    monkeypatch.setattr(f"{module}.require_run", lambda run, folder: None)
    monkeypatch.setattr(f"{module}.commits", lambda plan, folder: {})
    monkeypatch.setattr(
        "reports.table1.evaluation.open_run",
        lambda path, rollout: tasks[f"{path.parent.name}/{path.name}"],
    )
    monkeypatch.setattr("reports.table1.evaluation.evaluate_run", evaluate)
    monkeypatch.setattr(f"{module}.run_units", at_once)
    monkeypatch.setattr(f"{module}.checkpoint_rollouts", lambda path: [7])
    monkeypatch.setattr(f"{module}.require_rollout", lambda path, rollout: 7)
    monkeypatch.setattr(f"{module}.checkpoint_digest", lambda path, rollout: "0123456789abcdef")
    return columns, planners


def test_the_summary_is_over_seeds_not_episodes():
    table = summary(episodes()).set_index("mpc")
    assert table["mean"].tolist() == [6.0, 11.0]
    assert table["sd"].tolist() == pytest.approx([50.0**0.5] * 2)
    assert table["seeds"].tolist() == [2, 2]
    assert table["trained_episodes"].tolist() == [7, 7]


def test_the_figure_repeats(tmp_path):
    episodes().to_csv(tmp_path / "data.csv", index=False)
    configuration = {"profile": "quick", "label": "a label", "episodes": 2, "seeds": [0, 1]}
    runs = {"T-v0/maac": "0123456789abcdef"}
    record = {"commit": "abc", "configuration": configuration, "runs": runs}
    (tmp_path / "provenance.json").write_text(json.dumps(record))
    use_style()
    draw(tmp_path)
    first = (tmp_path / "table1.png").read_bytes()
    draw(tmp_path)
    assert (tmp_path / "table1.png").read_bytes() == first


def test_policies_that_are_not_there_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"Pendulum-v0/maac holds no run"):
        collect("quick", tmp_path / "out", tmp_path)
    with pytest.raises(ValueError, match="unknown profile 'huge'"):
        collect("huge", tmp_path / "out", tmp_path)


def test_another_run_in_the_place_of_the_planned_one_is_refused(tmp_path):
    home = tmp_path / "training" / "tiny" / "Pendulum-v0" / "maac"
    home.mkdir(parents=True)
    (plan, *_) = PROFILES["quick"].runs()
    other = {**identity(plan), "algorithm": "maac-h0"}
    (home / "config.json").write_text(json.dumps(other))
    with pytest.raises(ValueError, match=r"holds another run: .*maac-h0"):
        collect("quick", tmp_path / "out", tmp_path)


def test_the_summary_names_the_longest_training_of_its_policies():
    data = episodes()
    data.loc[data["seed"] == 1, "rollout"] = 5
    assert summary(data)["trained_episodes"].tolist() == [7, 7]


def test_every_policy_acts_by_itself_and_planned_for(tmp_path, evaluated):
    _, planners = evaluated
    assert collect("quick", tmp_path, tmp_path)
    assert planners == 2 * [None, PLANNER]
    data = pd.read_csv(tmp_path / "data.csv")
    assert (data.groupby(["task", "mpc"]).size() == 4).all()
    assert set(data["mpc"]) == {0, 1}


def test_how_far_policies_are_is_said_where_they_are_not_at_the_end(tmp_path, evaluated):
    columns, _ = evaluated
    for age, pendulum in ((7, ["Pendulum-v0/maac: policies after 7 of 10 episodes"]), (10, [])):
        columns["rollout"] = age
        assert collect("quick", tmp_path, tmp_path)
        record = json.loads((tmp_path / "provenance.json").read_text())
        cart_pole = f"CartPole-v0/maac: policies after {age} of 25 episodes"
        stopped = [
            f"{name}/maac seed {seed}: stopped early, its policy is not tested"
            for name in ("Pendulum-v0", "CartPole-v0")
            for seed in (2, 3, 4)
        ]
        assert record["unfinished"] == [*pendulum, cart_pole, *stopped]


def test_a_return_that_is_not_finite_is_not_published(tmp_path, evaluated):
    columns, _ = evaluated
    columns["return"] = float("nan")
    with pytest.raises(FloatingPointError, match="the return is not finite: seed 0 in episode 0"):
        collect("quick", tmp_path / "out", tmp_path)
    assert not (tmp_path / "out").exists()


def test_timings_are_written_with_other_data_and_not_with_the_same(tmp_path, evaluated):
    columns, _ = evaluated

    def timings():
        return set(pd.read_csv(tmp_path / "timings.csv")["ms_per_decision"])

    assert collect("quick", tmp_path, tmp_path)
    assert timings() == {1.0}
    columns["ms_per_decision"] = 2.0
    assert not collect("quick", tmp_path, tmp_path)
    assert timings() == {1.0}
    columns["return"] = 3.0
    assert collect("quick", tmp_path, tmp_path)
    assert timings() == {2.0}


def test_policies_as_far_as_the_published_ones_are_evaluated_again(
    tmp_path, monkeypatch, evaluated
):
    assert collect("quick", tmp_path, tmp_path)
    monkeypatch.setattr("reports.table1.report.checkpoint_rollouts", lambda path: [5, 7])
    assert not collect("quick", tmp_path, tmp_path)
    monkeypatch.setattr("reports.table1.report.checkpoint_rollouts", lambda path: [5, 6])
    with pytest.raises(ValueError, match=r"after 7 episodes, and .* has 6: train it on first"):
        collect("quick", tmp_path, tmp_path)


def test_results_of_further_policies_are_not_overwritten(tmp_path, monkeypatch):
    monkeypatch.setattr("reports.table1.report.require_run", lambda run, folder: None)
    out = tmp_path / "out"
    out.mkdir()
    table = summary(episodes().assign(task="maac_bench/Pendulum-v0"))
    table.to_csv(out / "summary.csv", index=False)
    with pytest.raises(ValueError, match=r"after 7 episodes, and .* has 0: train it on first"):
        collect("quick", out, tmp_path)


def test_the_policies_are_those_of_the_learning_curves():
    """As committed: the same runs, from the same commits."""
    for profile in ("", "mujoco"):
        planned, curves = (
            json.loads((ROOT / "reports" / name / profile / "provenance.json").read_text())["runs"]
            for name in ("table1", "ablations")
        )
        assert planned == {name: curves[name] for name in planned}


def test_policies_of_a_run_that_has_gone_on_are_those_of_the_profile_s_end(monkeypatch, tmp_path):
    run = PROFILES["quick"].runs()[0]
    held = [run.rollouts, 2 * run.rollouts]
    monkeypatch.setattr("reports.table1.report.checkpoint_rollouts", lambda path: held)
    monkeypatch.setattr("reports.table1.report.require_rollout", lambda path, rollout: held[-1])
    assert _age(run, tmp_path) == run.rollouts
    held.pop(0)
    assert _age(run, tmp_path) == 2 * run.rollouts


def test_evaluations_that_are_there_are_not_made_again(tmp_path, monkeypatch, evaluated):
    """Interrupted at the third of four: the next call makes that one and the last."""
    _, planners = evaluated
    evaluate, broken = evaluation.evaluate_run, []

    def interrupted(*arguments):
        if len(planners) == 2 and not broken:
            broken.append(True)
            raise KeyboardInterrupt
        return evaluate(*arguments)

    def one_by_one(jobs, _owner, on_done, *_):
        for name, job in jobs.items():
            on_done(name, job())

    monkeypatch.setattr("reports.table1.evaluation.evaluate_run", interrupted)
    monkeypatch.setattr("reports.table1.report.run_units", units.run)
    monkeypatch.setattr("reports.units.complete", one_by_one)
    with pytest.raises(KeyboardInterrupt):
        collect("quick", tmp_path / "out", tmp_path)
    assert not (tmp_path / "out").exists()
    assert collect("quick", tmp_path / "out", tmp_path)
    assert planners == 2 * [None, PLANNER]
    assert len(pd.read_csv(tmp_path / "out" / "data.csv")) == 16
