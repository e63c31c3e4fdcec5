import errno
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch

from reports.files import PUBLISHED_DIGITS, ROOT, partial_of, write_csv
from reports.units import Experiment, _run_unit, run


def make_table(directory: str, name: str, value: float) -> pd.DataFrame:
    """Leaves a mark for every time it runs."""
    with (Path(directory) / f"{name}.ran").open("a") as mark:
        mark.write("x")
    return pd.DataFrame({"name": [name], "value": [value]})


def is_finished(folder: Path, unit: str) -> bool:
    """Whether a unit's digest, the last that it writes, is there in full."""
    digest = folder / f"{unit}.sha256"
    return digest.exists() and digest.stat().st_size == 64


def fail_after(folder: Path, units: list[str]) -> pd.DataFrame:
    """Fails once these units are finished, however the workers are timed."""
    while not all(is_finished(folder, unit) for unit in units):
        time.sleep(0.01)
    raise ValueError("the last unit is broken")


def small(tmp_path, configuration=None):
    units = {
        name: partial(make_table, str(tmp_path), name, value)
        for name, value in (("b", 1 / 3), ("a", 2.0))
    }
    return Experiment("figure3", units, configuration or {"size": 1})


def test_units_run_once_and_in_order(tmp_path):
    first = run(small(tmp_path), tmp_path / "runs")
    second = run(small(tmp_path), tmp_path / "runs")
    assert list(first["name"]) == ["b", "a"]
    pd.testing.assert_frame_equal(first, second)
    assert (tmp_path / "a.ran").read_text() == "x"


def test_another_configuration_starts_afresh(tmp_path):
    run(small(tmp_path), tmp_path / "runs")
    run(small(tmp_path, {"size": 2}), tmp_path / "runs")
    assert (tmp_path / "a.ran").read_text() == "xx"


@pytest.mark.parametrize(
    ("changed", "afresh"),
    [
        ("maac_bench/rollout.py", True),
        ("analytic/lqg.py", True),
        ("reports/figure3/experiment.py", True),
        ("reports/figure3/figure.py", False),  # it only draws
        ("reports/ablations/settings.py", False),  # another report's
        ("reports/units.py", True),
        ("maac_bench/cli/train.py", False),  # help texts
    ],
)
def test_changed_code_starts_afresh(tmp_path, monkeypatch, changed, afresh):
    before = small(tmp_path).directory(tmp_path)
    read = Path.read_bytes

    def edited(path: Path) -> bytes:
        return read(path) + (b"# edited" if path == ROOT / changed else b"")

    monkeypatch.setattr(Path, "read_bytes", edited)
    assert (small(tmp_path).directory(tmp_path) != before) is afresh


@pytest.mark.parametrize("damage", ["name,value\n", "renamed,value\nb,1\n", ""])
def test_a_damaged_unit_is_run_again(tmp_path, damage):
    first = run(small(tmp_path), tmp_path / "runs")
    (table,) = tmp_path.glob("runs/*/a.csv")
    table.write_text(damage)
    pd.testing.assert_frame_equal(run(small(tmp_path), tmp_path / "runs"), first)
    assert (tmp_path / "a.ran").read_text() == "xx"
    assert (tmp_path / "b.ran").read_text() == "x"


def die() -> pd.DataFrame:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def test_a_killed_worker_is_an_error_that_says_so(tmp_path):
    with pytest.raises(OSError, match=r"a worker of figure3 was killed.*run the same command"):
        run(Experiment("figure3", {"a": die}, {}), tmp_path / "runs")


def test_a_failing_unit_keeps_the_finished_ones(tmp_path):
    plan = small(tmp_path)
    folder = plan.directory(tmp_path / "runs")
    fail = partial(fail_after, folder, list(plan.units))
    broken = Experiment("figure3", {**plan.units, "c": fail}, plan.configuration)
    with pytest.raises(ValueError, match="the last unit is broken"):
        run(broken, tmp_path / "runs")
    run(plan, tmp_path / "runs")
    for name in plan.units:
        assert (tmp_path / f"{name}.ran").read_text() == "x"


def remove(path: Path) -> pd.DataFrame:
    path.unlink()
    return pd.DataFrame({"name": ["d"], "value": [0.0]})


def test_what_somebody_else_has_changed_meanwhile_is_no_result(tmp_path):
    plan = small(tmp_path)
    run(plan, tmp_path / "runs")
    table = plan.directory(tmp_path / "runs") / "a.csv"
    more = Experiment("figure3", {**plan.units, "d": partial(remove, table)}, plan.configuration)
    with pytest.raises(OSError, match=r"changed by somebody else: run the same again"):
        run(more, tmp_path / "runs")
    assert list(run(plan, tmp_path / "runs")["name"]) == ["b", "a"]


def test_an_unwritable_folder_is_an_os_error(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(OSError, match="file"):
        run(small(tmp_path), blocker / "runs")


def test_a_table_is_never_half_written(tmp_path):
    path = tmp_path / "t.csv"
    write_csv(pd.DataFrame({"x": [1 / 3]}), path, PUBLISHED_DIGITS)
    assert path.read_text() == "x\n0.333333\n"
    write_csv(pd.DataFrame({"x": [1 / 3]}), path)
    assert pd.read_csv(path)["x"][0] == 1 / 3
    assert list(tmp_path.iterdir()) == [path]


SCRIPT = """
import sys, time
from functools import partial
from pathlib import Path
import pandas as pd
from reports.units import Experiment, run
from reports.workers import Interrupted

def unit(seconds):
    time.sleep(seconds)
    return pd.DataFrame({"seconds": [seconds]})

if __name__ == "__main__":
    plan = Experiment("figure3", {"quick": partial(unit, 0.0), "slow": partial(unit, 60.0)}, {})
    try:
        run(plan, Path(sys.argv[1]))
    except Interrupted as error:
        print(error)
        sys.exit(130)
"""


def test_a_full_disk_names_the_file_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_arguments, **_options):
        partial_of(tmp_path / "t.csv").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(OSError, match=r"No space left on device: .*t\.csv") as caught:
        write_csv(pd.DataFrame({"x": [1]}), tmp_path / "t.csv")
    assert caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())


def start_script(tmp_path) -> subprocess.Popen:
    """Two units, one of which never ends; returns once the other one is finished."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "runs")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not any(is_finished(folder, "quick") for folder in tmp_path.glob("runs/*")):
        assert time.monotonic() < deadline, "the quick unit never finished"
        time.sleep(0.1)
    return process


def test_ctrl_c_keeps_what_is_finished(tmp_path):
    process = start_script(tmp_path)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "1 of 2 units of figure3 are finished and kept" in output
    assert not list(tmp_path.glob("runs/*/slow.csv"))


def test_workers_of_a_killed_run_end(tmp_path):
    process = start_script(tmp_path)
    process.kill()
    process.communicate(timeout=30)
    deadline = time.monotonic() + 30
    while _group_is_alive(process.pid):
        assert time.monotonic() < deadline, "orphaned workers"
        time.sleep(0.2)


def _group_is_alive(group: int) -> bool:
    """Whether a process of the group runs; one that ended, and that nobody asks for, does not."""
    states = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # After the name, which may hold anything: state, parent, group.
            state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(its_group) == group:
            states.append(state)
    return any(state not in "ZX" for state in states)


def test_other_versions_start_afresh(tmp_path, monkeypatch):
    before = small(tmp_path).directory(tmp_path)
    monkeypatch.setattr("reports.units.version", lambda name: "0" if name == "torch" else "1")
    now = small(tmp_path).directory(tmp_path)
    monkeypatch.setattr("reports.units.version", lambda name: "1")
    assert len({before, now, small(tmp_path).directory(tmp_path)}) == 3


def count_threads() -> pd.DataFrame:
    return pd.DataFrame({"threads": [torch.get_num_threads()]})


def test_a_unit_computes_on_one_thread(tmp_path):
    torch.set_num_threads(2)
    _run_unit(count_threads, tmp_path / "t.csv")
    assert pd.read_csv(tmp_path / "t.csv")["threads"].tolist() == [1]


def test_an_interruption_counts_what_was_finished_before(tmp_path, monkeypatch):
    said = []

    def here(jobs, _owner, on_done, kept):
        for name, job in jobs.items():
            on_done(name, job())
        said.append(kept())

    monkeypatch.setattr("reports.units.complete", here)
    plan = small(tmp_path)
    run(plan, tmp_path / "runs")
    third = partial(make_table, str(tmp_path), "c", 3.0)
    run(Experiment("figure3", {**plan.units, "c": third}, plan.configuration), tmp_path / "runs")
    assert [text.partition(" units")[0] for text in said] == ["2 of 2", "3 of 3"]


def test_a_table_that_cannot_have_its_name_leaves_nothing(tmp_path):
    (tmp_path / "t.csv").mkdir()
    with pytest.raises(OSError, match=re.escape(str(tmp_path / "t.csv"))):
        write_csv(pd.DataFrame({"x": [1]}), tmp_path / "t.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
