"""The line under a report: where its data come from."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from reports import provenance

_NAMED = 4
"""Unfinished seeds that are named; the rest is counted."""


def origin_html(folder: Path) -> str:
    """Command, commit, seeds, versions and what is unfinished; whether the tables are the recorded.

    Raises:
        ValueError: the provenance is missing or damaged.
    """
    record = provenance.load(folder)
    settings = record["configuration"]
    parts = [
        f"<code>{escape(str(record.get('command', 'command not recorded')))}</code>",
        f"commit {escape(str(record['commit']))}",
        escape(_seeds(settings)),
        escape(_versions(record)),
    ]
    lines = [" · ".join(part for part in parts if part)]
    if settings.get("label"):
        lines.insert(0, f"<strong>{escape(str(settings['label']))}</strong>")
    unfinished = [str(line) for line in record.get("unfinished", [])]
    if unfinished:
        more = len(unfinished) - _NAMED
        named = unfinished[:_NAMED] + ([f"and {more} more"] if more > 0 else [])
        lines.append(f"<strong>Unfinished:</strong> {escape('; '.join(named))}")
    if other := provenance.altered(record, folder):
        lines.append(f"<strong>Not as recorded:</strong> {escape(', '.join(other))}")
    return f'<p class="origin">{"<br>".join(lines)}</p>\n'


def _seeds(settings: Mapping[str, Any]) -> str:
    seeds = settings.get("seeds")
    if isinstance(seeds, list):
        return f"seeds {', '.join(map(str, seeds))}"
    if isinstance(seeds, int):
        return f"seeds 0 to {seeds - 1}"
    if "replicates" in settings:
        return f"{settings['replicates']} replicates, one seed each"
    return "seeds not recorded"


def _versions(record: Mapping[str, Any]) -> str:
    versions = {"Python": record.get("python"), **record.get("packages", {})}
    return ", ".join(f"{name} {version}" for name, version in versions.items() if version)
