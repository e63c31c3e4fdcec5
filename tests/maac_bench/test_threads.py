import os
import subprocess
import sys

import pytest
import torch

from maac_bench.threads import wait_briefly

PARALLEL = torch.__config__.parallel_info()


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or "OpenMP" not in PARALLEL,
    reason="needs the GNU OpenMP library",
)
@pytest.mark.parametrize(
    ("own", "rounds"), [({}, "20000"), ({"GOMP_SPINCOUNT": "7"}, "7")], ids=("ours", "the user's")
)
def test_the_library_is_told_before_it_is_loaded(own, rounds):
    """It says what it read."""
    policies = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    environment = {name: value for name, value in os.environ.items() if name not in policies}
    done = subprocess.run(
        [sys.executable, "-m", "maac_bench", "list"],
        env={**environment, **own, "OMP_DISPLAY_ENV": "verbose"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"GOMP_SPINCOUNT = '{rounds}'" in done.stderr


def test_a_policy_of_the_users_stays(monkeypatch):
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    wait_briefly()
    assert "GOMP_SPINCOUNT" not in os.environ
