"""Benchmarks are commands like any other: their help is quick, wrong arguments start nothing."""

import importlib
import re

import pytest
import torch

from benchmarks import cuda
from reports.files import ROOT

TARGETS = {
    "bench": "benchmarks",
    "bench-cuda": "benchmarks.cuda",
    "bench-run": "benchmarks.long_run",
    "first-use": "benchmarks.first_use",
    "jacobians": "benchmarks.jacobians",
}


def module(target):
    name = TARGETS[target]
    return importlib.import_module(name if "." in name else f"{name}.__main__")


def test_every_benchmark_of_the_makefile_is_one_of_these():
    found = re.findall(
        r"^\t@\$\(BIN\)/python -m (benchmarks\S*)$", (ROOT / "Makefile").read_text(), re.M
    )
    assert sorted(found) == sorted(TARGETS.values())


@pytest.mark.parametrize(
    ("argument", "status", "said"),
    [
        ("--help", 0, "usage: make {}"),
        ("--quick", 2, "make {}: error: unrecognized arguments: --quick"),
    ],
)
@pytest.mark.parametrize("target", TARGETS)
def test_what_is_no_measurement_starts_none(target, argument, status, said, monkeypatch, capsys):
    monkeypatch.setattr(module(target), "measure_all", lambda: pytest.fail("measured"))
    with pytest.raises(SystemExit) as ended:
        module(target).main([argument])
    assert ended.value.code == status
    assert said.format(target) in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("failure", "status", "line"),
    [
        (KeyboardInterrupt(), 130, "make bench: interrupted\n"),
        (OSError("disk full"), 1, "make bench: disk full\n"),
    ],
)
def test_what_goes_wrong_is_one_line(failure, status, line, monkeypatch, capsys):
    def fail():
        raise failure

    monkeypatch.setattr(module("bench"), "measure_all", fail)
    assert module("bench").main([]) == status
    assert capsys.readouterr().err == line


def test_without_a_gpu_nothing_is_measured_on_one(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert cuda.main([]) == 1
    assert capsys.readouterr().err == "make bench-cuda: no CUDA device is available here\n"
