"""The page of the committed reports, without a browser."""

import base64
import io
import json
import re

import pandas as pd
import pytest
from PIL import Image

from reports.ablations.figure import COLORS as ABLATIONS
from reports.figure2.figure import COLORS as FIGURE2
from reports.files import ROOT
from reports.page.build import build_page
from reports.page.sections import SECTIONS
from tests.reports.pages import Page, curves_of


@pytest.fixture(scope="module")
def committed() -> str:
    return build_page(ROOT / "reports")


def test_nothing_is_loaded_from_elsewhere(committed):
    page = Page(committed)
    assert page.loads
    assert all(source.startswith("data:") for source in page.loads)
    assert "url(" not in page.style
    assert "@import" not in page.style
    script = committed.rpartition("<script>")[2]
    assert not re.search(r"\b(fetch|import|XMLHttpRequest|WebSocket|Worker)\b", script)
    assert re.findall(r"url\(.", script) == ["url(#"]
    assert len(committed.encode()) < 6e6


def test_every_image_is_whole_and_of_the_stated_size(committed):
    images = Page(committed).images
    assert len(images) >= 6
    assert len({image["src"] for image in images}) == len(images)
    for image in images:
        data = base64.b64decode(image["src"].removeprefix("data:image/webp;base64,"), validate=True)
        picture = Image.open(io.BytesIO(data))
        assert picture.format == "WEBP"
        assert picture.size == (int(image["width"]), int(image["height"]))
        picture.load()
        assert image["alt"]


def test_every_link_within_the_page_leads_somewhere(committed):
    page = Page(committed)
    assert len(set(page.anchors)) == len(page.anchors)
    inner = [link for link in page.links if not link.startswith(("http://", "https://"))]
    assert {"#figure3", "#errata"} <= set(inner)
    assert {link.removeprefix("#") for link in inner} <= set(page.anchors)


def test_every_report_is_there_with_its_origin(committed):
    for name in SECTIONS:
        assert f'<section id="{name}">' in committed
    for path in [
        *ROOT.glob("reports/*/provenance.json"),
        *ROOT.glob("reports/*/*/provenance.json"),
    ]:
        if path.parent.name in SECTIONS or path.parent.parent.name in SECTIONS:
            assert json.loads(path.read_text())["commit"].split()[0] in committed
    assert "Errata of" in committed
    assert "gradient_pathwise" in committed


def test_no_line_is_black_on_a_dark_page(committed):
    groups = Page(committed).data
    assert any("maac-plain" in group["colors"] for group in groups.values())
    for group in groups.values():
        assert "#000000" not in {color.lower() for color in group["colors"].values()}


def test_series_of_a_chart_have_colours_of_their_own_and_those_of_the_figure(committed):
    groups = Page(committed).data
    for name, group in groups.items():
        for chart in group["charts"]:
            colors = [group["colors"][series["name"]] for series in chart["series"]]
            assert len(set(colors)) == len(colors), name
    four = ("maac", "mbpo", "steve", "sac")
    assert groups["figure2-quick-data"]["colors"] == {name: FIGURE2[name] for name in four}
    assert groups["ablations-critic-unit-baseline-data"]["colors"]["mbpo"] == ABLATIONS["mbpo"]


def test_every_benchmark_is_shown_with_its_origin(committed):
    part = committed.partition('id="benchmarks"')[2].partition("</section>")[0]
    tables = [
        *(ROOT / "benchmarks").glob("results.csv"),
        *(ROOT / "benchmarks").glob("*/results.csv"),
    ]
    assert len(tables) >= 3
    assert part.count("<table") == part.count('class="origin"') == len(tables)
    assert part.count("Not run yet") == 5 - len(tables)
    assert "Not as recorded" not in part


def test_intervals_of_few_seeds_are_not_called_95_percent(committed):
    """Under the charts and under the tables: by the profile's own number of seeds."""
    reports = ROOT / "reports" / "ablations"
    for profile, words in (("quick", "nominal 95 %"), ("mujoco", "about the seeds' range")):
        part = committed.partition(f'id="ablations-{profile}"')[2].partition("<h3 ")[0]
        assert part.count(f"with its {words}") + part.count(f"its bootstrap band ({words}") == 1
        assert len(re.findall(rf"over seeds and (bootstrap band \()?{words}", part)) == 1
        folder = reports if profile == "quick" else reports / profile
        seeds = pd.read_csv(folder / "summary.csv")["n"].min()
        assert (seeds >= 4) == (profile == "quick")


def test_embedded_errors_are_figure_3s_table(committed):
    group = Page(committed).data["figure3-quick-data"]
    table = pd.read_csv(ROOT / "reports" / "figure3" / "data.csv")
    table = table[(table["critic"] == "learned") & (table["reference"] == "return")]
    table = table[(table["regime"] == "few") & table["gain"].isin(["poor", "near-optimal"])]
    titles = table["regime"] + " data, " + table["gain"] + " gain"
    names = table["dynamics"] + " dynamics"
    columns = (titles, names, table["seed"], table["horizon"], table["l1_error"])
    assert curves_of(group) == set(zip(*columns, strict=True))
