"""Our SAC beside stable-baselines3's."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from maac_bench.__main__ import main
from maac_bench.presets import preset
from reports.files import ROOT
from reports.parity import report
from reports.parity.peer import peer_path, sac_options, train_peer
from reports.parity.settings import OURS, PEER, PROFILES, Profile
from reports.training_runs import TrainingRun

FOLDER = ROOT / "reports" / "parity"
RUN = TrainingRun("Pendulum-v1", OURS, "paper", (0, 1), 6, compiled=False)


def overlap(one, other) -> bool:
    return one["low"] <= other["high"] and other["low"] <= one["high"]


def intervals(summary: pd.DataFrame):
    """(task, measure) to the rows of both sides."""
    return {
        key: {row["algo"]: row for row in rows.to_dict("records")}
        for key, rows in summary.groupby(["task", "measure"])
    }


def test_the_options_say_what_the_configuration_says():
    options = sac_options(RUN)
    config = preset("sac", "Pendulum-v1")
    assert options["learning_rate"] == config.critic.learning_rate == 3e-4
    assert options["learning_starts"] == 5 * 200
    assert options["target_entropy"] == -1.0
    assert options["policy_kwargs"]["net_arch"] == {"pi": [256, 256], "qf": [256, 256]}
    for part, changes in (
        ("actor", {"learning_rate": 1e-3}),
        ("actor", {"terminal_samples": 5}),
        ("critic", {"activation": "tanh"}),
        ("critic", {"transform": "sqrt"}),
        ("critic", {"unit": 100.0}),
        ("critic", {"precision": "bfloat16"}),
    ):
        unlike = replace(config, **{part: replace(getattr(config, part), **changes)})
        with pytest.raises(ValueError, match="cannot be set up like"):
            sac_options(replace(RUN, config=unlike))
    alike = replace(config, critic=replace(config.critic, target_rate=0.01, hidden=(32,)))
    options = sac_options(replace(RUN, config=alike))
    assert (options["tau"], options["policy_kwargs"]["net_arch"]["qf"]) == (0.01, [32])
    with pytest.raises(ValueError, match="cannot be set up like"):
        sac_options(replace(RUN, algorithm="maac"))


def test_without_the_other_package_one_line_says_what_to_install(monkeypatch, tmp_path, capsys):
    from importlib.metadata import PackageNotFoundError

    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("reports.parity.peer.version", missing)
    arguments = ["figure", "parity", "--out", str(tmp_path / "out"), "--runs", str(tmp_path)]
    assert main(arguments) == 2
    assert "parity needs stable-baselines3: make parity installs it" in capsys.readouterr().err


def test_other_settings_have_another_file(monkeypatch):
    monkeypatch.setattr("reports.parity.peer.version", lambda name: "1.0")
    paths = {peer_path(run, 0, Path()) for run in (RUN, replace(RUN, rollouts=7))}
    monkeypatch.setattr("reports.parity.peer.version", lambda name: "2")
    paths.add(peer_path(RUN, 0, Path()))
    assert len(paths) == 3


def test_the_other_side_is_evaluated_after_every_time_limit(tmp_path):
    pytest.importorskip("stable_baselines3")
    run = replace(RUN, rollouts=3)
    path = peer_path(run, 1, tmp_path)
    train_peer(run, 1, path)
    table = pd.read_csv(path)
    assert table["episode"].tolist() == [1, 2, 3]
    assert table["env_steps"].tolist() == [200, 400, 600]
    assert (table["return"] < 0).all()


def test_the_published_curves_overlap():
    """On every task, with all seeds complete, final return and area of both sides agree."""
    rows = intervals(pd.read_csv(FOLDER / "summary.csv"))
    origin = json.loads((FOLDER / "provenance.json").read_text())
    assert origin["configuration"]["tasks"] == dict(PROFILES["quick"].tasks)
    assert origin["unfinished"] == []
    assert {task for task, _ in rows} == set(PROFILES["quick"].tasks)
    for both in rows.values():
        assert both[OURS]["n"] == both[PEER]["n"] == 3
        assert overlap(both[OURS], both[PEER]), both


@pytest.mark.slow
def test_both_learn_the_pendulum_alike(tmp_path, monkeypatch):
    pytest.importorskip("stable_baselines3")
    size = Profile({"Pendulum-v1": 30}, (0, 1, 2), "test")
    monkeypatch.setitem(report.PROFILES, "test", size)
    report.make_data("test", tmp_path / "out", tmp_path / "runs")
    both = intervals(pd.read_csv(tmp_path / "out" / "summary.csv"))["Pendulum-v1", "final"]
    assert overlap(both[OURS], both[PEER])
    # A random policy gets about -1200, and so does a good one from a start that it fails at: the
    # middle evaluation says whether the task is learned.
    data = pd.read_csv(tmp_path / "out" / "data.csv")
    for algo in (OURS, PEER):
        last = data[(data["algo"] == algo) & (data["episode"] > 25)]["return"]
        assert len(last) == 15
        assert last.median() > -300.0


def test_a_peer_s_table_that_lacks_episodes_is_named(tmp_path, monkeypatch):
    size = Profile({"Pendulum-v1": 6}, (0,), "for tests")
    columns = {"task": [], "algo": [], "seed": [], "episode": [], "env_steps": [], "return": []}
    monkeypatch.setattr(report, "collect", lambda runs, folder: pd.DataFrame(columns))
    # Its name holds the peer's version, and the peer need not be installed.
    path = tmp_path / "peer.csv"
    monkeypatch.setattr(report, "peer_path", lambda run, seed, folder: path)
    rows = pd.DataFrame({"episode": [1, 2], "env_steps": [200, 400], "return": [0.0, 0.0]})
    rows.to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"peer\.csv has not all 6 episodes: delete it"):
        report.curves(size, tmp_path)
