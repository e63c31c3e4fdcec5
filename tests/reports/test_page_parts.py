"""Parts of the page, from tables made by hand."""

import re
from pathlib import Path

import pandas as pd
import pytest

from reports.page.charts import group_html
from reports.page.markup import table_html
from reports.page.origin import origin_html
from reports.page.paper import claims_html
from reports.page.sections import section_html
from reports.page.tables import number, summary_html
from reports.provenance import publish, record
from tests.reports.pages import Page

TASK = "maac_bench/HalfCheetah-v0"


def scores(algo: str, counts: dict[str, int], iqm: float, **against: float) -> list[dict]:
    """A row of summary.csv per measure."""
    row = {"task": TASK, "algo": algo, "iqm": iqm, "low": iqm - 1, "high": iqm + 1, **against}
    return [{**row, "measure": measure, "n": n} for measure, n in counts.items()]


def write(folder: Path, rows: list[dict], unfinished: list[str] | None = None) -> Path:
    """A report with this summary, and a curve of two episodes for every seed of it."""
    summary = pd.DataFrame(rows)
    data = pd.DataFrame(
        {"task": TASK, "algo": algo, "seed": seed, "episode": k, "return": float(k)}
        for algo, of in summary.groupby("algo", sort=False)
        for seed in range(of["n"].max())
        for k in (1, 2)
    )
    settings = {"profile": "quick", "algorithms": list(summary["algo"].unique())}
    origin = record("made up", settings) | {"unfinished": unfinished or []}
    publish({"data.csv": data, "summary.csv": summary}, folder, origin)
    return folder


def test_the_papers_numbers_stand_beside_those_of_its_algorithm_alone(tmp_path):
    rows = [*scores("sac", {"final": 4}, 20.0), *scores("maac", {"final": 4}, 30.0)]
    write(tmp_path / "figure2", [*rows, *scores("maac-plus", {"final": 4}, 40.0)])
    text = claims_html(tmp_path, {"figure2": ["quick"], "ablations": [], "table1": []})
    cells = re.search(r"<tr><td>HalfCheetah</td><td>final return</td>(.*?)</tr>", text)[1]
    ours = "30 [29, 31] (figure2, profile quick, 4 seeds)"
    assert cells == f"<td>10\xa0700\xa0±\xa0253</td><td>{ours}</td>"


def test_the_algorithm_that_the_others_are_compared_with_is_named(tmp_path):
    against = {"improvement": 0.75, "improvement_low": 0.5, "improvement_high": 1.0}
    rows = [*scores("maac", {"final": 2}, 3.0), *scores("sac", {"final": 2}, 2.0, **against)]
    text = summary_html(write(tmp_path, rows))
    assert '<th scope="col">P(maac better), final return</th>' in text
    assert f"<td>{TASK}</td><td>maac</td><td>2</td><td>3 [2, 4]</td><td>–</td>" in text
    assert f"<td>{TASK}</td><td>sac</td><td>2</td><td>2 [1, 3]</td><td>0.75 [0.5, 1]</td>" in text


def test_nothing_is_better_than_an_algorithm_without_scores(tmp_path):
    none = dict.fromkeys(("improvement", "improvement_low", "improvement_high"), float("nan"))
    rows = [*scores("maac", {"final": 0}, 3.0), *scores("sac", {"final": 2}, 2.0, **none)]
    assert "better" not in summary_html(write(tmp_path / "one", rows))
    # Named by what was asked for, not by who has no comparison.
    against = {"improvement": 0.75, "improvement_low": 0.5, "improvement_high": 1.0}
    rows = [*scores("maac", {"final": 2}, 3.0), *scores("steve", {"final": 2}, 2.0, **against)]
    sac = [{**row, "task": "maac_bench/Ant-v0"} for row in scores("sac", {"final": 2}, 1.0, **none)]
    assert "P(maac better), final" in summary_html(write(tmp_path / "two", [*rows, *sac]))


def test_an_interval_that_is_a_point_is_not_shown_and_p_is(tmp_path):
    """Two seeds all behind two others: a bootstrap of that has no spread, and says nothing."""
    beaten = {"improvement": 1.0, "improvement_low": 1.0, "improvement_high": 1.0}
    rows = [
        *scores("maac", {"final": 2}, 3.0, p_value=float("nan")),
        *scores("sac", {"final": 2}, 2.0, p_value=1 / 3, **beaten),
    ]
    assert "<td>1, p = 0.333</td>" in summary_html(write(tmp_path / "two", rows))
    single = [
        {**row, "low": row["iqm"], "high": row["iqm"], "n": 1, "p_value": float("nan")}
        for row in rows
    ]
    text = summary_html(write(tmp_path / "one", single))
    assert "<td>maac</td><td>1</td><td>3</td><td>–</td>" in text
    assert "<td>sac</td><td>1</td><td>2</td><td>1</td>" in text


def test_a_measure_that_fewer_seeds_have_is_counted(tmp_path):
    rows = [
        *scores("maac", {"final": 5, "episodes_to_90": 3}, 7.0),
        *scores("sac", {"final": 5}, 7),
    ]
    text = summary_html(write(tmp_path, [*rows, *scores("sac", {"episodes_to_90": 5}, 7.0)]))
    assert "<td>maac</td><td>3 to 5</td>" in text
    assert "<td>sac</td><td>5</td>" in text
    assert "with its bootstrap band (about the seeds' range)" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (99.94, "99.9"),
        (100.4, "100"),
        (999.6, "1\u202f000"),
        (1000.0, "1\u202f000"),
        (-12345.0, "−12\u202f345"),
        (-0.01234, "−0.0123"),
        (float("nan"), "–"),
    ],
)
def test_numbers_have_three_digits_or_are_whole(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("seeds", "words"),
    [((4, 3), "bootstrap band (about the seeds' range)"), ((4, 5), "nominal 95 % bootstrap band")],
)
def test_a_caption_goes_by_the_line_of_the_fewest_seeds(tmp_path, seeds, words):
    rows = [*scores("sac", {"final": seeds[0]}, 1.0), *scores("other", {"final": seeds[1]}, 1.0)]
    write(tmp_path / "parity", rows)
    assert f"Interquartile mean over seeds and {words}; thin" in section_html(tmp_path, "parity")


def test_cells_of_tables_are_text():
    text = table_html(["a < b"], [["<b>1</b> & 2\n3"]])
    assert '<th scope="col">a &lt; b</th>' in text
    assert "<td>&lt;b&gt;1&lt;/b&gt; &amp; 2<br>3</td>" in text


def test_no_name_ends_the_data_of_a_chart_early():
    group = {"x": "x", "y": "y", "colors": {}, "charts": [{"title": "</script>1", "series": []}]}
    assert Page(group_html("here", group)).data == {"here": group}


def test_four_unfinished_seeds_are_named_and_the_others_counted(tmp_path):
    rows, lines = scores("sac", {"final": 1}, 1.0), [f"seed {k}" for k in range(6)]
    named = "<strong>Unfinished:</strong> seed 0; seed 1; seed 2; seed 3"
    for count, end in ((4, "</p>"), (5, "; and 1 more</p>"), (6, "; and 2 more</p>")):
        text = origin_html(write(tmp_path / str(count), rows, lines[:count]))
        assert text.endswith(f"{named}{end}\n")
