import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest

from maac_bench.config import ActorSettings, Config, CriticSettings, DataSettings
from maac_bench.model_fitting import ModelConfig
from reports import training_runs
from reports.ablations import figure
from reports.curve_report import CurveReport
from reports.style import use_style
from reports.training_profiles import Profile
from reports.training_runs import collect, episodes, run_all, train_one, unfinished

MAAC = Config(
    actor=ActorSettings(horizon=1, terminal_samples=1, hidden=(8,)),
    critic=CriticSettings(target="td", hidden=(8,)),
    model=ModelConfig(members=2, hidden=(8,), max_epochs=2),
    data=DataSettings(
        random_rollouts=1,
        updates_per_step=1,
        batch_size=16,
        branch_transitions=100,
        model_capacity=400,
    ),
)
SAC = replace(
    MAAC,
    actor=replace(MAAC.actor, horizon=0),
    data=replace(MAAC.data, model_share=0.0),
)


@dataclass(frozen=True)
class Miniature(Profile):
    def runs(self):
        configs = {"maac": MAAC, "sac": SAC}
        return tuple(replace(run, config=configs[run.algorithm]) for run in super().runs())


PROFILE = Miniature(
    tasks={"maac_bench/Pendulum-v0": 2},
    algorithms=("maac", "sac"),
    size="tiny",
    seeds=(0, 1),
    compiled=False,
    label="reduced: for tests",
)
REPORT = CurveReport("ablations", {"mini": PROFILE}, ("final", "area"))
TABLES = ("data.csv", "summary.csv", "timings.csv")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """Runs and report, trained by worker processes."""
    root = tmp_path_factory.mktemp("trained")
    assert REPORT.make_data("mini", root / "report", root / "runs")
    return root


@pytest.fixture
def copied(trained, tmp_path) -> Path:
    shutil.copytree(trained / "runs", tmp_path / "runs")
    return tmp_path / "runs"


def experiment(runs: Path) -> Path:
    return runs / "training" / "tiny"


def drop_row(directory: Path, seed: int, row: int = -1) -> None:
    path = directory / f"seed-{seed}" / "metrics.csv"
    rows = pd.read_csv(path, dtype=str)
    rows.drop(rows.index[row]).to_csv(path, index=False)


def test_the_table_holds_the_contract(trained):
    data = pd.read_csv(trained / "report" / "data.csv")
    columns = "profile task algo seed episode env_steps return temperature critic_bias"
    columns += " prediction_error_4 actor_gradient_cosine actor_gradient_norm target_weight_0"
    assert list(data.columns) == columns.split()
    assert len(data) == 2 * 2 * 2
    assert set(data["profile"]) == {"mini"}
    assert list(data["env_steps"]) == [200, 400] * 4
    assert data["return"].notna().all()
    learned = data[data["episode"] == 2].set_index(["algo", "seed"])["prediction_error_4"]
    assert learned["maac"].notna().all()
    assert learned["sac"].isna().all()


def test_training_again_gives_the_same_bytes(trained, tmp_path):
    for run in PROFILE.runs():
        assert train_one(run, experiment(tmp_path) / run.name, {"commit": "another"}) == ""
    REPORT.collect("mini", tmp_path / "report", tmp_path)
    for name in ("data.csv", "summary.csv"):
        first, second = (root / "report" / name for root in (trained, tmp_path))
        assert first.read_bytes() == second.read_bytes()


def test_finished_runs_are_not_trained_again(trained, tmp_path, monkeypatch):
    monkeypatch.delattr(training_runs, "complete")
    shutil.copytree(trained / "report", tmp_path / "report")
    before = {name: (tmp_path / "report" / name).read_bytes() for name in TABLES}
    assert not REPORT.make_data("mini", tmp_path / "report", trained / "runs")
    assert before == {name: (tmp_path / "report" / name).read_bytes() for name in TABLES}


def test_wall_clock_times_are_in_a_table_of_their_own(trained):
    timings = pd.read_csv(trained / "report" / "timings.csv")
    assert list(timings["algo"]) == ["maac", "sac"]
    assert (timings["env_steps"] == 400).all()
    assert (timings["seconds_per_1000_steps"] > 0).all()
    assert timings["update_share"].between(0, 1).all()
    for name in ("data.csv", "summary.csv"):
        assert "seconds" not in (trained / "report" / name).read_text()


def test_provenance_names_the_commit_of_every_run(trained):
    origin = json.loads((trained / "report" / "provenance.json").read_text())
    assert set(origin["runs"]) == {"Pendulum-v0/maac", "Pendulum-v0/sac"}
    assert {origin["commit"]} == set(origin["runs"].values())
    assert origin["configuration"]["label"] == "reduced: for tests"
    assert origin["unfinished"] == []


def test_runs_of_several_commits_say_so(copied, tmp_path):
    path = experiment(copied) / "Pendulum-v0" / "maac" / "provenance.json"
    path.write_text(json.dumps({"commit": "abc (with uncommitted changes)"}))
    REPORT.collect("mini", tmp_path / "report", copied)
    origin = json.loads((tmp_path / "report" / "provenance.json").read_text())
    assert origin["commit"] == "abc and 1 more (provenance.json)"


def test_runs_made_with_other_versions_say_so(copied, tmp_path):
    """As on another machine, whose tables are collected here."""
    file = experiment(copied) / "Pendulum-v0" / "maac" / "provenance.json"
    record = json.loads(file.read_text())
    record["packages"]["torch"] = "2.0.0"
    file.write_text(json.dumps({**record, "gpu": "Some GPU"}))
    found = training_runs.commits(PROFILE.runs(), experiment(copied))
    assert found["Pendulum-v0/maac"] == f"{record['commit']}, made with torch 2.0.0, Some GPU"
    assert found["Pendulum-v0/sac"] == record["commit"]
    alone = replace(PROFILE, algorithms=("maac",))
    CurveReport("ablations", {"mini": alone}, ("final",)).collect(
        "mini", tmp_path / "report", copied
    )
    origin = json.loads((tmp_path / "report" / "provenance.json").read_text())
    assert origin["commit"] == record["commit"]
    assert origin["runs"] == {"Pendulum-v0/maac": found["Pendulum-v0/maac"]}


def test_the_device_is_part_of_a_run(trained):
    """What a GPU trains is not what a CPU trains."""
    on_gpu = replace(PROFILE, device="cuda").runs()
    assert training_runs.identity(on_gpu[0])["device"] == "cuda"
    with pytest.raises(ValueError, match="holds another run"):
        collect(on_gpu, trained / "runs" / "training" / "tiny")


def test_unfinished_runs_are_named_and_not_filled_in(copied, tmp_path, capsys):
    drop_row(experiment(copied) / "Pendulum-v0" / "maac", 1)
    shutil.rmtree(experiment(copied) / "Pendulum-v0" / "sac")
    REPORT.collect("mini", tmp_path / "report", copied)
    output = capsys.readouterr().out
    assert "unfinished: Pendulum-v0/maac seed 1: 1 of 2 episodes" in output
    assert "unfinished: Pendulum-v0/sac seed 0: 0 of 2 episodes" in output
    assert "maac seed 0" not in output
    data = pd.read_csv(tmp_path / "report" / "data.csv")
    assert list(zip(data["seed"], data["episode"], strict=True)) == [(0, 1), (0, 2), (1, 1)]
    summary = pd.read_csv(tmp_path / "report" / "summary.csv")
    assert list(summary["n"]) == [1, 1]
    use_style()
    figure.draw(tmp_path / "report")


def test_a_run_that_is_not_at_hand_keeps_what_is_published_of_it(copied, trained, tmp_path, capsys):
    """The first run in the plan is the absent one: the order stays, and so do the bytes."""
    report = shutil.copytree(trained / "report", tmp_path / "report")
    origin = json.loads((report / "provenance.json").read_text())
    origin["runs"]["Pendulum-v0/maac"] = "another commit"
    (report / "provenance.json").write_text(json.dumps(origin))
    shutil.rmtree(experiment(copied) / "Pendulum-v0" / "maac")
    assert not REPORT.collect("mini", report, copied)
    for name in TABLES:
        assert (report / name).read_bytes() == (trained / "report" / name).read_bytes()
    assert "further than at hand: Pendulum-v0/maac, from commit another co" in (
        capsys.readouterr().out
    )
    drop_row(experiment(copied) / "Pendulum-v0" / "sac", 1)
    with pytest.raises(ValueError, match="no run that is further than what is published"):
        REPORT.collect("mini", report, copied)


def test_a_run_that_is_not_as_far_does_not_shorten_what_is_published(copied, trained, tmp_path):
    report = shutil.copytree(trained / "report", tmp_path / "report")
    drop_row(experiment(copied) / "Pendulum-v0" / "maac", 1)
    assert not REPORT.collect("mini", report, copied)
    assert (report / "data.csv").read_bytes() == (trained / "report" / "data.csv").read_bytes()


def edit(report, change):
    origin = json.loads((report / "provenance.json").read_text())
    change(origin)
    (report / "provenance.json").write_text(json.dumps(origin))


@pytest.mark.parametrize(
    "change",
    [
        lambda origin: origin["identities"]["Pendulum-v0/maac"].update(seeds=[0, 1, 2]),
        lambda origin: origin["identities"]["Pendulum-v0/maac"]["config"]["data"].update(
            updates_per_step=2
        ),
        lambda origin: origin.pop("identities"),
    ],
)
def test_published_runs_of_other_settings_are_not_kept(copied, trained, tmp_path, change):
    report = shutil.copytree(trained / "report", tmp_path / "report")
    edit(report, change)
    shutil.rmtree(experiment(copied) / "Pendulum-v0" / "maac")
    REPORT.collect("mini", report, copied)
    assert set(pd.read_csv(report / "data.csv")["algo"]) == {"sac"}


def test_tables_that_are_not_those_published_are_refused_where_they_would_be_kept(
    copied, trained, tmp_path
):
    """Finished runs are published over them: that mends an interrupted publication."""
    report = shutil.copytree(trained / "report", tmp_path / "report")
    with (report / "data.csv").open("a") as file:
        file.write("\n")
    shutil.copytree(report, tmp_path / "other")
    assert not REPORT.collect("mini", report, copied)
    assert (report / "data.csv").read_bytes() == (trained / "report" / "data.csv").read_bytes()
    shutil.rmtree(experiment(copied) / "Pendulum-v0" / "maac")
    with pytest.raises(ValueError, match=r"data\.csv is not the table .* restore both"):
        REPORT.collect("mini", tmp_path / "other", copied)


def test_missing_timings_are_written_again(copied, trained, tmp_path):
    report = shutil.copytree(trained / "report", tmp_path / "report")
    (report / "timings.csv").unlink()
    assert not REPORT.collect("mini", report, copied)
    assert (report / "timings.csv").exists()


def test_a_run_killed_before_its_last_checkpoint_is_not_finished(copied, monkeypatch):
    directory = experiment(copied) / "Pendulum-v0" / "sac"
    for path in (directory / "checkpoint").glob("rollout-000002.*"):
        path.unlink()
    begun = []
    monkeypatch.setattr(training_runs, "complete", lambda jobs, *_rest: begun.extend(jobs))
    run_all(PROFILE.runs(), experiment(copied))
    assert begun == ["Pendulum-v0/sac"]


def test_an_interrupted_run_continues_to_the_same_numbers(copied, trained, monkeypatch):
    """Cut back to the first checkpoint, as if killed during the second episode."""
    directory = experiment(copied) / "Pendulum-v0" / "sac"
    for path in (directory / "checkpoint").glob("rollout-000002.*"):
        path.unlink()
    for seed in (0, 1):
        drop_row(directory, seed)
    plan = PROFILE.runs()
    trained_now = []

    def here(jobs, _owner, on_done, _kept, on_wait):
        for name, job in jobs.items():
            on_done(name, job())
            trained_now.append(name)
        on_wait()

    monkeypatch.setattr(training_runs, "complete", here)
    run_all(plan, experiment(copied))
    assert trained_now == ["Pendulum-v0/sac"]
    assert unfinished(plan, collect(plan, experiment(copied))) == []
    wall_clock = list(training_runs.WALL_CLOCK)
    pd.testing.assert_frame_equal(
        collect(plan, experiment(copied)).drop(columns=wall_clock),
        collect(plan, experiment(trained / "runs")).drop(columns=wall_clock),
    )


def test_a_seed_that_stopped_for_good_is_not_tried_again(copied, monkeypatch):
    directory = experiment(copied) / "Pendulum-v0" / "sac"
    drop_row(directory, 1)
    (directory / "seed-1" / "failure.json").write_text("{}")
    monkeypatch.delattr(training_runs, "complete")
    run_all(PROFILE.runs(), experiment(copied))
    data = collect(PROFILE.runs(), experiment(copied))
    assert unfinished(PROFILE.runs(), data) == ["Pendulum-v0/sac seed 1: 1 of 2 episodes"]


def test_metrics_with_a_gap_are_not_collected(copied):
    drop_row(experiment(copied) / "Pendulum-v0" / "sac", 1, row=0)
    with pytest.raises(ValueError, match="has not each of its 1 evaluations in turn"):
        episodes(PROFILE.runs()[1], experiment(copied))


def test_longer_runs_are_cut_to_the_profile(trained):
    plan = [replace(run, rollouts=1) for run in PROFILE.runs()]
    assert set(collect(plan, experiment(trained / "runs"))["episode"]) == {1}


def test_a_directory_with_another_run_is_refused(trained):
    other = replace(SAC, critic=replace(SAC.critic, learning_rate=1e-3))
    plan = [replace(run, config=other) for run in PROFILE.runs() if run.algorithm == "sac"]
    message = r"holds another run: --critic.learning-rate is 0.0003 there and 0.001 here"
    with pytest.raises(ValueError, match=message):
        collect(plan, experiment(trained / "runs"))
    with pytest.raises(ValueError, match=message):
        run_all(plan, experiment(trained / "runs"))


def test_nothing_to_collect_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="holds no episode of these runs"):
        REPORT.collect("mini", tmp_path / "report", tmp_path / "runs")
    with pytest.raises(ValueError, match="unknown profile 'huge'"):
        REPORT.collect("huge", tmp_path / "report", tmp_path / "runs")


def test_drawing_again_gives_the_same_bytes(trained, tmp_path):
    shutil.copytree(trained / "report", tmp_path / "report")
    use_style()
    figure.draw(tmp_path / "report")
    first = {path.name: path.read_bytes() for path in (tmp_path / "report").iterdir()}
    assert {"ablations.png", "ablations.pdf"} <= set(first)
    figure.draw(tmp_path / "report")
    assert all((tmp_path / "report" / name).read_bytes() == data for name, data in first.items())


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        ("provenance.json", None, "missing or damaged"),
        ("provenance.json", "{", "missing or damaged"),
        ("provenance.json", "{}", "is damaged: it has no 'commit'"),
        ("provenance.json", '{"commit": "a", "continued": [1]}', "'continued' is no list"),
        ("seed-0/metrics.csv", "rollout,env_steps,return\n1,200,x\n", "is damaged"),
    ],
)
def test_a_damaged_run_is_named(copied, tmp_path, file, text, complaint):
    path = experiment(copied) / "Pendulum-v0" / "maac" / file
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(ValueError, match=rf"maac/{file} .*{complaint}|maac/{file} {complaint}"):
        REPORT.collect("mini", tmp_path / "report", copied)
    assert not (tmp_path / "report" / "data.csv").exists()
