"""The page of all reports: complete, self-contained, and the numbers of the tables."""

import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from maac_bench.__main__ import main as maac_bench
from reports.ablations.figure import COLORS as ABLATIONS
from reports.ablations.settings import PROFILES as ABLATION_PROFILES
from reports.figure2.figure import COLORS as FIGURE2
from reports.figure2.settings import PROFILES as FIGURE2_PROFILES
from reports.files import ROOT
from reports.page.__main__ import main
from reports.page.build import build_page
from reports.page.markup import image_html, page_html
from reports.page.mathml import mathml
from reports.page.sections import SECTIONS
from reports.provenance import publish, record
from reports.registry import REPORTS
from tests.reports.pages import Page, curves_of, make_reports


@pytest.fixture
def reduced(tmp_path) -> Path:
    return make_reports(tmp_path)


def test_the_profiles_are_those_that_can_be_run():
    for name, report in REPORTS.items():
        if name in SECTIONS:
            assert set(SECTIONS[name].profiles) == set(report.profiles), name


@pytest.mark.parametrize("part", [0, 12, 400])
def test_an_image_that_is_not_whole_is_named(tmp_path, part):
    path = tmp_path / "figure.png"
    path.write_bytes((ROOT / "reports" / "figure3" / "figure3.png").read_bytes()[:part])
    with pytest.raises(ValueError, match=f"{path.name} is no whole PNG: draw it again"):
        image_html(path, "caption")


def test_an_image_keeps_its_colours():
    """Nearly: those of the page are 256."""
    path = ROOT / "reports" / "figure3" / "figure3.png"
    source = Page(image_html(path, "caption")).images[0]["src"].partition("base64,")[2]
    with Image.open(io.BytesIO(base64.b64decode(source))) as shown, Image.open(path) as drawn:
        images = [np.asarray(image.convert("RGB"), np.int64) for image in (shown, drawn)]
    difference = np.abs(images[0] - images[1])
    assert difference.max() < 24
    assert difference.mean() < 2


def test_algorithms_of_one_figure_have_colours_of_their_own():
    for profiles, colors in ((ABLATION_PROFILES, ABLATIONS), (FIGURE2_PROFILES, FIGURE2)):
        for name, profile in profiles.items():
            drawn = [colors[algorithm] for algorithm in profile.algorithms]
            assert len(set(drawn)) == len(drawn), name


def test_embedded_curves_are_the_table(reduced):
    groups = Page(build_page(reduced)).data
    assert list(groups) == ["figure2-quick-data", "figure2-mujoco-data"]
    table = pd.read_csv(reduced / "figure2" / "data.csv")
    rows = table[["task", "algo", "seed", "episode", "return"]].itertuples(index=False)
    assert curves_of(groups["figure2-quick-data"]) == {tuple(row) for row in rows}
    line = groups["figure2-quick-data"]["charts"][0]["series"][0]["line"]
    assert line["x"] == list(range(1, 61))
    # Two seeds, 100.5 k and 201 k: their mean, and the extremes as the interval.
    assert line["y"][1] == pytest.approx(100.5 * 3 - 28)
    assert (line["low"][1], line["high"][1]) == (pytest.approx(173), pytest.approx(374))


def test_what_is_missing_is_named(reduced):
    text = build_page(reduced)
    names = "mujoco-repeated, longer, longer-critic-unit, other-tasks, ant, paper-size"
    names = f"{names}, paper-size-repeated, paper-size-gpu, paper"
    assert f"Not run yet: profiles {names}." in text  # figure2
    assert text.count("Not run yet: profiles quick, paper.") == 2  # figure3 and estimators
    first = "mujoco, plus, critic-unit, hopper, walker2d, ant, paper-size, paper-size-critic-unit"
    names = f"{first}, paper-size-gpu-h0, paper-size-tf32-31, paper-size-tf32, paper"
    assert f"Not run yet: profiles {names}." in text  # gradient_error
    assert "Not run yet: profiles exact, mujoco, hopper." in text  # displacement
    assert "Not run yet: profiles mujoco, hopper." in text  # landscape
    names = "quick, mujoco, critic-unit, longer, paper-size, paper-size-gpu, paper-size-tf32, paper"
    assert f"Not run yet: profiles {names}." in text  # table1
    first = (
        "quick, mujoco, mujoco-repeated, longer, critic-unit, critic-unit-baseline, "
        "critic-unit-repeated"
    )
    then = "critic-unit-small-tasks, other-tasks, other-tasks-critic-unit, other-tasks-repeated"
    last = (
        "ant, ant-longer, normalisation, entropy, plus, plus-critic-unit, precision, "
        "updates, fits, target-members, paper-size, paper-size-gpu, paper-size-tf32, "
        "paper-size-tf32-repeated"
    )
    names = f"{first}, {then}, {last}, paper"
    assert f"Not run yet: profiles {names}." in text  # ablations
    assert "Not run yet: <code>make bench</code>" in text
    assert "Missing: docs/errata.md" in text
    assert "<strong>Unfinished:</strong> Made/sac seed 1: 40 of 60 episodes" in text
    assert "reduced: for tests" in text


def test_the_papers_numbers_stand_beside_ours(reduced):
    text = build_page(reduced)
    row = re.search(r"<tr><td>HalfCheetah</td><td>return after 50 .*?</tr>", text)[0]
    # 50 episodes: 100.5 and 201 times 50, less 28.
    assert "about\xa010\xa0000" in row
    assert "7\u202f510 [4\u202f997, 10\u202f022] (figure2, profile mujoco: reduced" in row
    assert re.search(r"<tr><td>Ant</td><td>final return</td>.*?not run yet</td></tr>", text)
    assert "Pendulum" not in text[: text.index('<section id="figure3">')]


def test_a_run_of_which_several_profiles_show_a_part_is_told_once(reduced):
    """The longest of them."""
    folder = reduced / "ablations" / "plus"
    shutil.copytree(reduced / "figure2" / "mujoco", folder)
    text = build_page(reduced)
    row = re.search(r"<tr><td>HalfCheetah</td><td>return after 50 .*?</tr>", text)[0]
    assert row.count("seeds)") == 2
    for name, episodes in (("figure2/mujoco", 50), ("ablations/plus", 25)):
        path = reduced / name / "provenance.json"
        origin = json.loads(path.read_text())
        sizes = {"tasks": {"maac_bench/HalfCheetah-v0": episodes}, "size": "small", "seeds": [0]}
        origin["configuration"] |= sizes
        path.write_text(json.dumps(origin))
    text = build_page(reduced)
    row = re.search(r"<tr><td>HalfCheetah</td><td>return after 50 .*?</tr>", text)[0]
    assert row.count("seeds)") == 1
    assert "(figure2, profile" in row


def test_runs_of_other_devices_and_profiles_without_the_algorithm_hide_no_run(reduced):
    """The longer profile has the other algorithm alone; the third is the first on a GPU."""
    task, name = "maac_bench/HalfCheetah-v0", "HalfCheetah-v0/maac"
    shutil.copytree(reduced / "figure2" / "mujoco", reduced / "figure2" / "paper")
    shutil.copytree(reduced / "figure2" / "mujoco", reduced / "figure2" / "paper-size-gpu")
    for folder, episodes, identities in (
        ("mujoco", 50, {name: {"device": "cpu"}}),
        ("paper", 200, {"HalfCheetah-v0/sac": {"device": "cpu"}}),
        ("paper-size-gpu", 40, {name: {"device": "cuda"}}),
    ):
        path = reduced / "figure2" / folder / "provenance.json"
        origin = json.loads(path.read_text())
        origin["configuration"] |= {"tasks": {task: episodes}, "size": "paper", "seeds": [0]}
        path.write_text(json.dumps(origin | {"identities": identities}))
    text = build_page(reduced)
    row = re.search(r"<tr><td>HalfCheetah</td><td>return after 50 .*?</tr>", text)[0]
    assert re.findall(r"figure2, profile ([\w-]+):", row) == ["mujoco", "paper-size-gpu"]


def test_table_1_is_summarised(reduced):
    rows = [
        {"task": "maac_bench/Hopper-v0", "algo": algo, "seed": seed, "mpc": mpc, "episode": k}
        | {"return": 1000.0 + 100 * seed + 10 * k + 500 * mpc}
        for algo in ("maac", "maac-plus")
        for seed in ((0, 1) if algo == "maac" else (0,))
        for mpc in (0, 1)
        for k in (1, 2, 3)
    ]
    origin = record("maac-bench figure table1", {"profile": "quick"})
    publish({"data.csv": pd.DataFrame(rows)}, reduced / "table1", origin)
    text = build_page(reduced)
    task = "<td>maac_bench/Hopper-v0</td>"
    assert f"{task}<td>maac</td><td>yes</td><td>2</td><td>1\u202f570 ± 70.7</td>" in text
    assert f"{task}<td>maac-plus</td><td>yes</td><td>1</td><td>1\u202f520</td>" in text
    row = re.search(r"<tr><td>Hopper</td><td>with MPC .*?</tr>", text)[0]
    assert "1\u202f520" not in row, "the paper's algorithm alone"
    assert "1\u202f570 ± 70.7 (table1, profile quick, 2 seeds)" in text


def test_other_data_than_recorded_are_called_so(reduced):
    assert "Not as recorded" not in build_page(reduced)
    path = reduced / "figure2" / "data.csv"
    path.write_text(path.read_text() + "\n")
    assert "<strong>Not as recorded:</strong> data.csv" in build_page(reduced)


def test_the_same_bytes_without_loading_what_computes(reduced, tmp_path):
    out = tmp_path / "index.html"
    code = (
        "import sys; from pathlib import Path; from reports.page.build import write_page;"
        "write_page(Path(sys.argv[1]), Path(sys.argv[2]));"
        "print({'torch', 'maac_bench', 'analytic', 'gymnasium'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(reduced), str(out)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "set()\n"
    assert out.read_text(encoding="utf-8") == build_page(reduced)
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(
    "command",
    [lambda folder: main([folder]), lambda folder: maac_bench(["report", "--reports", folder])],
)
def test_the_commands_write_beside_the_reports(reduced, capsys, command):
    assert command(str(reduced)) == 0
    assert (reduced / "index.html").stat().st_size > 10_000
    assert "index.html: 0." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data.csv", "a,b\n1,2\n", "data.csv lacks the column"),
        ("summary.csv", "", "summary.csv cannot be read"),
        ("provenance.json", "{", "provenance.json is damaged"),
        ("README.md", "# T\n\n$\\unknown$\n", "\\unknown, which this page cannot draw"),
        ("README.md", "# T\n\n![a](gone.png)\n", "gone.png is missing"),
    ],
)
def test_damaged_data_are_one_line(reduced, capsys, name, content, message):
    (reduced / "figure2" / name).write_text(content)
    assert main([str(reduced)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("reports.page: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (reduced / "index.html").exists()


def test_bad_places_are_one_line(reduced, capsys, tmp_path):
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "nowhere is no folder of reports" in capsys.readouterr().err
    assert main([str(ROOT / "docs")]) == 2
    assert "docs is no folder of reports" in capsys.readouterr().err
    assert main([str(reduced), str(tmp_path / "no" / "out.html")]) == 1
    assert "out.html" in capsys.readouterr().err


def test_pages_link_within_the_page_or_not_at_all(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(
        "# T\n\n[a](../../docs/errata.md) [b](settings.py) `$x$` [c](https://example.org)\n\n"
        "## U\n\n| h |\n|---|\n| $a_1 < b$ |\n"
    )
    html = page_html(path, {"docs/errata.md": "errata"}, level=2)
    assert '<a href="#errata">a</a> b <code>$x$</code> <a href="https://example.org">c</a>' in html
    assert "<h2>T</h2>" in html
    assert "<h3>U</h3>" in html
    assert "<msub><mi>a</mi><mn>1</mn></msub><mo>&lt;</mo>" in html
    assert '<div class="scroll"><table>' in html


def test_links_to_headings_lead_there(tmp_path):
    path = tmp_path / "figure2" / "README.md"
    path.parent.mkdir()
    path.write_text(
        "# T\n\n[a](#with-two-more-profile-x_y-50--two) [b](../ablations/README.md#a-part)\n"
        "[c](../ablations/README.md)\n\n## With *two* more (profile `x_y`, 50 – two)\n"
    )
    anchors = {f"{name}/README.md": name for name in ("figure2", "ablations")}
    html = page_html(path, anchors, level=2)
    assert '<a href="#figure2-with-two-more-profile-x_y-50--two">a</a>' in html
    assert '<h3 id="figure2-with-two-more-profile-x_y-50--two">With <em>two</em> more' in html
    assert '<a href="#ablations-a-part">b</a>' in html
    assert '<a href="#ablations">c</a>' in html


def test_formulas():
    assert mathml(r"\frac{a}{2}", display=True) == (
        '<math display="block"><mfrac><mrow><mi>a</mi></mrow><mrow><mn>2</mn></mrow></mfrac></math>'
    )
    assert "<munderover><mo>∑</mo>" in mathml(r"\sum_{t=0}^{H}", display=True)
    assert "<msubsup><mo>∑</mo>" in mathml(r"\sum^{H}_{t=0}", display=False)
    assert mathml(r"a \le b", display=False).count("<math>") == 2
    assert "<mtext>Lemma 4.1</mtext>" in mathml(r"\text{Lemma 4.1}", display=False)
    for bad, message in (
        (r"\foo", r"has \\foo"),
        ("{a", "ends too early"),
        ("a}", "closes a group"),
        (r"\left( a", "ends too early"),
        (r"\mathbb{R}", "is not E"),
    ):
        with pytest.raises(ValueError, match=message):
            mathml(bad, display=False)
