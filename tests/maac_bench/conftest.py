"""Fixtures of several files here."""

import pytest

from maac_bench.run import RunDirectory
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
