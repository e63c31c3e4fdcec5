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


def test_the_machine_is_not_named(tmp_path):
    provenance.publish(TABLE, tmp_path, provenance.record("c", {}))
    machine = json.loads((tmp_path / "provenance.json").read_text())["machine"]
    assert set(machine) == {"system", "architecture"}


def test_missing_data_say_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="no data yet: run the report"):
        provenance.load(tmp_path)


def test_captions_carry_the_commit():
    assert "abcdef1234" in provenance.caption({"commit": "abcdef1234567"}, "note")
