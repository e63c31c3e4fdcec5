"""What a module of the user's own adds, asked for as `module:name`."""

import gymnasium as gym
import pytest

from maac_bench.__main__ import main
from maac_bench.run_records import read_identity


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
        _, *lines = output.splitlines()
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


def test_start_states_that_are_not_those_of_the_closed_form_are_said(capsys, module):
    for name, said in (("Three-v0", False), ("Elsewhere-v0", True)):
        status, output, _ = estimate(capsys, "--task", f"{module}:{name}", "--samples", "2000")
        assert status == 0
        assert ("the row's true start states may not be those of its lqg" in output) == said


def test_an_estimator_without_a_critic_needs_none_that_exists(capsys, module):
    """The critic's gain, half of the optimal one, does not hold the task; nobody asks for it."""
    loose = ("--task", f"{module}:Loose-v0", "--gain-share", "0.9")
    for name in ("bptt", "score"):
        assert estimate(capsys, *loose, "--estimator", name)[0] == 0
    status, _, error = estimate(capsys, *loose)
    assert status == 2
    assert "critic_share 0.5: K is unstable: sqrt(gamma) * rho(A - B K)" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--estimator", "{}:broken"], "broken' raises LookupError: no such thing (own_names_"),
        (["--estimator", "{}:flat"], "[8, 1, 2]; it gave torch.float32 (torch.strided) of [8, 2]"),
        (["--estimator", "{}:complex"], "it gave torch.complex64 (torch.strided) of [8, 1, 2]"),
        (["--estimator", "{}:nothing"], "here one of [8, 1, 2]; it gave none"),
        (["--estimator", "{}:refusing"], "refusing' raises ValueError: invalid literal for int()"),
        (["--estimator", "{}:roleless"], "than maac_bench.estimators.base.Estimator describes"),
        (["--estimator", "{}:sparse"], "it gave torch.float32 (torch.sparse_coo) of [8, 1, 2]"),
        (["--estimator", "{}:misspelt"], "unknown critic_role 'close'; choose from closes, base"),
        (["--estimator", "{}:unset"], "are no Settings but NoneType"),
        (["--task", "{}:Unpaid-v0"], "Unpaid-v0' fails on tensors: LookupError: no reward"),
        (["--task", "{}:Unpaid-v0", "--estimator", "{}:broken"], "fails on tensors: LookupError"),
        (["--estimator", "{}:moody"], "its row raises RuntimeError: not today"),
        (["--estimator", ":mine"], "names no module before its colon"),
        (["--estimator", "own_folder:mine"], "own_folder adds no such row; choose from pathwise"),
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
