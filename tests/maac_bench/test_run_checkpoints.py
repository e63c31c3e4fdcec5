"""Checkpoints of a run directory: never half-written, and named where they are damaged."""

import errno
import os
import re
from pathlib import Path

import pytest
import torch

from maac_bench.run_checkpoints import (
    checkpoint_digest,
    checkpoint_rollouts,
    load_checkpoint,
    require_checkpoint,
)
from tests.maac_bench.runs import newest, reach, snapshot_of


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


@pytest.mark.parametrize("text", [b"{", b"[]", b"\xff\xfe\x00"])
def test_an_earlier_checkpoint_whose_record_is_damaged_stays_no_longer(opened, tmp_path, text):
    run = opened(tmp_path)
    for rollout in (1, 2, 3, 4):
        reach(run, rollout, keep_every=1)
    (tmp_path / "checkpoint" / "rollout-000001.json").write_bytes(text)
    reach(run, 5)
    assert checkpoint_rollouts(tmp_path) == [2, 3, 4, 5]


def test_two_checkpoints_are_kept(opened, tmp_path):
    run = opened(tmp_path)
    for rollout in (1, 9, 10, 11):
        reach(run, rollout)
    names = sorted(path.name for path in (tmp_path / "checkpoint").iterdir())
    assert names == [
        f"rollout-0000{n}.{kind}" for n in (10, 11) for kind in ("json", "safetensors")
    ]


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
        (".json", lambda data: re.sub(rb'"seeds": \[[^]]*\]', b'"seeds": 3', data)),
        (".json", lambda data: re.sub(rb'"seeds": \[[^]]*\]', b'"seeds": []', data)),
    ],
    ids=[
        "cut",
        "flipped bit",
        "half a record",
        "empty",
        "garbage",
        "no record",
        "no counter",
        "no list of seeds",
        "no seeds",
    ],
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


def test_who_may_read_a_run_may_read_its_checkpoints(opened, tmp_path):
    mask = os.umask(0o027)
    try:
        reach(opened(tmp_path), 1)
    finally:
        os.umask(mask)
    modes = {
        newest(tmp_path, suffix).stat().st_mode & 0o777 for suffix in (".safetensors", ".json")
    }
    assert modes == {0o640}


def test_a_checkpoint_that_may_not_be_read_is_not_to_be_deleted(opened, tmp_path, monkeypatch):
    run = opened(tmp_path)
    reach(run, 1)
    reach(run, 2)

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("maac_bench.run_checkpoints.digest", refuse)
    with pytest.raises(ValueError, match=r"rollout-000002.json cannot be read: Permission denied$"):
        run.load()
