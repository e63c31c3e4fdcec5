"""What a report keeps of its published runs and takes from those at hand, made up here."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from reports import training_runs
from reports.curve_report import CurveReport
from reports.provenance import publish
from reports.published_runs import Published, furthest, joined, read_published
from reports.training_profiles import Profile, directory
from reports.training_runs import TrainingRun, commits, identity, train_one

TASK = "maac_bench/Pendulum-v0"
PROFILE = Profile(
    tasks={TASK: 3},
    algorithms=("maac", "sac"),
    size="tiny",
    seeds=(0, 1),
    compiled=False,
    label="reduced: for tests",
)
MAAC, SAC = PROFILE.runs()
REPORT = CurveReport("ablations", {"mini": PROFILE}, ("final", "area"))


def make(
    run: TrainingRun, runs: Path, episodes: int, profile: Profile = PROFILE, **record: object
) -> Path:
    """The directory of a run with so many episodes of each seed, of 200 steps and 2 seconds."""
    folder = directory(profile, runs) / run.name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(identity(run)))
    (folder / "provenance.json").write_text(json.dumps({"commit": "abc", **record}))
    lines = [f"{k},{200 * k},{k},2,1,0.25,0.25" for k in range(1, episodes + 1)]
    parts = "seconds,seconds_update,seconds_model,seconds_branch"
    header = f"rollout,env_steps,return,{parts}"
    for seed in run.seeds:
        (folder / f"seed-{seed}").mkdir()
        (folder / f"seed-{seed}" / "metrics.csv").write_text("\n".join([header, *lines]) + "\n")
    return folder


def table(run: TrainingRun, episodes: int) -> pd.DataFrame:
    rows = [(seed, k) for seed in run.seeds for k in range(1, episodes + 1)]
    return pd.DataFrame(rows, columns=["seed", "episode"]).assign(task=run.task, algo=run.algorithm)


def test_times_of_a_kept_run_stand_beside_those_of_one_that_went_on(tmp_path):
    make(MAAC, tmp_path / "first", 3)
    make(SAC, tmp_path / "first", 1)
    assert REPORT.collect("mini", tmp_path / "report", tmp_path / "first")
    make(SAC, tmp_path / "second", 2)
    assert REPORT.collect("mini", tmp_path / "report", tmp_path / "second")
    times = pd.read_csv(tmp_path / "report" / "timings.csv").set_index("algo")
    assert times["env_steps"].to_dict() == {"maac": 600, "sac": 400}
    assert times["seconds"].to_dict() == {"maac": 6.0, "sac": 4.0}


def test_published_episodes_beyond_the_end_of_a_run_are_not_kept(tmp_path):
    data = pd.concat([table(MAAC, 3), table(SAC, 3)])
    known = {"runs": {}, "identities": {}}
    for run in (MAAC, SAC):
        known["runs"][run.name], known["identities"][run.name] = "abc", identity(run)
    publish({"data.csv": data}, tmp_path, {"commit": "abc", "configuration": {}, **known})
    kept = read_published([MAAC, replace(SAC, rollouts=2)], tmp_path).data
    assert kept.groupby("algo")["episode"].max().to_dict() == {"maac": 3, "sac": 2}
    (tmp_path / "data.csv").unlink()
    with pytest.raises(ValueError, match="restore both, or delete provenance"):
        read_published([MAAC], tmp_path)


def test_of_several_publications_the_furthest_is_kept_where_it_is_further():
    def published(episodes: int, commit: str) -> Published:
        return Published(table(MAAC, episodes), pd.DataFrame(), {MAAC.name: commit})

    sources = [published(2, "here"), published(3, "beside"), published(3, "too")]
    kept = furthest(sources, [MAAC, SAC], {MAAC.name: 5, SAC.name: 0})
    assert kept.commits == {MAAC.name: "beside"} and len(kept.data) == 6
    assert furthest(sources[:1], [MAAC], {MAAC.name: 3}).commits == {MAAC.name: "here"}
    assert furthest(sources, [MAAC], {MAAC.name: 6}).commits == {}
    assert furthest([], [MAAC], {MAAC.name: 0}).data.empty


def test_a_run_is_taken_from_another_report_that_has_it(tmp_path, capsys):
    make(MAAC, tmp_path / "first", 3)
    make(SAC, tmp_path / "second", 2)
    other, report = tmp_path / "other", tmp_path / "report"
    REPORT.collect("mini", other, tmp_path / "first")
    alike = CurveReport("figure2", {"same": PROFILE}, ("final",))
    assert alike.collect("same", report, tmp_path / "second", [tmp_path / "none", other])
    data = pd.read_csv(report / "data.csv")
    assert data.groupby("algo")["episode"].max().to_dict() == {"maac": 3, "sac": 2}
    for name in ("data.csv", "summary.csv", "timings.csv"):
        assert set(pd.read_csv(report / name)["profile"]) == {"same"}
    origin = json.loads((report / "provenance.json").read_text())
    assert origin["runs"] == {MAAC.name: "abc", SAC.name: "abc"}
    assert f"kept as published, further than at hand: {MAAC.name}" in capsys.readouterr().out


def test_commits_that_continued_a_run_beyond_its_last_episode_are_not_named(tmp_path):
    later = [{"from_rollout": 3, "commit": "def"}, {"from_rollout": 4, "commit": "xyz"}]
    make(MAAC, tmp_path, 5, continued=later)
    found = commits([MAAC, SAC], directory(PROFILE, tmp_path))
    assert found == {MAAC.name: "abc, from episode 3 on def"}


def test_a_training_run_that_stops_early_says_why(tmp_path, monkeypatch):
    def stop(*_settings: object) -> None:
        raise FloatingPointError("seed 1 stopped after 2 episodes")

    monkeypatch.setattr(training_runs, "train", stop)
    assert train_one(MAAC, tmp_path, {"commit": "abc"}) == "seed 1 stopped after 2 episodes"


def test_tables_are_joined_in_the_order_of_the_runs():
    both = joined([MAAC, SAC], table(SAC, 1), table(MAAC, 2))
    expected = pd.concat([table(MAAC, 2), table(SAC, 1)], ignore_index=True)
    pd.testing.assert_frame_equal(both, expected)


AGAIN = replace(PROFILE, algorithms=("maac",), seeds=(2, 3), place="again", repeats="mini")
BOTH = CurveReport("ablations", {"mini": PROFILE, "again": AGAIN}, ("final", "area"))


def test_a_repetition_is_shown_together_with_what_it_repeats(tmp_path):
    """With only those of the other's algorithms that it has."""
    make(MAAC, tmp_path / "first", 3)
    make(SAC, tmp_path / "first", 3)
    mini, again = tmp_path / "mini", tmp_path / "again"
    BOTH.collect("mini", mini, tmp_path / "first")
    (run,) = AGAIN.runs()
    make(run, tmp_path / "second", 2, AGAIN, commit="def")
    assert BOTH.collect("again", again, tmp_path / "second", [mini])
    data = pd.read_csv(again / "data.csv")
    assert set(data["algo"]) == {"maac"}
    assert data.groupby(["profile", "seed"]).size().to_dict() == {
        ("mini", 0): 3,
        ("mini", 1): 3,
        ("again", 2): 2,
        ("again", 3): 2,
    }
    summary = pd.read_csv(again / "summary.csv").set_index("measure")
    assert summary["n"].to_dict() == {"final": 2, "area": 2}  # of complete curves
    assert set(summary["profile"]) == {"again"}
    times = pd.read_csv(again / "timings.csv").set_index("profile")
    assert times["env_steps"].to_dict() == {"mini": 600, "again": 400}
    origin = json.loads((again / "provenance.json").read_text())
    assert origin["runs"] == {"mini: Pendulum-v0/maac": "abc", "Pendulum-v0/maac": "def"}
    assert set(origin["identities"]) == set(origin["runs"])
    assert origin["configuration"]["seeds"] == [0, 1, 2, 3]
    assert origin["unfinished"] == [f"Pendulum-v0/maac seed {k}: 2 of 3 episodes" for k in (2, 3)]


def test_what_a_repetition_keeps_of_its_own_is_not_what_it_repeats(tmp_path):
    (run,) = AGAIN.runs()
    for of, profile in ((MAAC, PROFILE), (run, AGAIN)):
        make(of, tmp_path / "runs", 3, profile)
    again = tmp_path / "again"
    BOTH.collect("again", again, tmp_path / "runs")
    kept = read_published([run], again)
    assert kept.data["seed"].unique().tolist() == [2, 3]
    assert kept.timings["profile"].tolist() == ["again"]
    assert read_published([MAAC], again).data.empty


def test_a_repetition_needs_what_it_repeats(tmp_path):
    (run,) = AGAIN.runs()
    make(run, tmp_path, 3, AGAIN)
    with pytest.raises(ValueError, match="tiny holds no episode of these runs"):
        BOTH.collect("again", tmp_path / "report", tmp_path)


@pytest.mark.parametrize(
    "change", [{"seeds": (1, 2)}, {"size": "small"}, {"compiled": True}, {"device": "cuda"}]
)
def test_what_is_no_repetition_is_refused(change):
    with pytest.raises(ValueError, match="profile again is not mini with other seeds"):
        CurveReport("ablations", {"mini": PROFILE, "again": replace(AGAIN, **change)}, ())


def test_a_repetition_is_not_repeated():
    third = replace(AGAIN, seeds=(4, 5), repeats="again")
    with pytest.raises(ValueError, match="profile third is not again with other seeds"):
        CurveReport("ablations", {"mini": PROFILE, "again": AGAIN, "third": third}, ())


def test_an_empty_folder_of_runs_is_not_published_as_if_there_were_some(tmp_path):
    """One run is published, the other has never been trained."""
    make(MAAC, tmp_path / "first", 2)
    REPORT.collect("mini", tmp_path / "report", tmp_path / "first")
    with pytest.raises(ValueError, match="tiny holds no run that is further than what is publ"):
        REPORT.collect("mini", tmp_path / "report", tmp_path / "none")
