"""The page of all reports in a real browser."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from reports.files import ROOT
from reports.page.build import build_page
from tests.reports.pages import make_reports

FRAME = """<!DOCTYPE html><body><pre id="out"></pre>
<iframe src="probe.html{fragment}" style="border:0;width:{width}px;height:800px"></iframe><script>
const out = document.getElementById("out");
addEventListener("message", (event) => {{ out.textContent = event.data; }});
</script>"""
PROBE = """<script>
addEventListener("load", () => {
  const group = document.querySelector("#figure2-quick-data");
  const picture = () => group.querySelector("svg").innerHTML;
  const press = (query) => { group.querySelector(query).click(); return picture(); };
  const whole = picture();
  const result = {
    whole,
    without_maac: press('[data-hide="maac"]'),
    pressed: group.querySelector('[data-hide="maac"]').getAttribute("aria-pressed"),
    again: press('[data-hide="maac"]'),
    without_seed: press('[data-hide="seed-1"]'),
    with_seed: press('[data-hide="seed-1"]'),
    zoomed: press('[data-zoom="in"]'),
    moved: press('[data-zoom="right"]'),
    reset: press('[data-zoom="reset"]'),
    images: [...document.images].map((image) => image.complete && image.naturalWidth > 0),
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    hidden: [...document.querySelectorAll('[aria-pressed="false"]')].length,
  };
  const svg = group.querySelector("svg");
  const box = svg.getBoundingClientRect();
  svg.setPointerCapture = () => {};  // made-up pointers cannot be captured
  const point = (kind, share) => svg.dispatchEvent(new PointerEvent(kind, {
    clientX: box.left + share * box.width, clientY: box.top + 50, pointerId: 1, bubbles: true }));
  point("pointermove", 0.5);
  result.values = svg.querySelectorAll(".value").length;
  point("pointerdown", 0.4); point("pointermove", 0.7); point("pointerup", 0.7);
  result.dragged = picture();
  svg.dispatchEvent(new MouseEvent("dblclick"));
  result.back = picture();
  for (let k = 0; k < 80; k++) group.querySelector('[data-zoom="in"]').click();
  result.deep = svg.querySelectorAll("text").length;
  svg.dispatchEvent(new MouseEvent("dblclick"));
  const labels = (chart) => chart.querySelectorAll('[text-anchor="end"]').length;
  for (const button of document.querySelectorAll("#estimators-quick-data [data-hide]")) {
    if (button.dataset.hide !== "dpg") button.click();
  }
  result.labels = [...document.querySelectorAll("#estimators-quick-data svg")].map(labels);
  result.off = [];
  for (const chart of document.querySelectorAll(".chart svg")) {
    const place = chart.getBoundingClientRect();
    for (let share = 0.1; share < 1; share += 0.1) {
      chart.dispatchEvent(new PointerEvent("pointermove", {
        clientX: place.left + share * place.width, clientY: place.top + 50, pointerId: 1 }));
      const hint = chart.querySelector(".hint");
      if (!hint) continue;
      const [left, width] = ["x", "width"].map((name) => +hint.getAttribute(name));
      result.off.push(Math.max(-left, left + width - chart.clientWidth));
    }
  }
  parent.postMessage("PROBE" + JSON.stringify(result) + "END", "*");
});
</script>"""


@pytest.fixture
def reduced(tmp_path) -> Path:
    return make_reports(tmp_path)


CHROMIUM = shutil.which("chromium")


def probe(folder: Path, text: str, width: int, fragment: str = "") -> dict:
    """What a browser makes of a page in a window of this width (pixels)."""
    (folder / "probe.html").write_text(text.replace("</body>", PROBE + "</body>"))
    (folder / "frame.html").write_text(FRAME.format(width=width, fragment=fragment))
    result = subprocess.run(
        [
            CHROMIUM,
            *("--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"),
            *(f"--user-data-dir={folder / 'browser'}", "--window-size=1400,900"),
            *("--virtual-time-budget=20000", "--dump-dom", (folder / "frame.html").as_uri()),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert "CONSOLE" not in result.stderr, result.stderr
    found = re.search("PROBE(.*)END", result.stdout, re.DOTALL)
    assert found, "the page's script failed"
    return json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [360, 1280])
def test_in_a_browser(tmp_path, reduced, width):
    """All committed images, and charts that answer: whole -> hidden -> whole, zoomed -> whole."""
    for name in ("figure3", "estimators"):
        shutil.copytree(ROOT / "reports" / name, reduced / name)
    for name in ("docs", "benchmarks"):
        shutil.copytree(ROOT / name, reduced.parent / name)
    seen = probe(tmp_path, build_page(reduced), width)
    assert seen["overflow"] == 0
    assert len(seen["images"]) >= 6
    assert all(seen["images"])
    whole = seen["whole"]
    assert 'data-series="maac"' in whole
    assert 'data-series="maac"' not in seen["without_maac"]
    assert 'data-series="sac"' in seen["without_maac"]
    assert seen["pressed"] == "false"
    assert seen["again"] == whole
    assert 'data-seed="1"' in whole
    assert 'data-seed="1"' not in seen["without_seed"]
    assert seen["with_seed"] == whole
    assert len({whole, seen["zoomed"], seen["moved"], seen["dragged"]}) == 4
    assert seen["reset"] == seen["back"] == whole
    assert seen["values"] == 3  # the step and two algorithms
    assert 4 < seen["deep"] < 40, "axes zoomed in as far as it goes"
    assert min(seen["labels"]) >= 2, "a logarithmic axis of less than a decade"
    assert len(seen["off"]) > 20
    assert max(seen["off"]) <= 0.0, "a hint leaves its chart"
    assert seen["hidden"] == 0


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_an_address_can_hide_curves(tmp_path, reduced):
    seen = probe(tmp_path, build_page(reduced), 1280, "#hide=maac,seed-1")
    assert 'data-series="sac"' in seen["whole"]
    assert 'data-series="maac"' not in seen["whole"]
    assert 'data-seed="1"' not in seen["whole"]
    assert 'data-series="maac"' in seen["without_maac"]  # pressed: shown again


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_the_committed_page_in_a_browser(tmp_path):
    """On a phone: every image of every report, and nothing wider than the screen."""
    text = build_page(ROOT / "reports")
    seen = probe(tmp_path, text, 360)
    assert seen["overflow"] == 0
    assert len(seen["images"]) == text.count("<img ") > 20
    assert all(seen["images"])
    assert 'data-series="mbpo"' in seen["whole"]
