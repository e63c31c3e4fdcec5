import json
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from reports import files, provenance
from reports.figures import draw
from reports.training_profiles import profiles
from reports.training_runs import from_runs, with_commits

TABLE = {"data.csv": pd.DataFrame({"x": [1.0]})}


def test_data_that_repeat_keep_their_provenance(tmp_path):
    assert provenance.publish(TABLE, tmp_path, provenance.record("first", {"seeds": 1}))
    assert not provenance.publish(TABLE, tmp_path, provenance.record("second", {"seeds": 1}))
    record = provenance.load(tmp_path)
    assert record["command"] == "first"
    assert set(record) >= {"commit", "configuration", "packages", "python", "machine"}


def test_data_that_differ_bring_their_own_provenance(tmp_path):
    provenance.publish(TABLE, tmp_path, provenance.record("first", {}))
    other = {"data.csv": pd.DataFrame({"x": [2.0]})}
    assert provenance.publish(other, tmp_path, provenance.record("second", {}))
    assert provenance.load(tmp_path)["command"] == "second"


def test_an_interrupted_publication_does_not_keep_the_old_record(tmp_path):
    """Tables already written, record not: the next run must notice."""
    provenance.publish(TABLE, tmp_path, provenance.record("first", {}))
    (tmp_path / "data.csv").write_text("x\n2\n")
    other = {"data.csv": pd.DataFrame({"x": [2]})}
    assert provenance.publish(other, tmp_path, provenance.record("second", {}))
    assert provenance.load(tmp_path)["command"] == "second"


@pytest.mark.parametrize("text", ["{", "{}", '{"commit": "a", "configuration": 1}'])
def test_a_damaged_record_is_replaced_by_the_next_publication(tmp_path, text):
    """As its error says: whoever runs the report again must not lose what was computed."""
    provenance.publish(TABLE, tmp_path, provenance.record("first", {}))
    (tmp_path / "provenance.json").write_text(text)
    assert provenance.made_by(tmp_path) is None
    assert provenance.publish(TABLE, tmp_path, provenance.record("second", {}))
    assert provenance.load(tmp_path)["command"] == "second"


def test_another_configuration_brings_its_own_provenance(tmp_path):
    provenance.publish(TABLE, tmp_path, provenance.record("first", {"seeds": (1, 2)}))
    assert not provenance.publish(TABLE, tmp_path, provenance.record("again", {"seeds": (1, 2)}))
    assert provenance.publish(TABLE, tmp_path, provenance.record("other", {"seeds": (1,)}))


def test_the_machine_is_not_named(tmp_path):
    provenance.publish(TABLE, tmp_path, provenance.record("c", {}))
    machine = json.loads((tmp_path / "provenance.json").read_text())["machine"]
    assert set(machine) == {"system", "architecture", "vectors"}


def test_missing_data_say_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="no data yet: run the report"):
        provenance.load(tmp_path)


def test_an_entry_that_is_missing_is_named(tmp_path):
    provenance.publish(TABLE, tmp_path, provenance.record("first", {"profile": "quick"}))
    found = provenance.load(tmp_path)
    assert found["configuration"]["profile"] == "quick"
    assert found.get("runs", {}) == {}
    with pytest.raises(ValueError, match=r"provenance.json is damaged \(it has no 'runs'\)"):
        found["runs"]
    with pytest.raises(ValueError, match=r"\(it has no 'label'\): run the report again"):
        found["configuration"]["label"]
    (tmp_path / "provenance.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"provenance.json is damaged \('utf-8' codec"):
        provenance.load(tmp_path)


def test_captions_carry_the_commit():
    assert provenance.caption({"commit": "abcdef1234567"}, "note").endswith("commit abcdef1234")
    dirty = provenance.caption({"commit": "abcdef1234567 (with uncommitted changes)"}, "note")
    assert dirty.endswith("commit abcdef1234 (with uncommitted changes)")


def test_every_commit_of_the_policies_is_named_with_its_remark():
    runs = {
        "a": "1111111111aaaa (with uncommitted changes), from episode 20 on 2222222222bbbb",
        "b": "2222222222bbbb",
    }
    words = "policies from commit 1111111111 (with uncommitted changes), 2222222222"
    assert provenance.policies({"runs": runs}) == words


def test_timings_are_made_with_other_data_and_where_they_are_missing(tmp_path):
    def publish(x: float, ms: int) -> str:
        timings = {"timings.csv": lambda: pd.DataFrame({"ms": [ms]})}
        tables = {"data.csv": pd.DataFrame({"x": [x]})}
        provenance.publish(tables, tmp_path, provenance.record("made", {}), timings)
        return (tmp_path / "timings.csv").read_text()

    assert publish(1.0, 1) == "ms\n1\n"
    assert publish(1.0, 2) == "ms\n1\n"
    assert publish(2.0, 3) == "ms\n3\n"
    (tmp_path / "timings.csv").unlink()
    assert publish(2.0, 4) == "ms\n4\n"


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(28, "No space left on device")])
@pytest.mark.parametrize("step", range(4))
def test_a_publication_that_is_broken_off_leaves_what_was_there(
    tmp_path, monkeypatch, failure, step
):
    """Two tables, timings and the record: whichever cannot be written."""

    def publish(x: float) -> None:
        table = pd.DataFrame({"x": [x]})
        timings = {"timings.csv": lambda: table}
        tables = {"data.csv": table, "summary.csv": table}
        provenance.publish(tables, tmp_path, provenance.record("made", {}), timings)

    publish(1.0)
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    written = []

    def broken(write, path):
        written.append(path)
        if len(written) > step:
            raise failure
        return stage(write, path)

    stage = files.stage
    monkeypatch.setattr(files, "stage", broken)
    monkeypatch.setattr(provenance, "stage", broken)
    with pytest.raises(type(failure)):
        publish(2.0)
    assert len(written) == step + 1
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before
    monkeypatch.undo()
    publish(2.0)
    assert len(provenance.load(tmp_path)["tables"]) == 2
    provenance.require_own_tables(tmp_path)


def test_a_publication_that_is_broken_off_between_two_tables_is_mended_by_the_next(
    tmp_path, monkeypatch
):
    def publish(x: float) -> None:
        tables = {name: pd.DataFrame({"x": [x]}) for name in ("data.csv", "summary.csv")}
        provenance.publish(tables, tmp_path, provenance.record("made", {}))

    def broken(self, target):
        if target.name == "summary.csv":
            raise KeyboardInterrupt
        return rename(self, target)

    publish(1.0)
    rename = Path.replace
    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(KeyboardInterrupt):
        publish(2.0)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="is not the table that"):
        provenance.require_own_tables(tmp_path)
    publish(2.0)
    provenance.require_own_tables(tmp_path)
    assert not list(tmp_path.glob("*.partial"))


def test_nothing_stays_of_a_table_that_could_not_be_written(tmp_path):
    def half(temporary):
        temporary.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.stage(half, tmp_path / "data.csv")
    assert not list(tmp_path.iterdir())


def test_a_table_that_is_not_the_recorded_one_is_not_drawn(tmp_path):
    provenance.publish(TABLE, tmp_path, provenance.record("first", {}))
    provenance.require_own_tables(tmp_path)
    (tmp_path / "data.csv").write_text("x\n2\n")
    with pytest.raises(
        ValueError, match=r"data.csv is not the table that provenance.json describes"
    ):
        draw("ablations", tmp_path)


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """A repository with one commit, as that of the code."""
    for arguments in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "a"],
    ):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    return tmp_path


def test_a_new_module_is_an_uncommitted_change_and_a_new_note_is_none(checkout):
    head = provenance.commit()
    assert len(head) == 40
    (checkout / "notes.md").write_text("new\n")
    assert provenance.commit() == head
    (checkout / "package").mkdir()
    (checkout / "package" / "new.py").write_text("x = 1\n")
    assert provenance.commit() == f"{head} (with uncommitted changes)"


def test_code_inside_another_repository_is_not_given_its_commit(checkout, monkeypatch):
    assert len(provenance.commit()) == 40
    inside = checkout / "site-packages"
    inside.mkdir()
    monkeypatch.setattr(provenance, "ROOT", inside)
    assert provenance.commit() == "unknown (not a git checkout)"


def test_the_commit_of_runs_keeps_continuations_and_leaves_out_versions():
    runs = profiles(("maac",))["quick"].runs()
    long = "abc, made with torch 2.0.0, Some GPU, from episode 5 on def, made with torch 2.0.0"
    short = "abc, from episode 5 on def"

    def commit(*texts: str) -> str:
        trained = {run.name: text for run, text in zip(runs, texts, strict=False)}
        return from_runs({"commit": "here"}, with_commits(runs, trained), [])["commit"]

    assert commit(long) == commit(long, short) == short
    assert commit(long, "xyz") == "abc and 1 more (provenance.json)"
    assert provenance.policies({"runs": {"one": long}}) == "policies from commit abc, def"
    assert provenance.trained_by(long, 4) == ["abc"]
    assert provenance.trained_by(long, 5) == provenance.trained_by(short, 9) == ["abc", "def"]
    assert provenance.trained_by("abc (with uncommitted changes)", 9) != ["abc"]


@pytest.mark.parametrize("name", ["configuration", "tables", "runs", "identities"])
@pytest.mark.parametrize("value", [None, [], "abc"])
def test_a_record_whose_entries_have_no_names_is_damaged(tmp_path, name, value):
    record = {"commit": "abc", "configuration": {}, name: value}
    (tmp_path / "provenance.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=rf"damaged \({name} has no named entries\)"):
        provenance.load(tmp_path)
