"""`maac-bench compare` on runs that lack something, or have what they must not."""

import json
import re

import pytest

from maac_bench.__main__ import main
from maac_bench.config import to_dict
from maac_bench.presets import preset
from reports.comparison import compare
from reports.comparison_output import describe
from tests.reports.made_runs import TASK, make_run


@pytest.mark.parametrize(
    ("returns", "message"),
    [([1, "nan", 3], "the return after 2 rollouts is not finite"), ([1, 2, "inf"], "after 3")],
)
def test_a_return_that_is_no_number_is_named(tmp_path, returns, message):
    make_run(tmp_path / "run", "maac", {0: [1, 2, 3], 1: returns})
    with pytest.raises(ValueError, match=rf"seed-1/metrics.csv: .*{message}"):
        compare([tmp_path])


def test_an_episode_that_is_there_twice_is_named(tmp_path):
    path = make_run(tmp_path / "run", "maac", {0: [1, 2, 3]}) / "seed-0" / "metrics.csv"
    path.write_text(path.read_text() + "2,400,5\n")
    with pytest.raises(ValueError, match=r"metrics.csv is damaged \(rollout 2 is there twice\)"):
        compare([tmp_path])


def test_seeds_without_a_score_do_not_count_as_if_they_had_one(tmp_path):
    folder = make_run(tmp_path / "maac", "maac", {0: [1, 2, 3, 4, 5, 6], 1: [1], 2: [1], 3: [1, 2]})
    for seed in (1, 2, 3):
        (folder / f"seed-{seed}" / "failure.json").write_text("{}")
    found = compare([tmp_path])
    row = found.table.iloc[0]
    assert (row["seeds"], row["scored"], row["final"]) == (4, 1, 4)
    text = describe(found)
    assert "1 of 4" in text
    assert "interquartile mean\n" in text, "and no interval of one"
    assert "seed 1 failed after 1 episode; see" in text
    assert "seed 3 failed after 2 episodes; see" in text


def test_a_comparison_is_written_into_a_new_folder(tmp_path):
    make_run(tmp_path / "run", "maac", {0: [1.0, 2.0]})
    out = tmp_path / "new" / "table.csv"
    assert main(["compare", str(tmp_path / "run"), "--out", str(out)]) == 0
    assert out.exists()


@pytest.mark.parametrize(("option", "name"), [("--out", "table.csv"), ("--figure", "curves.png")])
def test_a_folder_that_cannot_be_written_is_named_before_the_tables(tmp_path, capsys, option, name):
    make_run(tmp_path / "run", "maac", {0: [1.0, 2.0]})
    (tmp_path / "file").touch()
    assert main(["compare", str(tmp_path / "run"), option, str(tmp_path / "file" / name)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "file" in printed.err


def test_of_one_seed_there_is_no_interval(tmp_path):
    make_run(tmp_path / "run", "maac", {0: [1, 2, 3]})
    text = describe(compare([tmp_path]))
    assert text.endswith(
        "episodes  final (last 3)  area\n  maac       1      3-3       2               2"
    )
    assert "first 3 episodes: interquartile mean\n" in text


def test_of_one_seed_each_no_probability_or_share_has_an_interval(tmp_path):
    for k, algorithm in enumerate(("maac", "sac")):
        make_run(tmp_path / algorithm, algorithm, {0: [1, 2, 3 + k]})
    alone = compare([tmp_path])
    for table in (alone.improvement, alone.profile):
        assert table[["low", "high"]].isna().all(axis=None)
    assert re.search(r"maac > sac +0\.00 +1 task\n", describe(alone))
    make_run(tmp_path / "more", "sac", {1: [1, 2, 5]})
    more = compare([tmp_path])
    assert more.improvement[["low", "high"]].notna().all(axis=None)
    assert more.profile.groupby("algo")["low"].apply(lambda low: low.isna().all()).to_dict() == {
        "maac": True,
        "sac": False,
    }


def test_what_is_refused_leaves_no_folder(tmp_path, capsys):
    assert main(["compare", str(tmp_path / "none"), "--out", str(tmp_path / "made" / "x.csv")]) == 2
    assert "holds no run" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("part", "change", "word"),
    [
        ("provenance", {"commit": "other"}, "commit"),
        ("provenance", {"modules": {"my_module": "other"}}, "modules"),
        ("provenance", {"continued": [{"commit": "other", "from_rollout": 2}]}, "commit, modules"),
        ("config", {"device": "cuda"}, "device"),
        ("config", {"compiled": True}, "compiled"),
    ],
)
def test_runs_of_other_code_or_on_another_device_are_said_to_be(tmp_path, part, change, word):
    """They are averaged as one algorithm, so a reader must know."""
    for seed in (0, 1):
        run = make_run(tmp_path / str(seed), "sac", {seed: [1.0, 2.0]})
        (run / "provenance.json").write_text(json.dumps({"commit": "abc"}))
    assert not compare([tmp_path]).remarks
    changed = json.loads((run / f"{part}.json").read_text()) | change
    (run / f"{part}.json").write_text(json.dumps(changed))
    assert compare([tmp_path]).remarks == (f"sac on {TASK}: its 2 runs differ in {word}",)


def test_final_returns_are_said_to_be_of_as_many_evaluations_as_they_are(tmp_path):
    path = make_run(tmp_path / "run", "sac", {0: [1, 2, 3, 4, 5, 6]}) / "seed-0" / "metrics.csv"
    lines = path.read_text().splitlines()
    ends = ["temperature", "", "", "0.1", "0.1", "0.1", "0.1"]
    path.write_text(
        "\n".join(f"{line},{end}" for line, end in zip(lines, ends, strict=True)) + "\n"
    )
    text = describe(compare([tmp_path]))
    assert "final (last 4)" in text
    assert "4.5" in text


def test_an_algorithm_that_is_its_preset_on_one_task_only_is_said_to_be(tmp_path):
    """Pooled over tasks, it would not be one algorithm."""
    other = "maac_bench/CartPole-v0"
    for task, size in ((TASK, "tiny"), (other, "small")):
        config = to_dict(preset("sac", task, size))
        make_run(tmp_path / "as-it-is" / task, "sac", {0: [1, 2]}, task, **config)
    assert not compare([tmp_path / "as-it-is"]).remarks
    config = to_dict(preset("sac", TASK, "tiny"))
    config["data"]["batch_size"] = 7
    make_run(tmp_path / "changed", "sac", {0: [1, 2]}, **config)
    found = compare([tmp_path / "as-it-is" / other, tmp_path / "changed"])
    assert found.remarks == (
        f"sac is not the same on every task: {other}: as its preset; {TASK}: data.batch_size=7",
    )


def test_linked_runs_are_found_and_a_link_in_a_circle_is_no_trap(tmp_path):
    make_run(tmp_path / "elsewhere", "sac", {0: [1, 2]})
    make_run(tmp_path / "runs" / "maac", "maac", {0: [1, 2]})
    (tmp_path / "runs" / "sac").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "runs" / "again").symlink_to(tmp_path / "runs")
    assert list(compare([tmp_path / "runs"]).table["algo"]) == ["maac", "sac"]


def test_by_folder_every_run_is_shown_by_itself(tmp_path, capsys):
    """The same seeds trained twice, and two sizes of one algorithm, have a row each."""
    for name, returns in (("one", [1, 2, 3]), (r"two$\frac$", [4, 5, 6])):
        make_run(tmp_path / name, "maac", {0: returns, 1: returns})
    assert main(["compare", str(tmp_path)]) == 2
    assert "seed 0 of maac" in (error := capsys.readouterr().err)
    assert "--by-folder shows each by itself" in error
    found = compare([tmp_path], by_folder=True)
    assert list(found.table["algo"]) == ["maac (one)", r"maac (two$\frac$)"]
    assert list(found.table["final"]) == [2.0, 5.0]
    assert found.improvement["value"].item() == 0.0
    figure = tmp_path / "curves.png"
    assert main(["compare", str(tmp_path), "--by-folder", "--figure", str(figure)]) == 0
    assert figure.stat().st_size > 10_000


@pytest.mark.parametrize("option", ["--out", "--figure"])
def test_a_folder_is_no_name_for_a_result(tmp_path, capsys, option):
    make_run(tmp_path / "run", "maac", {0: [1, 2, 3]})
    folder = tmp_path / "folder.png"
    folder.mkdir()
    assert main(["compare", str(tmp_path / "run"), option, str(folder)]) == 2
    printed = capsys.readouterr()
    assert printed.err == f"maac-bench: {folder} is a folder: name a file in it\n"
    assert printed.out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.png", "run"]


def test_table_and_figure_are_two_files(tmp_path, capsys):
    make_run(tmp_path / "run", "maac", {0: [1, 2, 3]})
    same = str(tmp_path / "both.png")
    assert main(["compare", str(tmp_path / "run"), "--out", same, "--figure", same]) == 2
    assert "both.png is one of the figure's files" in capsys.readouterr().err
    (tmp_path / "d").mkdir()
    other = str(tmp_path / "d" / ".." / "both.pdf")
    assert main(["compare", str(tmp_path / "run"), "--out", other, "--figure", same]) == 2
    assert "both.pdf is one of the figure's files" in capsys.readouterr().err
    assert not (tmp_path / "both.png").exists()
