"""What a module of the user's own adds, asked for as `module:name`."""

import hashlib
import json

import pytest

from maac_bench.__main__ import main
from maac_bench.estimators import ESTIMATORS
from maac_bench.presets import ALGORITHMS
from maac_bench.run_records import read_identity
from maac_bench.tasks import TASKS

MODULE = """
from dataclasses import dataclass, replace

import numpy as np

import analytic
from maac_bench.estimators import ESTIMATORS, Settings
from maac_bench.estimators.pathwise import ModelAugmented
from maac_bench.presets import ALGORITHMS
from maac_bench.tasks import TASKS, linear_quadratic_task

lqg = analytic.random_lqg(3, 1, np.random.default_rng(5))
TASKS["{name}:Three-v0"] = lambda: linear_quadratic_task("{name}:Three-v0", lqg)


@dataclass(frozen=True)
class Doubled(ModelAugmented):
    # twice what MAAC says
    critic_role = "own"

    def gradient(self, problem, policy, start, noise):
        return tuple(2.0 * x for x in super().gradient(problem, policy, start, noise))


class Broken(ModelAugmented):
    def gradient(self, problem, policy, start, noise):
        raise LookupError("no such thing")


class Flat(ModelAugmented):
    def gradient(self, problem, policy, start, noise):
        return tuple(x.flatten(1) for x in super().gradient(problem, policy, start, noise))


ESTIMATORS["{name}:doubled"] = Doubled
ESTIMATORS["{name}:broken"] = Broken
ESTIMATORS["{name}:flat"] = Flat


def hasty():
    base = ALGORITHMS["sac"]()
    return replace(base, actor=replace(base.actor, learning_rate=0.01))


ALGORITHMS["{name}:hasty"] = hasty
"""


@pytest.fixture
def module(tmp_path, monkeypatch, request):
    """Its name, in the working directory; what it adds is taken away afterwards."""
    name = f"own_names_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(MODULE.format(name=name))
    monkeypatch.chdir(tmp_path)
    yield name
    for table in (TASKS, ESTIMATORS, ALGORITHMS):
        for known in [known for known in table if known.startswith(f"{name}:")]:
            del table[known]


def estimate(capsys, *arguments):
    status = main(["estimate", "--samples", "32", "--replicates", "8", *arguments])
    found = capsys.readouterr()
    return status, found.out, found.err


def numbers(line):
    return [float(word) for word in line.split("[")[1].rstrip("]").split()]


def test_an_lqg_and_an_estimator_of_ones_own_are_scored(capsys, module):
    found = []
    for name in ("pathwise", f"{module}:doubled"):
        arguments = ("--task", f"{module}:Three-v0", "--estimator", name)
        status, output, _ = estimate(capsys, *arguments)
        assert status == 0
        lines = output.splitlines()
        assert len(numbers(lines[0])) == 3
        found.append(numbers(lines[2]))
    assert lines[1] == "gradient that it estimates     its own"
    assert "in expectation" not in output  # nor a closed form that is not this estimator's
    assert found[1] == pytest.approx([2 * entry for entry in found[0]], abs=2e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--estimator", "{}:broken"], "broken' fails: LookupError: no such thing"),
        (["--estimator", "{}:flat"], "here one of [8, 1, 2]; it gave [8, 2]"),
        (["--estimator", "{}:none"], "choose from pathwise, dpg"),
        (["--estimator", "no_such_module:x"], "its module raises ModuleNotFoundError: No module"),
        (["--task", "{}:None-v0"], "choose from maac_bench/DoubleIntegrator-v0"),
    ],
)
def test_what_does_not_work_is_named(capsys, module, arguments, message):
    status, _, error = estimate(capsys, *(word.format(module) for word in arguments))
    assert status == 2
    assert message in error
    assert error.count("\n") == 1


def test_an_algorithm_of_ones_own_is_trained(module, tmp_path):
    """Its sizes and defaults are read from its module before the options are."""
    command = ["train", "--task", "maac_bench/Pendulum-v0", "--algo", f"{module}:hasty"]
    sizes = ["--size", "tiny", "--rollouts", "1", "--compile", "no", "--out", str(tmp_path / "run")]
    assert main([*command, *sizes, "--critic.unit", "3"]) == 0
    run = tmp_path / "run"
    identity = read_identity(run)
    assert identity["algorithm"] == f"{module}:hasty"
    assert identity["config"]["critic"]["unit"] == 3
    assert identity["config"]["actor"]["horizon"] == 0


def test_a_module_that_has_changed_is_named_when_a_run_goes_on(module, tmp_path, capsys):
    """Not where it is as it was; and the record says from which rollout on."""
    run, file = tmp_path / "run", tmp_path / f"{module}.py"
    command = ["train", "--task", "maac_bench/Pendulum-v0", "--algo", f"{module}:hasty"]
    sizes = ["--size", "tiny", "--compile", "no", "--out", str(run), "--rollouts"]
    told = []
    for rollouts in (1, 2, 3):
        if rollouts == 3:
            file.write_text(file.read_text() + "\n# another\n")
        assert main([*command, *sizes, str(rollouts)]) == 0
        told.append(f"{module} has changed since" in capsys.readouterr().out)
    assert told == [False, False, True]
    record = json.loads((run / "provenance.json").read_text())
    assert [entry["from_rollout"] for entry in record["continued"]] == [3]
    (digest,) = record["continued"][0]["modules"].values()
    assert digest == hashlib.sha256(file.read_bytes()).hexdigest()
    assert record["modules"][module] != digest
