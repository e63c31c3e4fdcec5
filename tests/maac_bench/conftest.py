"""Fixtures of several files here."""

import pytest

from maac_bench.estimators import ESTIMATORS
from maac_bench.presets import ALGORITHMS
from maac_bench.run import RunDirectory
from maac_bench.tasks import TASKS
from tests.maac_bench.own_module import MODULE
from tests.maac_bench.runs import IDENTITY


@pytest.fixture
def opened():
    """Opens run directories and closes them at the end."""
    runs = []

    def open_run(path, identity=IDENTITY, provenance=None):
        runs.append(RunDirectory(path, identity, provenance or {"commit": "abc"}))
        return runs[-1]

    yield open_run
    for run in runs:
        run.close()


@pytest.fixture
def module(tmp_path, monkeypatch, request):
    """Its name, in the working directory; what it adds is taken away afterwards."""
    name = f"own_names_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(MODULE.format(name=name))
    (tmp_path / "own_folder").mkdir()
    monkeypatch.chdir(tmp_path)
    yield name
    for table in (TASKS, ESTIMATORS, ALGORITHMS):
        for known in [known for known in table if known.startswith(f"{name}:")]:
            del table[known]
