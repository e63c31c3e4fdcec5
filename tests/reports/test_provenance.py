import json

import pandas as pd
import pytest

from reports import provenance

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


def test_captions_carry_the_commit():
    assert provenance.caption({"commit": "abcdef1234567"}, "note").endswith("commit abcdef1234")
    dirty = provenance.caption({"commit": "abcdef1234567 (with uncommitted changes)"}, "note")
    assert dirty.endswith("commit abcdef1234 (with uncommitted changes)")
