"""The run directory: one owner, one configuration, and never a half-written state."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from maac_bench.run_files import write_text
from maac_bench.run_records import changed_modules, read_identity
from tests.maac_bench.runs import IDENTITY, begin, newest, reach, rows_of_rollout


def test_tensorboard_counts_environment_steps_and_forgets_what_is_made_again(opened, tmp_path):
    for rollouts in ((1, 2, 3), (2, 4)):
        run = opened(tmp_path)
        for rollout in rollouts:
            run.log(rows_of_rollout(rollout))
        run.close()
    events = EventAccumulator(str(tmp_path / "seed-1")).Reload()
    assert [event.step for event in events.Scalars("return")] == [10, 20, 40]


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


def test_a_refused_run_does_not_keep_the_directory(opened, tmp_path):
    """Also while the error is still at hand."""
    begin(opened, tmp_path)
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


def test_a_run_killed_before_its_last_file_leaves_the_directory_free(opened, tmp_path, monkeypatch):
    left = []

    def killed(path, text):
        left.append(tmp_path / f"before-{path.name}")
        shutil.copytree(path.parent, left[-1])
        write_text(path, text)

    with monkeypatch.context() as patched:
        patched.setattr("maac_bench.run.write_text", killed)
        opened(tmp_path / "run")
    assert len(left) == 2
    for path in left:
        opened(path, {**IDENTITY, "seeds": [7]}, {"commit": "later"})
        assert read_identity(path)["seeds"] == [7]
        assert json.loads((path / "provenance.json").read_text()) == {"commit": "later"}


def test_a_full_disk_leaves_the_directory_to_others(opened, tmp_path, monkeypatch):
    def full(path, text):
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patched:
        patched.setattr("maac_bench.run.write_text", full)
        with pytest.raises(OSError, match="No space left") as fault:
            opened(tmp_path / "run")
    assert opened(tmp_path / "run").load() is None, fault


def test_the_first_provenance_stays(opened, tmp_path):
    opened(tmp_path).close()
    opened(tmp_path, provenance={"commit": "later"})
    assert json.loads((tmp_path / "provenance.json").read_text()) == {"commit": "abc"}


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


def test_a_run_without_own_modules_is_not_asked_where_it_comes_from(tmp_path):
    """Its policies can be tested without provenance.json."""
    assert changed_modules(tmp_path, 3, {}) == []
    with pytest.raises(ValueError, match=r"provenance.json"):
        changed_modules(tmp_path, 3, {"mine": "digest"})


def test_modules_are_compared_with_those_of_what_is_left_of_a_run(tmp_path, opened):
    """Not with those of a rollout whose checkpoint is gone."""

    def changed(module, *rollouts):
        run = opened(tmp_path, provenance={"commit": "abc", "modules": {"mine": module}})
        run.load()
        found = run.changed_modules()
        for rollout in rollouts:
            reach(run, rollout)
        run.close()
        return found

    assert changed("one", 1, 2) == []
    assert changed("two", 3) == ["mine"]
    assert changed("two") == []
    for lost in (tmp_path / "checkpoint").glob("rollout-000003.*"):
        lost.unlink()
    assert changed("one") == []
    assert changed("two") == ["mine"]


@pytest.mark.parametrize(
    ("lose", "message"),
    [
        (
            lambda path: shutil.rmtree(path / "checkpoint"),
            "metrics of 3 rollouts and no checkpoint",
        ),
        (lambda path: shutil.rmtree(path / "seed-1"), "not each of the 3 rollouts"),
        (lambda path: newest_rows(path).write_text("rollout\n"), "not each of the 3 rollouts"),
        (
            lambda path: newest_rows(path).write_text("rollout\n1\n2\n3\n3\n"),
            "not each of the 3 rollouts of the checkpoint once",
        ),
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
        *(
            (
                lambda path, text=text: (path / "provenance.json").write_text(
                    f'{{"commit": "abc", "continued": {text}}}'
                ),
                "provenance.json is damaged: 'continued' is no list of commits",
            )
            for text in ("null", "[{}]", '[{"from_rollout": null}]', '["def"]')
        ),
        (
            lambda path: (path / "provenance.json").write_text('{"commit": "a", "modules": null}'),
            "provenance.json is damaged: 'modules' is no table of digests",
        ),
        (
            lambda path: (path / "config.json").write_text(
                (path / "config.json").read_text().replace('"horizon": 4', '"horizon": "4"')
            ),
            r"config.json: config.actor: ",
        ),
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


def test_two_rollouts_without_a_checkpoint_are_one_more_than_a_kill_leaves(opened, tmp_path):
    run = opened(tmp_path)
    for rollout in (1, 2):
        run.log(rows_of_rollout(rollout))
    with pytest.raises(ValueError, match="has metrics of 2 rollouts and no checkpoint"):
        run.load()


def test_a_run_goes_on_from_before_its_damaged_checkpoints(opened, tmp_path):
    """Killed between metrics and checkpoint, and the newest damaged: the remedy has to work."""
    run = opened(tmp_path)
    for rollout in (1, 2, 3):
        reach(run, rollout)
    run.log(rows_of_rollout(4))
    newest(tmp_path).unlink()
    assert run.load().counters["rollouts"] == 2
