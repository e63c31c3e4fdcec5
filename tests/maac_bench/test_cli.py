import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

from maac_bench.__main__ import main
from reports.files import ROOT


def failure(capsys, *arguments: str) -> tuple[int, str]:
    status = main(list(arguments))
    error = capsys.readouterr().err
    assert error.startswith("maac-bench: ")
    assert error.count("\n") == 1, "one clear line"
    return status, error


def test_list_names_everything(capsys):
    assert main(["list"]) == 0
    output = capsys.readouterr().out
    for name in ("maac_bench/DoubleIntegrator-v0", "pathwise", "inverse-variance", "figure3"):
        assert name in output
    lines = {line.split()[0]: line for line in output.splitlines() if line.startswith("  ")}
    assert "H = 0, td targets, 40 updates per step, 95% of a batch imagined" in lines["mbpo"]
    assert lines["maac-h0-sqrt-critic"].endswith("maac with actor.horizon 0, critic.transform sqrt")


def test_estimate_prints_a_score_that_repeats(capsys):
    arguments = ["estimate", "--samples", "32", "--replicates", "4", "--horizon", "2"]
    assert main(arguments) == 0
    first = capsys.readouterr().out
    assert main(arguments) == 0
    assert capsys.readouterr().out == first
    assert main([*arguments, "--seed", "9"]) == 0
    assert capsys.readouterr().out != first
    assert "cosine" in first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["estimate", "--horizon", "-1"], "horizon must be at least 0, got -1"),
        (["estimate", "--task", "x"], "unknown task 'x'; choose from maac_bench/"),
        (["estimate", "--estimator", "x"], "unknown estimator 'x'; choose from pathwise"),
        (["estimate", "--task", "DoubleIntegrator-v0"], "; did you mean maac_bench/DoubleIntegr"),
        (["estimate", "--horizon", "0,2"], "['0,2']; several values are separated by spaces"),
        (["train", "--out", "x", "--seeds", "0,1"], "; several values are separated by spaces"),
        (["estimate", "--estimator", "patwise"], "; did you mean pathwise?"),
        (["evaluate", "no/such/run"], "no/such/run holds no run: there is no such folder"),
        (["compare", "no/such/run"], "no/such/run holds no run: there is no such folder"),
        (["estimate", "--samples", "0"], "samples must be at least 2, got 0"),
        (["estimate", "--samples", "100000000"], "is more than memory is planned for"),
        (["estimate", "--replicates", "1"], "replicates must be at least 2"),
        (["estimate", "--gain-share", "-3"], "gain_share -3: K is unstable"),
        (["estimate", "--critic-share", "nan"], "critic_share nan: K has entries that are not fin"),
        (
            ["estimate", "--task", "maac_bench/RandomLQG20-v0", "--samples", "3000000"],
            "is more than memory is planned for",
        ),
        (["estimate", "--gain-share", "1"], "the exact gradient is zero at this gain"),
        (["estimate", "--seed", "-1"], "seeds must be at least 0, got -1"),
        (["estimate", "--task", "Hopper-v5"], "'Hopper-v5' has no exact gradient"),
        (["estimate", "--estimator", "bptt", "--horizon", "0"], "needs a horizon of at least 1"),
        (
            ["estimate", "--estimator", "score", "--critic-share", "0.9"],
            "score has no critic: leave critic_share at its default",
        ),
        (
            ["estimate", "--estimator", "zeroth-order", "--smoothing", "1e-7"],
            "smoothing must be at least 1e-06, got 1e-07: float32 does not resolve smaller steps",
        ),
        (["figure", "figure3", "--out", ""], "an argument is empty: a variable that is not set?"),
        (["figure", "figure3", "--out="], "an argument is empty: a variable that is not set?"),
        (["figure", "figure9"], "unknown figure 'figure9'; choose from figure3, estimators"),
        (["figure", "figure3", "--profile", "x"], "unknown profile 'x' of figure3; choose from"),
    ],
)
def test_bad_input_is_one_line_and_a_status(capsys, arguments, message):
    status, error = failure(capsys, *arguments)
    assert status == 2
    assert message in error


def test_drawing_without_data_says_so(capsys, tmp_path):
    status, error = failure(capsys, "figure", "figure3", "--redraw", "--out", str(tmp_path))
    assert status == 2
    assert "no data yet" in error


def test_a_folder_that_cannot_be_written_is_named(capsys, tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    runs = str(blocker / "runs")
    status, error = failure(capsys, "figure", "figure3", "--runs", runs, "--out", str(tmp_path))
    assert status == 1
    assert str(blocker) in error


def test_an_output_folder_that_cannot_be_written_is_named_before_the_work(capsys, tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    target = str(blocker / "out")
    status, error = failure(capsys, "figure", "figure3", "--out", target, "--runs", str(tmp_path))
    assert status == 1
    assert str(blocker) in error
    assert list(tmp_path.iterdir()) == [blocker], "nothing was run"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data.csv", "", "data.csv cannot be read as a table"),
        ("data.csv", "a,b\n1,2\n", "data.csv lacks the column"),
        ("provenance.json", "{", "provenance.json is damaged"),
        ("provenance.json", "{}", "names no commit or configuration"),
        ("provenance.json", "null", "names no commit or configuration"),
    ],
)
@pytest.mark.parametrize("report", ["figure3", "estimators"])
def test_damaged_data_are_named(capsys, tmp_path, report, name, content, message):
    folder = tmp_path / "copy"
    shutil.copytree(ROOT / "reports" / report, folder)
    redraw = ("figure", report, "--redraw", "--out", str(folder))
    (folder / name).write_text(content)
    if name == "data.csv":
        status, error = failure(capsys, *redraw)
        assert status == 2
        assert "data.csv is not the table that provenance.json describes" in error
        record = json.loads((folder / "provenance.json").read_text())
        del record["tables"]  # as of a table that was never recorded
        (folder / "provenance.json").write_text(json.dumps(record))
    status, error = failure(capsys, *redraw)
    assert status == 2
    assert message in error


def test_redrawing_does_not_take_one_profile_for_another(capsys, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(ROOT / "reports" / "figure3", folder, ignore=shutil.ignore_patterns("paper"))
    redraw = ("figure", "figure3", "--redraw", "--out", str(folder), "--profile")
    status, error = failure(capsys, *redraw, "paper")
    assert status == 2
    assert f"{folder} holds the profile quick, not paper" in error
    assert main([*redraw, "quick"]) == 0


def test_a_folder_of_another_report_or_profile_is_neither_drawn_nor_written(capsys, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(ROOT / "reports" / "figure2" / "mujoco", folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    into = ("--out", str(folder), "--runs", str(tmp_path / "runs"))
    for arguments, message in (
        (("ablations", "--redraw", *into[:2]), "holds the report figure2, not ablations"),
        (("figure3", *into), "holds the report figure2, not figure3"),
        (("figure2", *into), "holds the profile mujoco, not quick"),
        (("figure2", "--collect", "--profile", "longer", *into), "the profile mujoco, not longer"),
    ):
        status, error = failure(capsys, "figure", *arguments)
        assert status == 2
        assert message in error
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_redrawing_reads_no_runs(capsys, tmp_path):
    status, error = failure(capsys, "figure", "figure3", "--redraw", "--runs", str(tmp_path))
    assert status == 2
    assert "leave out --runs" in error


@pytest.mark.parametrize(
    "failure_of",
    [
        lambda: torch.empty(2**55),
        lambda: (_ for _ in ()).throw(MemoryError("no more")),
        lambda: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory.")),
    ],
)
def test_a_lack_of_memory_is_one_line(capsys, monkeypatch, failure_of):
    monkeypatch.setattr("maac_bench.cli.estimate.make_task", lambda name: failure_of())
    status, error = failure(capsys, "estimate")
    assert status == 1
    assert error.startswith("maac-bench: not enough memory (")
    assert len(error.splitlines()) == 1


def test_another_error_of_torch_is_not_taken_for_a_lack_of_memory(monkeypatch):
    monkeypatch.setattr(
        "maac_bench.cli.estimate.make_task", lambda name: torch.ones(2) @ torch.ones(3)
    )
    with pytest.raises(RuntimeError, match="size"):
        main(["estimate"])


def test_smoothing_that_moves_the_mean_is_said(capsys):
    arguments = ("--estimator", "zeroth-order", "--horizon", "20", "--samples", "4096")
    for smoothing, said in (("0.01", False), ("0.3", True)):
        assert main(["estimate", *arguments, "--smoothing", smoothing]) == 0
        text = "length from what it estimates without smoothing: see --smoothing"
        assert (text in capsys.readouterr().out) == said


def test_a_second_interruption_comes_too_late():
    """While the interpreter takes its leave."""
    code = (
        "import atexit, os, signal\n"
        "from maac_bench import __main__ as program\n"
        "atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))\n"
        "program.main = lambda: 130\n"
        "program.run()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (130, "")


def test_interruption_has_its_own_status(capsys, monkeypatch):
    def interrupt(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("maac_bench.cli.estimate.score", interrupt)
    status, error = failure(capsys, "estimate")
    assert status == 130
    assert "interrupted" in error


def test_the_module_runs_like_the_command():
    result = subprocess.run(
        [sys.executable, "-m", "maac_bench", "estimate", "--horizon", "-2"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr == "maac-bench: horizon must be at least 0, got -2\n"


def test_a_reader_that_has_seen_enough_is_no_error():
    for unbuffered in ("", "1"):
        with subprocess.Popen(
            [sys.executable, "-m", "maac_bench", "list"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        ) as process:
            process.stdout.close()
            assert process.wait() == 1
            assert process.stderr.read() == b""


def test_a_long_gradient_is_shortened(capsys):
    assert main(["estimate", "--task", "maac_bench/RandomLQG20-v0", "--replicates", "2"]) == 0
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) < 10
