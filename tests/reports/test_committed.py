"""What is published can be drawn, and is what its provenance says."""

import json
import shutil

import pytest

from reports.files import ROOT, file_digest
from reports.registry import REPORTS, folder
from reports.style import use_style

PUBLISHED = [
    (name, profile)
    for name, report in REPORTS.items()
    for profile in report.profiles
    if (folder(name, profile) / "provenance.json").exists()
]


def test_every_published_folder_belongs_to_a_report():
    found = {path.parent for path in (ROOT / "reports").rglob("provenance.json")}
    assert found == {folder(name, profile) for name, profile in PUBLISHED}


@pytest.mark.parametrize(("name", "profile"), PUBLISHED)
def test_published_tables_can_be_drawn_by_this_version(name, profile, tmp_path):
    home = folder(name, profile)
    tables = json.loads((home / "provenance.json").read_text())["tables"]
    for path in home.iterdir():
        if path.suffix in (".csv", ".json"):
            shutil.copy(path, tmp_path)
    assert {table: file_digest(tmp_path / table) for table in tables} == tables
    use_style()
    REPORTS[name].draw(tmp_path)
    drawn = {path.name for path in tmp_path.glob("*.png")}
    assert drawn == {path.name for path in home.glob("*.png")}
