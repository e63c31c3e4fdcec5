"""Pages for tests: what a page has, and small reports to build one from."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd

from reports.curve_tables import score_table, summary_table, timing_table
from reports.files import write_csv
from reports.provenance import publish, record

LOADING = {"src", "srcset", "poster", "data", "action", "background", "xlink:href"}


class Page(HTMLParser):
    """What a page has: what it loads, its images, links, anchors and embedded data."""

    def __init__(self, text: str):
        super().__init__()
        self.loads, self.images, self.links, self.anchors = [], [], [], []
        self.data, self.style, self.open = {}, "", []
        self.group = self.kind = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.loads += [value for name, value in attributes if name in LOADING]
        if tag == "link":
            self.loads.append(named["href"])
        if tag == "img":
            self.images.append(named)
        if tag == "a":
            self.links.append(named["href"])
        if "id" in named:
            self.anchors.append(named["id"])
        if named.get("class") == "group":
            self.group = named["id"]
        self.kind = named.get("type", tag)

    def handle_endtag(self, _tag):
        self.kind = ""

    def handle_data(self, data):
        if self.kind == "application/json":
            self.data[self.group] = json.loads(data)
        if self.kind == "style":
            self.style += data


def make_curves(folder: Path, profile: str, task: str) -> None:
    """A small report of learning curves, one seed of which has not ended."""
    rows = [
        {"task": task, "algo": algo, "seed": seed, "episode": k, "env_steps": 1000 * k}
        | {"return": 100.5 * k * (seed + 1) - 7 * len(algo)}
        for algo in ("maac", "sac")
        for seed in (0, 1)
        for k in range(1, 61 - 20 * (algo == "sac" and seed == 1))
    ]
    data = pd.DataFrame(rows).assign(profile=profile)
    scores = score_table(data, {task: 60}, (50,))
    summary = summary_table(data, scores, ("final", "area", "return_at_50"), against="maac")
    configuration = {
        "profile": profile,
        "label": "reduced: for tests",
        "seeds": [0, 1],
        "algorithms": ["maac", "sac"],
    }
    origin = record("maac-bench figure made-up", configuration)
    origin["unfinished"] = ["Made/sac seed 1: 40 of 60 episodes"]
    publish({"data.csv": data, "summary.csv": summary}, folder, origin)
    timings = timing_table(
        data.assign(seconds=2.0, seconds_update=1.0, seconds_model=0.0, seconds_branch=0.0)
    )
    write_csv(timings, folder / "timings.csv")


def make_reports(folder: Path) -> Path:
    """Two profiles of one report, and nothing else."""
    reports = folder / "all" / "reports"
    make_curves(reports / "figure2", "quick", "maac_bench/Pendulum-v0")
    make_curves(reports / "figure2" / "mujoco", "mujoco", "maac_bench/HalfCheetah-v0")
    return reports


def curves_of(group: dict) -> set[tuple]:
    """Every point of a group of charts: chart, series, seed, x, y."""
    return {
        (chart["title"], series["name"], int(seed), x, y)
        for chart in group["charts"]
        for series in chart["series"]
        for seed, curve in series["seeds"].items()
        for x, y in zip(curve["x"], curve["y"], strict=True)
    }
