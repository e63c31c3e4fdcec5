"""The page as a whole: one file, the same bytes from the same data."""

from __future__ import annotations

from pathlib import Path

from reports.files import partial_of
from reports.page.markup import page_html
from reports.page.origin import origin_html
from reports.page.paper import claims_html
from reports.page.sections import ANCHORS, SECTIONS, section_html
from reports.page.tables import benchmark_html

_HERE = Path(__file__).parent
_TITLE = "maac_bench: how good is the gradient through a learned model?"
_INTRODUCTION = """<h1>How good is the gradient when you differentiate through a learned model?</h1>
<p>maac_bench scores policy-gradient estimators against the <em>exact</em> gradient of
linear-quadratic-Gaussian problems, and trains agents on MuJoCo with the very objective and rollout
that are scored. It reproduces <em>Model-Augmented Actor-Critic: Backpropagating through Paths</em>
(Clavera, Fu, Abbeel, ICLR 2020): the gradient error against the horizon from really fitted models
and critics, the learning curves with their baselines and ablations, and the paper's bounds as
printed and corrected.</p>
<p>Everything below is drawn from the tables committed beside the code. Under each report stand the
command, the commit, the seeds and the versions that made its data; what has not been run is
named.</p>
<noscript><p class="missing">The learning curves need JavaScript; the figures, tables and texts do
not.</p></noscript>
"""
_BENCHMARKS = (
    ("", "make bench", "One update or gradient"),
    ("cuda", "make bench-cuda", "One update on a GPU, all seeds together"),
    ("long_run", "make bench-run", "A run that is as old as the paper's"),
    ("jacobians", "make jacobians", "The simulator's Jacobian beside differences of whole steps"),
    ("first_use", "make first-use", "The main commands in a fresh clone"),
)
"""Folder, command, and what is measured."""


def write_page(reports: Path, out: Path) -> int:
    """Write the page; its size in bytes.

    Args:
        reports: the folder of all reports; `docs` and `benchmarks` are beside it.
        out: the file.

    Raises:
        ValueError: there is no such folder, or data that are there are damaged.
        OSError: the file cannot be written.
    """
    data = build_page(reports).encode()
    temporary = partial_of(out)
    try:
        temporary.write_bytes(data)
        temporary.replace(out)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(out)) from error
    return len(data)


def build_page(reports: Path) -> str:
    """The page's HTML; see `write_page`."""
    if not any((reports / name).is_dir() for name in SECTIONS):
        raise ValueError(f"{reports} is no folder of reports")
    titles = {
        "paper": "Paper and here",
        **{name: section.title for name, section in SECTIONS.items()},
        "benchmarks": "Benchmarks",
        "errata": "Errata",
    }
    links = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title in titles.items())
    body = [
        _INTRODUCTION,
        f'<nav aria-label="contents"><ul>{links}</ul></nav>\n',
        _claims(reports),
        *(section_html(reports, name) for name in SECTIONS),
        _benchmarks(reports.parent / "benchmarks"),
        _errata(reports.parent / "docs" / "errata.md"),
    ]
    style = (_HERE / "page.css").read_text(encoding="utf-8")
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # An icon of its own: browsers would ask for one.
        '<link rel="icon" href="data:,">\n'
        f"<title>{_TITLE}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f"{''.join(body)}</main>\n<script>\n{script}</script>\n</body>\n</html>\n"
    )


def _claims(reports: Path) -> str:
    profiles = {name: section.profiles for name, section in SECTIONS.items()}
    return (
        '<section id="paper">\n<h2>Paper and here</h2>\n'
        "<p>The paper gives mean ± standard deviation of converged policies on its own variants of "
        "the MuJoCo tasks. Ours are those of <code>maac</code> on the same variants: interquartile "
        "means with bootstrap intervals, nominally 95 %, of fewer than four seeds about their "
        "range; with planning, mean ± standard deviation over seeds. <strong>A reduced profile "
        "says nothing about the paper's numbers</strong>: its nets are smaller, its "
        "runs shorter or its seeds fewer. Of profiles that show the same run the longest "
        "counts.</p>\n"
        f"{claims_html(reports, profiles)}</section>\n"
    )


def _benchmarks(folder: Path) -> str:
    parts = []
    for name, command, what in _BENCHMARKS:
        path = folder / name / "results.csv"
        parts.append(f"<h3>{what}</h3>\n")
        if path.exists():
            parts.append(benchmark_html(path) + origin_html(path.parent))
        else:
            parts.append(f'<p class="missing">Not run yet: <code>{command}</code>.</p>\n')
    return (
        '<section id="benchmarks">\n<h2>Benchmarks</h2>\n'
        "<p>Wall-clock times of the machine named below each; they do not repeat to the digit. The "
        f"floor is the time of the same matrix products alone.</p>\n{''.join(parts)}</section>\n"
    )


def _errata(path: Path) -> str:
    text = (
        page_html(path, ANCHORS, level=2)
        if path.exists()
        else '<h2>Errata</h2>\n<p class="missing">Missing: docs/errata.md.</p>\n'
    )
    return f'<section id="errata">\n{text}</section>\n'
