import subprocess
import sys

import pytest

from maac_bench.cli import main


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
        (["estimate", "--samples", "0"], "samples must be at least 2, got 0"),
        (["estimate", "--replicates", "1"], "replicates must be at least 2"),
        (["estimate", "--gain-share", "-3"], "K is unstable"),
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


def test_interruption_has_its_own_status(capsys, monkeypatch):
    def interrupt(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("maac_bench.cli.score", interrupt)
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
