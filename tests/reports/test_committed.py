"""What is published can be drawn, and is what its provenance says."""

import json
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from matplotlib.testing.compare import compare_images

from reports.__main__ import main as redraw
from reports.ablations.settings import REPORT as ABLATIONS
from reports.figure2.settings import REPORT as FIGURE2
from reports.figures import NAMES, draw, published
from reports.files import PUBLISHED_DIGITS, ROOT, file_digest, write_csv
from reports.registry import REPORTS, folder

PUBLISHED = [
    (name, profile)
    for name, report in REPORTS.items()
    for profile in report.profiles
    if (folder(name, profile) / "provenance.json").exists()
]
CURVES = {report.name: report for report in (FIGURE2, ABLATIONS)}


def test_every_published_folder_belongs_to_a_report_and_is_redrawn():
    found = {path.parent for path in (ROOT / "reports").rglob("provenance.json")}
    assert found == {folder(name, profile) for name, profile in PUBLISHED}
    assert set(published(ROOT / "reports")) == {(n, folder(n, profile)) for n, profile in PUBLISHED}


def test_every_report_has_a_figure():
    assert set(NAMES) == set(REPORTS)


def test_redrawing_refuses_damaged_tables_in_one_line(tmp_path, capsys):
    home = tmp_path / "figure3"
    home.mkdir()
    shutil.copy(folder("figure3", "quick") / "provenance.json", home)
    assert redraw([str(tmp_path)]) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert str(home) in error
    assert redraw([str(tmp_path / "typo")]) == 2
    assert "holds no report with tables" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["reports", "reports.page"])
def test_ctrl_c_is_one_line_even_while_libraries_load(module):
    """The signal comes with the first library: from inside an import, wherever it stands."""
    code = (
        "import os, runpy, signal, sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'pandas':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "sys.argv[1:] = []\n"
        f"runpy.run_module({module!r}, run_name='__main__')\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (130, f"{module}: interrupted\n")


@pytest.mark.parametrize(("name", "profile"), [pair for pair in PUBLISHED if pair[0] in CURVES])
def test_a_published_summary_follows_from_its_curves(name, profile, tmp_path):
    home = folder(name, profile)
    summary = CURVES[name].summary(profile, pd.read_csv(home / "data.csv"))
    write_csv(summary, tmp_path / "summary.csv", PUBLISHED_DIGITS)
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "summary.csv"), pd.read_csv(home / "summary.csv"), rtol=1e-4
    )


@pytest.mark.parametrize(("name", "profile"), PUBLISHED)
def test_published_tables_can_be_drawn_by_this_version(name, profile, tmp_path):
    home = folder(name, profile)
    tables = json.loads((home / "provenance.json").read_text())["tables"]
    for path in home.iterdir():
        if path.suffix in (".csv", ".json"):
            shutil.copy(path, tmp_path)
    assert {table: file_digest(tmp_path / table) for table in tables} == tables
    drawn = draw(name, tmp_path)
    assert {path.name for path in drawn} == {path.name for path in home.glob("*.png")}
    for image in drawn:  # what is committed has been drawn by this version: None is no difference
        assert compare_images(str(home / image.name), str(image), tol=0.3) is None
