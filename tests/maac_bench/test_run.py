"""The run directory: one owner, one configuration, and never a half-written state."""

import errno
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from maac_bench.checkpoint import Snapshot
from maac_bench.config import ActorSettings, Config, to_dict
from maac_bench.run import (
    RunDirectory,
    checkpoint_digest,
    checkpoint_rollouts,
    load_checkpoint,
    read_identity,
    require_checkpoint,
)

CONFIG = to_dict(Config(actor=ActorSettings(hidden=(8, 8))))
IDENTITY = {"task": "t", "algorithm": "a", "seeds": [0, 1], "config": CONFIG}


@pytest.fixture
def opened():
    """Opens run directories and closes them at the end."""
    runs = []

    def open_run(path, identity=IDENTITY, provenance=None):
        runs.append(RunDirectory(path, identity, provenance or {"commit": "abc"}))
        return runs[-1]

    yield open_run
    for run in runs:
        run.close()


def snapshot_of(rollouts: int) -> Snapshot:
    tensors = {"x.0": torch.full((2, 3), float(rollouts)), "y.0": torch.arange(4).reshape(2, 2)}
    return Snapshot(tensors, {"rollouts": rollouts, "seeds": [0, 1]})


def rows_of_rollout(rollout: int, **columns: float):
    common = {"rollout": rollout, "env_steps": 10 * rollout, **columns}
    return [{"seed": seed, **common, "return": seed + rollout / 3} for seed in (0, 1)]


def reach(run: RunDirectory, rollout: int, keep_every: int = 0) -> None:
    """What training does after a rollout."""
    run.log(rows_of_rollout(rollout))
    run.save(snapshot_of(rollout), keep_every)


def newest(path: Path, suffix: str = ".json") -> Path:
    return sorted((path / "checkpoint").glob(f"*{suffix}"))[-1]


def test_a_checkpoint_comes_back_as_it_was(opened, tmp_path):
    run = opened(tmp_path)
    assert run.load() is None
    reach(run, 1)
    reach(run, 2)
    loaded = run.load()
    assert loaded.counters == {"rollouts": 2, "seeds": [0, 1]}
    for name, tensor in snapshot_of(2).tensors.items():
        assert torch.equal(loaded.tensors[name], tensor)
        assert loaded.tensors[name].dtype == tensor.dtype


def test_tensorboard_counts_environment_steps_and_forgets_what_is_made_again(opened, tmp_path):
    for rollouts in ((1, 2, 3), (2, 4)):
        run = opened(tmp_path)
        for rollout in rollouts:
            run.log(rows_of_rollout(rollout))
        run.close()
    events = EventAccumulator(str(tmp_path / "seed-1")).Reload()
    assert [event.step for event in events.Scalars("return")] == [10, 20, 40]


def test_every_so_many_rollouts_a_checkpoint_stays(opened, tmp_path):
    run = opened(tmp_path)
    for rollout in range(1, 10):
        reach(run, rollout, keep_every=3)
    assert checkpoint_rollouts(tmp_path) == [3, 6, 8, 9]
    assert run.load().counters["rollouts"] == 9
    early = require_checkpoint(tmp_path, 3)
    assert torch.equal(early.tensors["x.0"], snapshot_of(3).tensors["x.0"])
    with pytest.raises(ValueError, match=r"no checkpoint of rollout 4, only of 3, 6, 8, 9"):
        require_checkpoint(tmp_path, 4)
    # A run that goes on without the option keeps what was promised.
    reach(run, 10)
    reach(run, 11)
    assert checkpoint_rollouts(tmp_path) == [3, 6, 9, 10, 11]


@pytest.mark.parametrize("text", ["{", "{}", "[]", None])
def test_a_damaged_record_of_a_checkpoint_is_named(opened, tmp_path, text):
    reach(opened(tmp_path), 1)
    assert len(checkpoint_digest(tmp_path, 1)) == 64
    record = tmp_path / "checkpoint" / "rollout-000001.json"
    record.unlink() if text is None else record.write_text(text)
    with pytest.raises(ValueError, match=r"rollout-000001.json is (missing or )?damaged"):
        checkpoint_digest(tmp_path, 1)


def test_a_damaged_earlier_checkpoint_does_not_condemn_the_run(opened, tmp_path):
    run = opened(tmp_path)
    for rollout in (1, 2, 3):
        reach(run, rollout, keep_every=1)
    (tmp_path / "checkpoint" / "rollout-000001.safetensors").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="the run itself goes on from a later one"):
        require_checkpoint(tmp_path, 1)
    assert require_checkpoint(tmp_path).counters["rollouts"] == 3


def test_two_checkpoints_are_kept(opened, tmp_path):
    run = opened(tmp_path)
    for rollout in (1, 9, 10, 11):
        reach(run, rollout)
    names = sorted(path.name for path in (tmp_path / "checkpoint").iterdir())
    assert names == [
        f"rollout-0000{n}.{kind}" for n in (10, 11) for kind in ("json", "safetensors")
    ]


def test_a_directory_in_use_is_refused(opened, tmp_path):
    run = opened(tmp_path)
    with pytest.raises(ValueError, match=r"is in use by another process$"):
        opened(tmp_path)
    run.close()
    opened(tmp_path)


def test_a_directory_is_free_again_however_its_process_ends(opened, tmp_path):
    code = (
        "import fcntl, sys, time; file = open(sys.argv[1], 'w');"
        "fcntl.flock(file, fcntl.LOCK_EX); print(flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        with pytest.raises(ValueError, match="is in use by another process"):
            opened(tmp_path)
        process.kill()
        process.wait()
        opened(tmp_path)


def test_another_configuration_is_refused_and_named(opened, tmp_path):
    opened(tmp_path).close()
    other = {**IDENTITY, "config": {**CONFIG, "actor": {**CONFIG["actor"], "horizon": 2}}}
    with pytest.raises(ValueError, match=r"config\.actor\.horizon is 4 there and 2 here"):
        opened(tmp_path, other)
    opened(tmp_path, json.loads(json.dumps(IDENTITY)))


def test_a_run_from_before_a_field_existed_goes_on_with_its_default(opened, tmp_path):
    opened(tmp_path).close()
    stored = json.loads((tmp_path / "config.json").read_text())
    del stored["config"]["model"]["elites"]
    (tmp_path / "config.json").write_text(json.dumps(stored))
    changed = {**IDENTITY, "config": {**CONFIG, "model": {**CONFIG["model"], "elites": 2}}}
    with pytest.raises(ValueError, match=r"config\.model\.elites is 0 there and 2 here"):
        opened(tmp_path, changed)
    opened(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        '{"task": "t"}',
        '{"task": "t", "algorithm": "a", "seeds": null}',
        '{"task": "t", "algorithm": "a", "seeds": [0]}',
        '{"task": "t", "algorithm": "a", "seeds": 3, "config": {}}',
        '{"task": "t", "algorithm": "a", "seeds": [], "config": {}}',
        '{"task": "t", "algorithm": "a", "seeds": null, "config": {}}',
        '{"task": "t", "algorithm": "a", "seeds": [true], "config": {}}',
        '{"task": 1, "algorithm": "a", "seeds": [0], "config": {}}',
        '{"task": "t", "algorithm": "a", "seeds": [0], "config": 2}',
    ],
)
def test_a_foreign_configuration_is_named(opened, tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match="names no task, algorithm, seeds and config"):
        opened(tmp_path)


def test_what_nothing_is_left_of_is_not_in_the_provenance(opened, tmp_path):
    """A run killed before its first checkpoint is trained by whoever begins it again."""
    for commit in ("abc", "def"):
        run = opened(tmp_path, provenance={"commit": commit})
        run.load()
        run.close()
    assert json.loads((tmp_path / "provenance.json").read_text()) == {"commit": "def"}


def test_a_refused_run_does_not_keep_the_directory(opened, tmp_path):
    """Also while the error is still at hand."""
    opened(tmp_path).close()
    with pytest.raises(ValueError, match="seeds") as refusal:
        opened(tmp_path, {**IDENTITY, "seeds": [7]})
    opened(tmp_path)
    assert "choose another directory" in str(refusal.value)


def test_a_foreign_directory_is_refused_and_left_alone(opened, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="is not empty and holds no run"):
        opened(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(ValueError, match="is not a directory"):
        opened(tmp_path / "thesis.tex")


@pytest.mark.parametrize(
    "leftover", ["provenance.json.partial", "provenance.json", "config.json.partial"]
)
def test_a_run_killed_while_it_began_can_begin_again(opened, tmp_path, leftover):
    for name in ("lock", leftover):
        (tmp_path / name).write_text("{}")
    opened(tmp_path)
    assert read_identity(tmp_path)["task"] == "t"
    assert json.loads((tmp_path / "provenance.json").read_text()) == {"commit": "abc"}


def test_the_first_provenance_stays(opened, tmp_path):
    opened(tmp_path).close()
    opened(tmp_path, provenance={"commit": "later"})
    assert json.loads((tmp_path / "provenance.json").read_text()) == {"commit": "abc"}


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        (".safetensors", lambda data: data[: len(data) // 2]),
        (".safetensors", lambda data: data[:-1] + bytes([data[-1] ^ 1])),
        (".json", lambda data: data[: len(data) // 2]),
        (".json", lambda data: b""),
        (".json", lambda data: b"\xff\xfe\x00"),
        (".json", lambda data: b"[]"),
        (".json", lambda data: re.sub(rb'"rollouts": 2,', b"", data)),
    ],
    ids=["cut", "flipped bit", "half a record", "empty", "garbage", "no record", "no counter"],
)
def test_a_damaged_checkpoint_is_named_with_its_remedy(opened, tmp_path, suffix, damage):
    run = opened(tmp_path)
    reach(run, 1)
    reach(run, 2)
    victim = newest(tmp_path, suffix)
    victim.write_bytes(damage(victim.read_bytes()))
    with pytest.raises(ValueError, match="rollout-000002") as refusal:
        run.load()
    assert f"delete {newest(tmp_path)} to go on from the one before it" in str(refusal.value)
    newest(tmp_path).unlink()
    assert run.load().counters["rollouts"] == 1


def test_a_lost_table_is_named_and_the_only_checkpoint_cannot_be_gone_back_from(opened, tmp_path):
    run = opened(tmp_path)
    reach(run, 1)
    newest(tmp_path, ".safetensors").unlink()
    with pytest.raises(ValueError, match=r"rollout-000001.*start anew"):
        run.load()


@pytest.mark.parametrize("stage", ["run_files.save_file", "run.write_text"])
def test_a_failed_write_leaves_the_previous_checkpoint(opened, tmp_path, monkeypatch, stage):
    run = opened(tmp_path)
    reach(run, 1)

    def full(*arguments):
        Path(arguments[0] if stage == "run.write_text" else arguments[1]).with_suffix(".x").touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(f"maac_bench.{stage}", full)
        with pytest.raises(OSError, match="No space left"):
            reach(run, 2)
    assert load_checkpoint(tmp_path).counters["rollouts"] == 1
    reach(run, 2)
    assert load_checkpoint(tmp_path).counters["rollouts"] == 2


def test_another_commit_that_continues_a_run_is_recorded(tmp_path, opened):
    def provenance():
        return json.loads((tmp_path / "provenance.json").read_text())

    first = opened(tmp_path, provenance={"commit": "abc", "command": "train --rollouts 3"})
    first.load()
    for rollout in (1, 2, 3):
        reach(first, rollout)
    first.close()
    again = opened(tmp_path, provenance={"commit": "abc", "command": "train --rollouts 5"})
    again.load()
    again.close()
    assert "continued" not in provenance()

    def go_on(commit, *rollouts):
        other = opened(tmp_path, provenance={"commit": commit, "command": "train --rollouts 9"})
        other.load()
        for rollout in rollouts:
            reach(other, rollout)
        other.close()

    def continued():
        return [(entry["commit"], entry["from_rollout"]) for entry in provenance()["continued"]]

    go_on("idle")
    assert "continued" not in provenance(), "who trains nothing is not named"
    go_on("def", 4)
    go_on("def", 5)
    go_on("ghi", 6)
    assert provenance()["commit"] == "abc"
    assert continued() == [("def", 4), ("ghi", 6)]
    for lost in (tmp_path / "checkpoint").glob("rollout-000006.*"):
        lost.unlink()
    go_on("jkl", 6)
    assert continued() == [("def", 4), ("jkl", 6)], "nothing is left of the sixth as it was"


@pytest.mark.parametrize(
    ("lose", "message"),
    [
        (
            lambda path: shutil.rmtree(path / "checkpoint"),
            "metrics of 3 rollouts and no checkpoint",
        ),
        (lambda path: shutil.rmtree(path / "seed-1"), "lacks rollouts that the checkpoint has"),
        (lambda path: newest_rows(path).write_text("rollout\n"), "lacks rollouts that the"),
        (lambda path: newest_rows(path).write_text("rollout\nx\n"), "metrics.csv is damaged"),
        (
            lambda path: newest_rows(path).write_text("rollout,a,b\n1,2,\n2,3\n"),
            r"metrics.csv is damaged \(ValueError: a row is cut short\)",
        ),
        (lambda path: newest_rows(path).write_text("steps\n3\n"), "metrics.csv is damaged"),
        (lambda path: newest_rows(path).write_bytes(b"\xff\xfe"), "metrics.csv is damaged"),
        (lambda path: newest_rows(path).write_text(f"rollout\n{'9' * 200_000}\n"), "is damaged"),
        (lambda path: (path / "provenance.json").write_text("{"), "provenance.json is missing or"),
        (lambda path: (path / "provenance.json").write_text("[]"), "provenance.json is missing or"),
    ],
)
def test_a_run_that_has_lost_something_does_not_go_on_without_it(opened, tmp_path, lose, message):
    run = opened(tmp_path)
    assert run.load() is None
    for rollout in (1, 2, 3):
        reach(run, rollout)
    run.close()
    lose(tmp_path)
    with pytest.raises(ValueError, match=message):
        opened(tmp_path).load()


def newest_rows(path: Path) -> Path:
    return path / "seed-1" / "metrics.csv"


def test_a_run_killed_between_metrics_and_checkpoint_goes_on(opened, tmp_path):
    run = opened(tmp_path)
    run.log(rows_of_rollout(1))
    assert run.load() is None
    for rollout in (1, 2):
        reach(run, rollout)
    run.log(rows_of_rollout(3))
    assert run.load().counters["rollouts"] == 2


def test_a_run_goes_on_from_before_its_damaged_checkpoints(opened, tmp_path):
    """Killed between metrics and checkpoint, and the newest damaged: the remedy has to work."""
    run = opened(tmp_path)
    for rollout in (1, 2, 3):
        reach(run, rollout)
    run.log(rows_of_rollout(4))
    newest(tmp_path).unlink()
    assert run.load().counters["rollouts"] == 2


def test_a_file_that_only_looks_like_a_checkpoint_is_none(opened, tmp_path):
    run = opened(tmp_path)
    reach(run, 1)
    (tmp_path / "checkpoint" / "rollout-abc.json").write_text("{}")
    (tmp_path / "checkpoint" / "rollout-notes.txt").write_text("mine")
    for rollout in (2, 3):
        reach(run, rollout)
    assert checkpoint_rollouts(tmp_path) == [2, 3]
    assert run.load().counters["rollouts"] == 3
    assert (tmp_path / "checkpoint" / "rollout-notes.txt").exists()
