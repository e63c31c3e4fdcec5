"""What a module of the user's own adds, asked for as `module:name`."""

import hashlib
import json

import gymnasium as gym
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
from maac_bench.config import Config
from maac_bench.presets import ALGORITHMS, preset
from maac_bench.tasks import TASKS, linear_quadratic_task

lqg = analytic.random_lqg(3, 1, np.random.default_rng(5))
TASKS["{name}:Three-v0"] = lambda: linear_quadratic_task("{name}:Three-v0", lqg)


@dataclass(frozen=True)
class Doubled(ModelAugmented):
    # twice what MAAC says
    critic_role = "own"

    def gradient(self, problem, policy, start, noise):
        return tuple(2.0 * x for x in super().gradient(problem, policy, start, noise))


class Undeclared(Doubled):
    critic_role = "closes"


class Broken(ModelAugmented):
    def gradient(self, problem, policy, start, noise):
        raise LookupError("no such thing")


class Flat(ModelAugmented):
    def gradient(self, problem, policy, start, noise):
        return tuple(x.flatten(1) for x in super().gradient(problem, policy, start, noise))


class Complex(ModelAugmented):
    def gradient(self, problem, policy, start, noise):
        return tuple(x + 1j for x in super().gradient(problem, policy, start, noise))


class Nothing(ModelAugmented):
    def gradient(self, problem, policy, start, noise):
        return iter(())


class Refusing(ModelAugmented):
    def draw(self, streams, problem, policy, start):
        return int("two")


class Attached(ModelAugmented):
    def gradient(self, problem, policy, start, noise):
        return tuple(x.requires_grad_() for x in super().gradient(problem, policy, start, noise))


class Single(ModelAugmented):
    def gradient(self, problem, policy, start, noise):
        return super().gradient(problem, policy, start, noise)[0]


class Sparse(ModelAugmented):
    def gradient(self, problem, policy, start, noise):
        return tuple(x.to_sparse() for x in super().gradient(problem, policy, start, noise))


class Misspelt(ModelAugmented):
    critic_role = "close"


class Unset(ModelAugmented):
    settings = None

    def __init__(self, settings):
        pass


class Roleless:
    def __init__(self, settings):
        self.settings = settings


ESTIMATORS["{name}:doubled"] = Doubled
ESTIMATORS["{name}:undeclared"] = Undeclared
ESTIMATORS["{name}:complex"] = Complex
ESTIMATORS["{name}:nothing"] = Nothing
ESTIMATORS["{name}:refusing"] = Refusing
ESTIMATORS["{name}:roleless"] = Roleless
ESTIMATORS["{name}:number"] = 3
ESTIMATORS["{name}:attached"] = Attached
ESTIMATORS["{name}:single"] = Single
ESTIMATORS["{name}:sparse"] = Sparse
ESTIMATORS["{name}:misspelt"] = Misspelt
ESTIMATORS["{name}:unset"] = Unset
TASKS["{name}:Other-v0"] = lambda: linear_quadratic_task("Other-v0", lqg)
TASKS["{name}:Pair-v0"] = lambda: linear_quadratic_task("{name}:Pair-v0", lqg)._replace(true=(1, 2))
ESTIMATORS["{name}:broken"] = Broken
ESTIMATORS["{name}:flat"] = Flat


def hasty(task, size):
    base = preset("sac", task, size)
    return replace(base, actor=replace(base.actor, learning_rate=0.01))


ALGORITHMS["{name}:hasty"] = hasty
def unpaid(state, action, next_state):
    raise LookupError("no reward")


TASKS["{name}:Unpaid-v0"] = lambda: linear_quadratic_task("{name}:Unpaid-v0", lqg)._replace(
    reward=unpaid
)


@dataclass(frozen=True)
class Longer(Config):
    extra: int = 1


ALGORITHMS["{name}:longer"] = lambda task, size: Longer(**vars(preset("sac", task, size)))
ALGORITHMS["{name}:scalar"] = lambda task, size: replace(
    preset("sac", task, size), discount=np.float32(0.9)
)
ALGORITHMS["{name}:table"] = lambda task, size: dict(task=task)
ALGORITHMS["{name}:sizeless"] = lambda task: preset("sac", task)
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


@pytest.mark.parametrize(("name", "said"), [("doubled", False), ("undeclared", True)])
def test_a_mean_that_is_not_that_of_its_role_is_said(capsys, module, name, said):
    arguments = ("--task", f"{module}:Three-v0", "--estimator", f"{module}:{name}")
    _, output, _ = estimate(capsys, *arguments, "--samples", "2000")
    assert ("from what the critic_role 'closes' says it estimates" in output) == said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--estimator", "{}:broken"], "broken' raises LookupError: no such thing"),
        (["--estimator", "{}:flat"], "[8, 1, 2]; it gave torch.float32 (torch.strided) of [8, 2]"),
        (["--estimator", "{}:complex"], "it gave torch.complex64 (torch.strided) of [8, 1, 2]"),
        (["--estimator", "{}:nothing"], "here one of [8, 1, 2]; it gave none"),
        (["--estimator", "{}:refusing"], "refusing' raises ValueError: invalid literal for int()"),
        (["--estimator", "{}:roleless"], "than maac_bench.estimators.base.Estimator describes"),
        (["--estimator", "{}:sparse"], "it gave torch.float32 (torch.sparse_coo) of [8, 1, 2]"),
        (["--estimator", "{}:misspelt"], "unknown critic_role 'close'; choose from closes, base"),
        (["--estimator", "{}:unset"], "are no Settings but NoneType"),
        (["--task", "{}:Unpaid-v0"], "Unpaid-v0' fails: LookupError: no reward"),
        (["--task", "{}:Other-v0"], "says name 'Other-v0', it is "),
        (["--task", "{}:Pair-v0"], "needs TensorDynamics or None as true, it has tuple"),
        (["--estimator", "{}:number"], "its row raises TypeError: 'int' object is not callable"),
        (["--estimator", "{}:none"], ".py adds no such row; choose from pathwise, dpg"),
        (["--estimator", "random:mine"], "random.py adds no such row; choose from pathwise"),
        (["--estimator", "no_such_module:x"], "its module raises ModuleNotFoundError: No module"),
        (["--task", "{}:None-v0"], "choose from maac_bench/DoubleIntegrator-v0"),
    ],
)
def test_what_does_not_work_is_named(capsys, module, arguments, message):
    status, _, error = estimate(capsys, *(word.format(module) for word in arguments))
    assert status == 2
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("form", ["attached", "single"])
def test_the_form_of_an_estimate_does_not_matter(capsys, module, form):
    """Still attached to its graph; one tensor for a policy of one parameter."""
    found = [
        estimate(capsys, "--task", f"{module}:Three-v0", "--estimator", name)[:2]
        for name in ("pathwise", f"{module}:{form}")
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize("replicates", ["2", "8"])
def test_a_few_estimates_accuse_nobody(capsys, module, replicates):
    """Of two, one in ten or so is five of its own standard errors off."""
    arguments = ("--estimator", f"{module}:undeclared", "--samples", "2000")
    task = ("--task", f"{module}:Three-v0")
    _, output, _ = estimate(capsys, *arguments, *task, "--replicates", replicates)
    assert ("says it estimates" in output) == (replicates == "8")


def test_a_row_made_into_an_environment_has_the_version_that_is_asked_for(module, capsys, tmp_path):
    """Not another one beside that which the module registers."""
    gym.register("Three-v7", entry_point="nowhere:Nothing")
    try:
        command = ["train", "--task", f"{module}:Three-v0", "--algo", "sac", "--rollouts", "1"]
        assert main([*command, "--out", str(tmp_path / "run")]) == 2
    finally:
        del gym.registry["Three-v7"]
    assert "Three-v0' is of no version of Three-v7" in capsys.readouterr().err


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
    assert identity["config"]["actor"]["learning_rate"] == 0.01  # not that of its size


@pytest.mark.parametrize(
    ("algorithm", "message"),
    [
        ("table", "than maac_bench.config.Config describes: dict"),
        ("sizeless", "its row raises TypeError: "),
        ("longer", "cannot be kept: "),
        ("scalar", "cannot be kept: Object of type float32"),
        ("none", ".py adds no such row; choose from sac, mbpo"),
    ],
)
def test_an_algorithm_that_is_none_is_named(module, capsys, tmp_path, algorithm, message):
    command = ["train", "--algo", f"{module}:{algorithm}", "--rollouts", "1"]
    assert main([*command, "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_module_that_ends_the_program_is_named(capsys, tmp_path, monkeypatch):
    (tmp_path / "quitting_module.py").write_text("import sys\nsys.exit(3)\n")
    monkeypatch.chdir(tmp_path)
    status, _, error = estimate(capsys, "--estimator", "quitting_module:x")
    assert status == 2
    assert "its module raises SystemExit: 3" in error


def test_an_lqg_of_ones_own_is_an_environment_as_well(module, tmp_path, capsys):
    """Its dynamics need no comparison: the environment is made of them."""
    run = str(tmp_path / "run")
    command = ["train", "--task", f"{module}:Three-v0", "--algo", f"{module}:hasty"]
    sizes = ["--size", "tiny", "--compile", "no", "--rollouts", "1", "--out", run]
    assert main([*command, *sizes]) == 0
    said = capsys.readouterr().out
    assert f"no environment of {module}:Three-v0 is registered: it is made of its row, 200" in said
    assert "differ" not in said
    assert main(["evaluate", run, "--episodes", "1"]) == 0


def test_a_module_that_has_changed_is_named_when_policies_are_tested(module, tmp_path, capsys):
    run, file = str(tmp_path / "run"), tmp_path / f"{module}.py"
    command = ["train", "--task", f"{module}:Three-v0", "--algo", "sac"]
    sizes = ["--size", "tiny", "--compile", "no", "--rollouts", "1", "--out", run]
    assert main([*command, *sizes]) == 0
    told = []
    for addition in ("", "\n# another\n"):
        file.write_text(file.read_text() + addition)
        capsys.readouterr()
        assert main(["evaluate", run, "--episodes", "1"]) == 0
        told.append(f"{module} has changed since these policies" in capsys.readouterr().out)
    assert told == [False, True]


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
