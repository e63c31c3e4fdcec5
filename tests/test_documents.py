"""What the documents point to is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "reports").glob("*/*.md")]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(path):
    links = re.findall(r"\]\(([^)\s]+)\)", path.read_text())
    inside = [link.partition("#")[0] for link in links if not link.startswith(("http", "#"))]
    missing = [link for link in inside if not (path.parent / link).exists()]
    assert not missing


def test_there_are_documents_with_links():
    assert len(DOCUMENTS) > 10
    assert any("](docs/errata.md)" in path.read_text() for path in DOCUMENTS)
