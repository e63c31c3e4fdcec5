"""`maac-bench compare` on made-up run directories, against numbers computed by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from maac_bench.__main__ import main
from maac_bench.config import to_dict
from maac_bench.presets import preset
from reports.comparison import THRESHOLDS, compare
from reports.comparison_output import describe
from reports.style import BLUE, PALETTE, RED, series_colors
from tests.reports.made_runs import TASK, make_run, make_two, refusal


@pytest.fixture
def runs(tmp_path) -> Path:
    return make_two(tmp_path / "runs")


def test_scores_by_hand(runs):
    found = compare([runs / "maac", runs / "sac"])
    rows = found.table.set_index("algo")
    # The last five of the first six evaluations: seeds 4 and 6 of maac, 0 and 5 of sac.
    assert rows.loc["maac", ["final", "final_low", "final_high"]].tolist() == [5, 4, 6]
    assert rows.loc["sac", ["final", "final_low", "final_high"]].tolist() == [2.5, 0, 5]
    assert rows.loc["maac", ["area", "area_low", "area_high"]].tolist() == [4.5, 3.5, 5.5]
    assert rows.loc["sac", ["seeds", "shortest", "longest", "compared_at"]].tolist() == [2, 6, 7, 6]
    pair = found.improvement.iloc[0]
    assert (pair["algo"], pair["than"], pair["tasks"]) == ("maac", "sac", 1)
    assert pair["value"] == pytest.approx(3 / 4)  # 4 > 0, 6 > 0, 6 > 5, but not 4 > 5
    assert pair["p_value"] == pytest.approx(4 / 6)  # four of six splits are as far from 1/2
    assert "0.75 [0.00, 1.00]  1 task  p = 0.67\n" in describe(found)
    # Shares of the range 0 to 6: 4/6 and 1 against 0 and 5/6.
    shares = found.profile.pivot(index="algo", columns="threshold", values="share")
    assert shares.loc["maac"].tolist() == [1, 1, 1, 0.5, 0.5]
    assert shares.loc["sac"].tolist() == [0.5, 0.5, 0.5, 0.5, 0]
    assert tuple(shares.columns) == THRESHOLDS


def test_lengths_and_scores_are_printed_each_with_its_interval(runs):
    text = describe(compare([runs]))
    assert "final (last 5)" in text
    assert "\n  maac       2      6-6       5 [4, 6]        4.5 [3.5, 5.5]\n" in text
    assert "\n  sac        2      6-7       2.5 [0, 5]      2.5 [0, 5]\n" in text


def test_an_algorithm_alone_has_no_shares_of_its_own_range(runs):
    assert "share of seeds" in describe(compare([runs]))
    assert "share of seeds" not in describe(compare([runs / "maac"]))


def test_nobody_is_above_a_part_of_a_range_of_one_value(tmp_path):
    make_run(tmp_path / "maac", "maac", {0: [2]})
    make_run(tmp_path / "sac", "sac", {0: [2]})
    found = compare([tmp_path])
    assert found.profile["share"].tolist() == [0.0] * 2 * len(THRESHOLDS)
    assert "final (last 1)" in describe(found)


def test_a_folder_of_runs_is_all_its_runs_once(runs):
    """Whatever it is called."""
    again = compare([runs, runs / "sac", runs / "maac", runs / "sac" / ".." / "maac"])
    pd.testing.assert_frame_equal(compare([runs]).table, again.table)


def test_seeds_of_several_directories_come_together(runs, tmp_path):
    make_run(tmp_path / "more", "maac", {7: [9] * 6})
    table = compare([runs, tmp_path / "more"]).table.set_index("algo")
    assert table.loc["maac", "seeds"] == 3
    assert table.loc["maac", "final"] == pytest.approx(19 / 3)


def test_unequal_lengths_and_missing_seeds_are_said(runs, tmp_path):
    make_run(tmp_path / "short", "steve", {0: [1, 2], 4: []})
    found = compare([runs, tmp_path / "short"])
    assert set(found.table["compared_at"]) == {2}
    assert found.remarks == (
        f"left out: steve on {TASK} seed 4 has no evaluation yet",
        f"unequal lengths on {TASK}: 2 to 7 episodes; compared at episode 2, "
        "the last of steve seed 0",
    )
    assert found.table.set_index("algo").loc["maac", "final"] == pytest.approx((1.5 + 3.5) / 2)
    for remark in found.remarks:
        assert remark in describe(found)


def test_a_seed_that_failed_is_said(runs):
    (runs / "maac" / "seed-1" / "failure.json").write_text("{}")
    found = compare([runs / "maac"])
    assert found.remarks == (
        f"maac on {TASK} seed 1 failed after 6 episodes; see its failure.json",
    )
    assert found.table["final"].tolist() == [5]  # it has all evaluations, so it counts


def test_a_seed_that_failed_early_does_not_shorten_the_others(runs, tmp_path):
    make_run(tmp_path / "steve", "steve", {0: [1] * 6, 1: [7, 7]})
    (tmp_path / "steve" / "seed-1" / "failure.json").write_text("{}")
    found = compare([runs / "maac", tmp_path / "steve"])
    assert set(found.table["compared_at"]) == {6}
    assert found.table.set_index("algo")["final"].to_dict() == {"maac": 5, "steve": 1}
    assert found.remarks == (
        f"steve on {TASK} seed 1 failed after 2 episodes; see its failure.json; "
        "left out of the scores",
    )


def test_a_seed_that_failed_later_than_the_others_ended_makes_no_lengths_unequal(tmp_path):
    make_run(tmp_path / "sac", "sac", {0: [1, 3], 1: [5, 7, 9]})
    (tmp_path / "sac" / "seed-1" / "failure.json").write_text("{}")
    found = compare([tmp_path / "sac"])
    assert found.remarks == (f"sac on {TASK} seed 1 failed after 3 episodes; see its failure.json",)
    assert found.table[["compared_at", "final"]].values.tolist() == [[2, 4]]


def test_seeds_that_all_failed_are_compared_where_the_longest_ended(tmp_path):
    make_run(tmp_path / "sac", "sac", {0: [1, 3], 1: [7], 2: []})
    for seed in (0, 1):
        (tmp_path / "sac" / f"seed-{seed}" / "failure.json").write_text("{}")
    found = compare([tmp_path / "sac"])
    assert found.table[["compared_at", "final"]].values.tolist() == [[2, 2]]


def test_settings_that_an_older_file_lacks_are_the_defaults(tmp_path):
    """Also where they are tuples, which files hold as lists."""
    settings = to_dict(preset("sac", TASK))
    older = {**settings, "data": {**settings["data"]}}
    del older["data"]["branch_ramp"]
    make_run(tmp_path / "old", "sac", {0: [1]}, **older)
    make_run(tmp_path / "new", "sac", {1: [1]}, **settings)
    assert compare([tmp_path]).table["algo"].tolist() == ["sac"]


def test_equal_lengths_need_no_remark(runs):
    assert compare([runs / "maac"]).remarks == ()


def test_a_gap_leaves_the_seed_out(runs):
    path = runs / "maac" / "seed-0" / "metrics.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:3] + lines[4:]) + "\n")
    found = compare([runs / "maac"])
    assert found.remarks == (f"left out: maac on {TASK} seed 0 lacks evaluations in between",)
    assert found.table["final"].tolist() == [6]


def test_an_algorithm_whose_evaluations_all_come_later_has_no_score(tmp_path):
    make_run(tmp_path / "maac", "maac", {0: ["", "", 3, 4]})
    make_run(tmp_path / "sac", "sac", {0: [1, 2]})
    found = compare([tmp_path])
    finals = found.table.set_index("algo")["final"]
    assert np.isnan(finals["maac"])
    assert finals["sac"] == 1.5
    assert f"left out: maac on {TASK} seed 0 lacks evaluations in between" in found.remarks
    assert "maac       1      3-4" not in describe(found)


def test_pairs_are_compared_on_the_tasks_they_share(runs, tmp_path):
    other = "maac_bench/CartPole-v0"
    make_run(tmp_path / "a", "maac", {0: [0]}, other)
    make_run(tmp_path / "b", "sac", {0: [1]}, other)
    make_run(tmp_path / "c", "steve", {0: [1]}, other)
    found = compare([runs, *(tmp_path / name for name in "abc")])
    pairs = found.improvement.set_index(["algo", "than"])
    assert pairs.loc[("maac", "sac"), "tasks"] == 2
    assert pairs.loc[("maac", "sac"), "value"] == pytest.approx((3 / 4 + 0) / 2)
    assert np.isnan(pairs.loc[("maac", "sac"), "p_value"])  # a test within one task, no more
    assert "2 tasks\n" in describe(found)
    assert pairs.loc[("maac", "steve"), "tasks"] == 1
    # Only CartPole has all three: their ranges there are 0 to 1.
    assert found.profile.groupby("algo")["share"].max().to_dict() == {
        "maac": 0.0,
        "sac": 1.0,
        "steve": 1.0,
    }


def test_the_command_prints_writes_and_draws(runs, tmp_path, capsys):
    path = tmp_path / "mbpo.csv"
    path.write_text("step,time,reward,seed\n500,1,10,0\n1000,2,30,0\n")
    table, figure = tmp_path / "table.csv", tmp_path / "figure.png"
    arguments = ["--curves", str(path), "--out", str(table), "--figure", str(figure)]
    assert main(["compare", str(runs), *arguments]) == 0
    output = capsys.readouterr().out
    assert "unequal lengths on maac_bench/Pendulum-v0: 6 to 7 episodes" in output
    assert "maac > sac" in output
    assert "5 [4, 6]" in output
    assert "published mbpo: 30 at step 1000" in output
    assert figure.read_bytes().startswith(b"\x89PNG")
    written = pd.read_csv(table)
    assert list(written["algo"]) == ["maac", "sac"]
    assert list(written["final"]) == [5, 2.5]


def test_any_number_of_unknown_names_is_drawn(runs, tmp_path):
    """Published curves are called what the user's file is called."""
    for name in ("theirs", "others"):
        (tmp_path / f"{name}.csv").write_text("step,time,reward,seed\n500,1,10,0\n1000,2,30,0\n")
    curves = [str(tmp_path / f"{name}.csv") for name in ("theirs", "others")]
    figure = tmp_path / "figure.png"
    assert main(["compare", str(runs), "--curves", *curves, "--figure", str(figure)]) == 0
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_series_of_one_picture_have_colours_of_their_own():
    preferred = {"a": RED, "b": RED, "c": BLUE}
    colors = series_colors(["a", "b", "c", "d"], preferred)
    assert (colors["a"], colors["c"]) == (RED, BLUE)
    assert len(set(colors.values())) == 4
    names = [str(k) for k in range(len(PALETTE) + 3)]
    many = series_colors(names, {})
    assert list(many) == names
    assert set(many.values()) == set(PALETTE)
    assert list(series_colors(names[:9], dict(zip(names, PALETTE, strict=False))).values())[:8] == [
        *PALETTE
    ]


def test_bad_input_is_one_line(runs, tmp_path, capsys):
    assert "holds no run: there is no such folder" in refusal(capsys, tmp_path / "nowhere")
    (tmp_path / "bare").mkdir()
    assert "holds no run: config.json is missing" in refusal(capsys, tmp_path / "bare")
    assert "figure must end in .png" in refusal(capsys, runs, "--figure", "x.pdf")
    make_run(tmp_path / "again", "maac", {1: [1]})
    assert "seed 1 of maac" in refusal(capsys, runs, tmp_path / "again")
    make_run(tmp_path / "empty", "maac", {5: []})
    assert "there is no evaluation to compare" in refusal(capsys, tmp_path / "empty")
    (tmp_path / "empty" / "config.json").write_text("{}")
    assert "names no task, algorithm, seeds and config" in refusal(capsys, tmp_path / "empty")
    (tmp_path / "empty" / "config.json").write_text("{")
    assert "is damaged" in refusal(capsys, tmp_path / "empty")
    (runs / "sac" / "seed-0" / "metrics.csv").write_text("rollout,env_steps,return\n1,200,x\n")
    assert "metrics.csv is damaged" in refusal(capsys, runs)


def test_other_settings_under_one_name_are_kept_apart(tmp_path):
    one = make_run(tmp_path / "one", "maac", {0: [1]}, actor={"horizon": 4})
    two = make_run(tmp_path / "two", "maac", {0: [3]}, actor={"horizon": 2})
    # The default of a setting that an earlier version had not yet is what that version did.
    three = make_run(tmp_path / "three", "maac", {2: [1]}, actor={"layer_norm": False})
    for order in ([one, two, three], [three, two, one]):
        table = compare(order).table.set_index("algo")
        names = {4: "maac (actor.horizon=4)", 2: "maac (actor.horizon=2)"}
        assert table["seeds"].to_dict() == {names[4]: 2, names[2]: 1}
        assert table["final"].to_dict() == {names[4]: 1, names[2]: 3}
    assert list(compare([one, three]).table["algo"]) == ["maac"]


def test_variants_are_joined_over_tasks_by_what_they_are(tmp_path):
    """Whatever the order of the directories: four steps win on both tasks."""
    paths = [
        make_run(
            tmp_path / f"{k}{horizon}", "maac", {0: [horizon]}, task, actor={"horizon": horizon}
        )
        for k, (task, horizons) in enumerate(
            {TASK: (4, 2), "maac_bench/CartPole-v0": (2, 4)}.items()
        )
        for horizon in horizons
    ]
    pair = compare(paths).improvement.iloc[0]
    assert (pair["algo"], pair["tasks"], pair["value"]) == ("maac (actor.horizon=4)", 2, 1.0)


def test_three_settings_that_differ_are_named(tmp_path):
    three = {"activation": "tanh", "horizon": 9, "learning_rate": 9.0}
    make_run(tmp_path / "one", "maac", {0: [1]}, actor=three)
    make_run(tmp_path / "two", "maac", {0: [3]}, actor={**three, "horizon": 2})
    make_run(tmp_path / "three", "maac", {0: [5]})
    words = "actor.activation=tanh, actor.horizon=9, actor.learning_rate=9.0"
    assert f"maac ({words})" in set(compare([tmp_path]).table["algo"])


def test_runs_that_differ_in_everything_are_refused(tmp_path, capsys):
    one = make_run(tmp_path / "one", "maac", {0: [1]})
    other = {"horizon": 9, "hidden": [9], "activation": "tanh", "learning_rate": 9.0}
    two = make_run(tmp_path / "two", "maac", {0: [3]}, actor=other)
    assert "differ in actor.activation, actor.hidden, actor.horizon" in refusal(capsys, one, two)
