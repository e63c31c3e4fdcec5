"""A module of the user's own that has changed since a run was trained with it."""

import hashlib
import json

import pytest

from maac_bench.__main__ import main
from maac_bench.checkpoint import capture
from maac_bench.config import to_dict
from maac_bench.names import module_digests
from maac_bench.run import RunDirectory
from maac_bench.tasks import make_training_task
from tests.maac_bench.trainers import tiny_config, tiny_trainer


@pytest.mark.parametrize("work", [["evaluate", "--episodes", "1"], ["gradient-error"]])
def test_a_module_that_has_changed_is_named_when_policies_are_tested(
    module, tmp_path, capsys, work
):
    run, file = str(tmp_path / "run"), tmp_path / f"{module}.py"
    training = make_training_task(f"{module}:Three-v0")
    trainer = tiny_trainer((0,), tiny_config(), training._replace(steps=30))
    trainer.rollout()
    trainer.prepare()
    identity = {"task": training.task.name, "algorithm": "maac", "seeds": [0]}
    identity["config"] = to_dict(trainer.config)
    modules = module_digests(training.task.name)
    directory = RunDirectory(tmp_path / "run", identity, {"modules": modules})
    directory.save(capture(trainer))
    directory.close()
    trainer.close()
    if work[0] == "gradient-error":
        work = [*work, "--samples", "4", "--replicates", "2", "--horizons", "0", "1"]
    told = []
    for addition in ("", "\n# another\n"):
        file.write_text(file.read_text() + addition)
        capsys.readouterr()
        assert main([*work, run]) == 0
        told.append(f"{module} has changed since these policies" in capsys.readouterr().out)
    assert told == [False, True]
    for result in (tmp_path / "run").glob("*.csv"):
        result.unlink()
    (tmp_path / "run" / "provenance.json").unlink()
    assert main([*work, run]) == 2  # before the work, not after it
    assert "provenance.json is missing" in capsys.readouterr().err
    assert not list((tmp_path / "run").glob("*.csv"))


def test_a_module_that_has_changed_is_named_when_a_run_goes_on(module, tmp_path, capsys):
    """Not where it is as it was; and the record says from which rollout on."""
    run, file = tmp_path / "run", tmp_path / f"{module}.py"
    command = ["train", "--task", "maac_bench/Pendulum-v0", "--algo", f"{module}:hasty"]
    sizes = ["--size", "tiny", "--compile", "no", "--out", str(run), "--rollouts"]
    told = []
    for rollouts in (1, 2, 3, 3):
        if rollouts == 3:
            file.write_text(file.read_text() + "\n# another\n")
        assert main([*command, *sizes, str(rollouts)]) == 0
        told.append(f"{module} has changed since" in capsys.readouterr().out)
    assert told == [False, False, True, False]  # the last one does nothing
    record = json.loads((run / "provenance.json").read_text())
    assert [entry["from_rollout"] for entry in record["continued"]] == [3]
    (digest,) = record["continued"][0]["modules"].values()
    then = file.read_bytes().removesuffix(b"\n# another\n")
    assert digest == hashlib.sha256(then).hexdigest()
    assert record["modules"][module] != digest
