"""`maac-bench train` from the command line."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch

from maac_bench.__main__ import main
from maac_bench.cli.parsing import parse
from maac_bench.config import from_dict
from maac_bench.presets import preset
from maac_bench.run_records import read_identity
from maac_bench.training import RunSettings
from tests.maac_bench.test_training import table

PENDULUM = "maac_bench/Pendulum-v0"
SMALL = [
    *("--task", PENDULUM, "--size", "tiny", "--compile", "no", "--threads", "1"),
    *("--data.random-rollouts", "1", "--data.updates-per-step", "1", "--data.batch-size", "16"),
    *("--data.branch-transitions", "200", "--data.model-capacity", "400"),
    *("--actor.hidden", "8", "--actor.horizon", "1", "--critic.hidden", "8"),
    *("--model.hidden", "8", "--model.members", "2", "--model.max-epochs", "2"),
]


def refusal(capsys, tmp_path, *arguments: str) -> str:
    """The one line with which the command refuses, having written nothing."""
    out = tmp_path / "run"
    try:
        status = main(["train", "--out", str(out), *arguments])
    except SystemExit as end:
        status = end.code
    error = capsys.readouterr().err
    assert status == 2
    assert not out.exists(), "refused before anything is written"
    assert error.startswith("maac-bench: ")
    assert error.count("\n") == 1, "one clear line"
    return error


def test_every_option_of_the_command_arrives(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("maac_bench.cli.train.train", lambda *given: seen.append(given))
    monkeypatch.setattr("maac_bench.cli.train.checkpoint_rollouts", lambda _path: [7])
    threads = torch.get_num_threads()
    for compiled, option in ((None, "auto"), (True, "yes"), (False, "no")):
        arguments = ["--task", PENDULUM, "--algo", "maac-h0", "--seeds", "3", "5", "--rollouts"]
        arguments += ["7", "--device", "cpu", "--compile", option, "--threads", "2"]
        out = str(tmp_path / "run")
        try:
            main(["train", *arguments, "--keep-every", "4", "--out", out])
            assert torch.get_num_threads() == 2
        finally:
            torch.set_num_threads(threads)
        settings, config, origin = seen.pop()
        assert settings == RunSettings(
            PENDULUM, "maac-h0", (3, 5), 7, tmp_path / "run", "cpu", compiled, 4
        )
        assert config == preset("maac-h0", PENDULUM)
        assert origin["configuration"]["threads"] == 2


@pytest.mark.parametrize(("size", "threads"), [("tiny", 1), ("small", 3)])
def test_tiny_nets_have_one_thread_unless_asked(size, threads, tmp_path, monkeypatch):
    monkeypatch.setattr("maac_bench.cli.train.train", lambda *_given: None)
    monkeypatch.setattr("maac_bench.cli.train.checkpoint_rollouts", lambda _path: [7])
    before = torch.get_num_threads()
    arguments = ["train", "--task", PENDULUM, "--size", size, "--out", str(tmp_path / "run")]
    try:
        torch.set_num_threads(3)
        main(arguments)
        assert torch.get_num_threads() == threads
        main([*arguments, "--threads", "2"])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "x"], "unknown task 'x'"),
        (["--task", "x"], "maac_bench/HalfCheetah-v0, maac_bench/Hopper-v0"),
        (["--task", "nowhere:X-v0"], "unknown task 'nowhere:X-v0'"),
        (["--task", "CartPole-v1"], "'CartPole-v1' needs continuous actions in one vector"),
        (["--algo", "x"], "unknown algorithm 'x'; choose from sac, mbpo, steve, maac, maac-h0"),
        (["--algo=x"], "unknown algorithm 'x'"),
        (["--size", "x"], "unknown size 'x'; choose from paper, small, tiny"),
        (["--device", "tpu"], "unknown device 'tpu'; choose from cpu, cuda, cuda:N"),
        (["--device", "cuda:"], "device 'cuda:'"),
        (["--device", "cpu:one"], "device 'cpu:one'"),
        (
            ["--seeds", "-1"],
            "seeds must be one or more, distinct, at least 0 and below 2^63, got (-1,)",
        ),
        (
            ["--seeds", str(2**63)],
            "distinct, at least 0 and below 2^63, got (9223372036854775808,)",
        ),
        (["--seeds", "3", "3"], "seeds must be one or more, distinct"),
        (["--rollouts", "0"], "rollouts must be at least 1, got 0"),
        (["--rollouts", "1000000"], "rollouts must be at most 999999, got 1000000"),
        (["--threads", "0"], f"threads must be 1 to {4 * os.cpu_count()} here, got 0"),
        (["--threads", "1000000"], "here, got 1000000"),
        (["--actor.horizon", "-1"], "horizon must be at least 0, got -1"),
        (["--actor.horizon", "four"], "'four'"),
        (
            ["--actor.activation", "sin"],
            "activation 'sin' is unknown; choose from relu, swish, tanh",
        ),
        (
            ["--model.activation", "sin"],
            "activation 'sin' is unknown; choose from relu, swish, tanh",
        ),
        (
            ["--model.precision", "half"],
            "precision 'half' is unknown; choose from full, tf32, bfloat16",
        ),
        (["--critic.target", "mc"], "'mc'"),
        (["--data.model-share", "2"], "model_share must lie in [0, 1], got 2.0"),
        (["--discount", "1"], "discount must lie in [0, 1), got 1.0"),
        (["--critic.target-members", "9"], "target_members 9 exceeds the ensemble's 8 members"),
        (["--algo", "sac", "--model.members", "3"], "--model.members has no effect on this"),
        (["--algo", "steve", "--data.branch-every", "9"], "its batches hold no imagined"),
        (["--algo", "maac-no-steve", "--critic.target-horizon", "3"], "takes no model step"),
        (
            ["--actor.hidden", "8", "--actor.precision", "bfloat16"],
            "--actor.precision has no effect on this configuration: it has no products between",
        ),
        (["--colour", "red"], "--colour"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_a_status(capsys, tmp_path, arguments, message):
    assert message in refusal(capsys, tmp_path, *arguments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_missing_gpu_is_named(capsys, tmp_path):
    assert "device cuda is not available here" in refusal(capsys, tmp_path, "--device", "cuda")


def shown(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as end:
        main(["train", *arguments, "--help"])
    assert end.value.code == 0
    return " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_help_shows_the_defaults_of_the_chosen_algorithm(capsys):
    plain, ablated = shown(capsys), shown(capsys, "--algo", "maac-h0")
    horizon = "--actor.horizon INT H, model transitions in the actor objective; 0 is the SAC actor"
    assert f"{horizon} (default: 4)" in plain
    assert f"{horizon} (default: 0)" in ablated
    assert "(default: maac-h0)" in ablated


def test_help_shows_the_defaults_of_the_chosen_size_and_task(capsys):
    text = shown(capsys, "--size=small", "--task=maac_bench/Ant-v0")
    assert "--actor.hidden [INT [INT ...]] hidden layer widths (default: 128 128)" in text
    assert "(default: 1 25)" in text


def test_options_change_the_preset_and_nothing_else():
    command = parse(
        ["train", "--out", "x", "--algo", "mbpo", "--size", "small", "--critic.count", "3"]
    )
    expected = preset("mbpo", "maac_bench/HalfCheetah-v0", "small")
    assert command.config.critic.count == 3
    assert command.config.data == expected.data
    assert command.config.actor == expected.actor


def test_what_was_trained_is_named_with_what_was_changed(tmp_path, capsys):
    command = ["train", "--task", PENDULUM, "--size", "tiny", "--compile", "no", "--rollouts", "1"]
    assert main([*command, "--algo", "sac", "--out", str(tmp_path / "own")]) == 0
    printed = capsys.readouterr().out
    assert f"1 rollouts of sac on {PENDULUM} in {tmp_path}" in printed
    assert "nothing is trained yet: the first 2 rollouts are of random actions" in printed
    changed = ["--algo", "sac", "--critic.learning-rate", "0.002"]
    assert main([*command, *changed, "--out", str(tmp_path / "changed")]) == 0
    assert "of sac (--critic.learning-rate 0.002) on" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options",
    [["--actor.layer-norm"], ["--critic.no-layer-norm"], ["--data.branch-length", "1", "5"]],
)
def test_what_was_changed_is_said_as_it_is_given(options):
    command = parse(["train", "--out", "x", "--algo", "maac", *options])
    assert command._described() == f"maac ({' '.join(options)})"


def start(folder) -> list[str]:
    return ["train", "--out", str(folder), *SMALL, "--seeds", "0", "1", "--rollouts", "4"]


def test_a_killed_process_leaves_a_run_that_ends_up_the_same(tmp_path, capsys):
    """SIGKILL at a random moment of the third rollout."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "-m", "maac_bench", *start(killed)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        reached = []
        for k in (1, 2):
            while not (killed / "checkpoint" / f"rollout-{k:06d}.json").exists():
                assert process.poll() is None, f"it ended before its checkpoint {k}"
                time.sleep(0.005)
            reached.append(time.monotonic())
        delay = random.uniform(
            0.0, 0.4 * (reached[1] - reached[0])
        )  # the second one is the slowest
        print(f"killed {delay:.3f} s after the second checkpoint")  # shown if the test fails
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it ended before it was killed"
    assert not (killed / "checkpoint" / "rollout-000004.json").exists()
    for folder in (killed, whole):
        assert main(start(folder)) == 0
        printed = capsys.readouterr().out
        assert "4 rollouts of maac (--actor.hidden 8, --actor.horizon 1, " in printed
        assert ") on maac_bench/Pendulum-v0 in " in printed
    assert from_dict(read_identity(killed)["config"]).actor.horizon == 1
    for seed in (0, 1):
        assert len(table(whole, seed)) == 4
        assert table(killed, seed) == table(whole, seed)
