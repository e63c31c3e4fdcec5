"""Metrics, and what is kept of a seed that cannot go on."""

import json

import pytest
from safetensors.torch import load_file

from maac_bench.run import RunDirectory
from maac_bench.run_records import read_evaluations, read_metrics
from tests.maac_bench.runs import IDENTITY, rows_of_rollout, snapshot_of


@pytest.fixture
def run(tmp_path):
    directory = RunDirectory(tmp_path, IDENTITY, {})
    directory.load()
    yield directory
    directory.close()


def test_metrics_are_one_table_per_seed(run, tmp_path):
    for rollout in (1, 2):
        run.log(rows_of_rollout(rollout))
    text = (tmp_path / "seed-1" / "metrics.csv").read_text()
    assert text == "rollout,env_steps,return\n1,10,1.33333333\n2,20,1.66666667\n"


def test_columns_may_come_later(run, tmp_path):
    run.log(rows_of_rollout(1))
    run.log(rows_of_rollout(2, critic_loss=0.5))
    assert (tmp_path / "seed-0" / "metrics.csv").read_text().splitlines() == [
        "rollout,env_steps,return,critic_loss",
        "1,10,0.333333333,",
        "2,20,0.666666667,0.5",
    ]
    first, second = read_metrics(tmp_path, 0)
    assert "critic_loss" not in first
    assert second["critic_loss"] == "0.5"


def test_rows_beyond_the_checkpoint_are_cut(run, tmp_path):
    """Killed after the third rollout's row and before its checkpoint."""
    for rollout in (1, 2):
        run.log(rows_of_rollout(rollout))
        run.save(snapshot_of(rollout))
    run.log(rows_of_rollout(3, critic_loss=7.0))
    run.close()
    again = RunDirectory(tmp_path, IDENTITY, {})
    assert again.load().counters["rollouts"] == 2
    again.log(rows_of_rollout(3))
    again.close()
    for seed in (0, 1):
        rows = read_metrics(tmp_path, seed)
        assert [row["rollout"] for row in rows] == ["1", "2", "3"]
        assert "critic_loss" not in rows[-1]


def test_without_a_checkpoint_the_metrics_begin_anew(run, tmp_path):
    run.log(rows_of_rollout(1))
    run.close()
    again = RunDirectory(tmp_path, IDENTITY, {})
    assert again.load() is None
    again.log(rows_of_rollout(1))
    again.close()
    assert len(read_metrics(tmp_path, 0)) == 1


def test_numbers_keep_nine_digits(run, tmp_path):
    run.log([{"seed": 0, "rollout": 1, "env_steps": 10_000_000, "return": 12345.678901}])
    (row,) = read_metrics(tmp_path, 0)
    assert (row["env_steps"], row["return"]) == ("10000000", "12345.6789")


def test_a_seed_without_metrics_has_no_rows(run, tmp_path):
    assert read_metrics(tmp_path, 0) == []


def test_the_same_numbers_are_there_for_tensorboard(run, tmp_path):
    run.log(rows_of_rollout(1))
    run.close()
    assert list((tmp_path / "seed-0").glob("events*"))


def test_a_failed_seed_is_kept_with_its_reason(run, tmp_path):
    run.bury(1, "critic_loss is not finite", snapshot_of(4))
    record = json.loads((tmp_path / "seed-1" / "failure.json").read_text())
    assert record["reason"] == "critic_loss is not finite"
    assert record["counters"]["rollouts"] == 4
    assert load_file(tmp_path / "seed-1" / "failure.safetensors")["x.0"].tolist() == [[4.0] * 3] * 2


def test_a_grave_is_marked_once_it_is_filled(run, tmp_path, monkeypatch):
    """A marked seed is not tried again, so its state must be there."""

    def full(*_):
        raise OSError("disk is full")

    with monkeypatch.context() as broken:
        broken.setattr("maac_bench.run.write_tensors", full)
        with pytest.raises(OSError, match="disk is full"):
            run.bury(1, "first", snapshot_of(4))
    marker = tmp_path / "seed-1" / "failure.json"
    assert not marker.exists()
    for reason in ("first", "second"):
        run.bury(1, reason, snapshot_of(4))
        assert json.loads(marker.read_text())["reason"] == reason


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["1,200,5", "2,400,6", "2,400,6"], r"is damaged \(rollout 2 is there twice\)"),
        (["1,200,5", "2,400,nan"], "the return after 2 rollouts is not finite"),
        (["1,200,inf"], "the return after 1 rollouts is not finite"),
        (["1,,5"], r"is damaged \(rollout 1 has no env_steps\)"),
    ],
)
def test_evaluations_of_which_a_score_would_be_wrong_are_refused(tmp_path, rows, message):
    (tmp_path / "seed-0").mkdir()
    path = tmp_path / "seed-0" / "metrics.csv"
    path.write_text("\n".join(["rollout,env_steps,return", *rows]) + "\n")
    with pytest.raises(ValueError, match=rf"seed-0/metrics.csv.*{message}"):
        read_evaluations(tmp_path, 0)


def test_rollouts_without_an_evaluation_are_none(tmp_path):
    (tmp_path / "seed-0").mkdir()
    path = tmp_path / "seed-0" / "metrics.csv"
    path.write_text("rollout,env_steps,return\n1,200,\n2,400,6\n")
    assert [row["rollout"] for row in read_evaluations(tmp_path, 0)] == ["2"]
