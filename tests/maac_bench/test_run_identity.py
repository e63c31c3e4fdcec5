"""Which run a directory holds: another one is refused, and what differs is named."""

import json

import pytest

from maac_bench.run_records import read_identity
from tests.maac_bench.runs import CONFIG, IDENTITY, begin


def test_another_configuration_is_refused_and_named(opened, tmp_path):
    begin(opened, tmp_path)
    other = {**IDENTITY, "config": {**CONFIG, "actor": {**CONFIG["actor"], "horizon": 2}}}
    with pytest.raises(ValueError, match=r"--actor\.horizon is 4 there and 2 here"):
        opened(tmp_path, other)
    opened(tmp_path, json.loads(json.dumps(IDENTITY)))


def test_what_was_asked_for_is_named_before_what_follows_from_it(opened, tmp_path):
    begin(opened, tmp_path)
    config = {**CONFIG, "actor": {**CONFIG["actor"], "horizon": 2, "layer_norm": True}}
    config = {**config, "data": {**CONFIG["data"], "branch_ramp": (1, 2), "refit_steps": 7}}
    other = {"task": "other", "algorithm": "sac", "seeds": [5, 6], "compiled": True}
    with pytest.raises(ValueError, match="holds another run") as refusal:
        opened(tmp_path, {**IDENTITY, **other, "config": config})
    said = str(refusal.value)
    assert "--algo is " in said
    assert said.index("--task") < said.index("--algo") < said.index("--seeds is 0 1 there and 5 6")
    assert said.endswith(", 4 more; choose another directory")
    with pytest.raises(ValueError, match=r"--actor\.layer-norm is no there and yes here"):
        opened(tmp_path, {**IDENTITY, "config": config})


def test_a_directory_in_which_nothing_was_trained_is_free_for_another(opened, tmp_path):
    """One that ended in its first rollout, for want of memory perhaps."""
    opened(tmp_path).close()
    other = {**IDENTITY, "seeds": [7]}
    opened(tmp_path, other, {"commit": "later"}).close()
    assert read_identity(tmp_path)["seeds"] == [7]
    assert json.loads((tmp_path / "provenance.json").read_text())["commit"] == "later"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ({"device": "cuda"}, {}, "--device is cuda there and not recorded here"),
        ({}, {"device": "cuda"}, "--device is not recorded there and cuda here"),
    ],
)
def test_what_only_one_of_two_runs_has_is_a_difference(opened, tmp_path, old, new, message):
    begin(opened, tmp_path, IDENTITY | old)
    with pytest.raises(ValueError, match=message):
        opened(tmp_path, IDENTITY | new)
    opened(tmp_path, IDENTITY | old)


def test_a_run_from_before_a_field_existed_goes_on_with_its_default(opened, tmp_path):
    begin(opened, tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    del stored["config"]["model"]["elites"]
    (tmp_path / "config.json").write_text(json.dumps(stored))
    changed = {**IDENTITY, "config": {**CONFIG, "model": {**CONFIG["model"], "elites": 2}}}
    with pytest.raises(ValueError, match=r"--model\.elites is 0 there and 2 here"):
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
