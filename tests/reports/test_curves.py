import pandas as pd
import pytest
from matplotlib.figure import Figure

from reports.ablations.settings import PROFILES
from reports.ablations.settings import PROFILES as ABLATIONS
from reports.curve_tables import score_table, summary_table, timing_table
from reports.curves import _columns, _score_range, comparison_figure, curve_figure
from reports.figure2.settings import PROFILES as FIGURE2
from reports.provenance import publish, record
from reports.style import save, use_style

TASK = "maac_bench/Pendulum-v0"


def curves(**returns: dict[int, list[float]]) -> pd.DataFrame:
    """One row per evaluation of algo -> seed -> returns."""
    return pd.DataFrame(
        [
            {
                "task": TASK,
                "algo": algo,
                "seed": seed,
                "episode": episode,
                "env_steps": 200 * episode,
                "return": value,
            }
            for algo, seeds in returns.items()
            for seed, values in seeds.items()
            for episode, value in enumerate(values, start=1)
        ]
    )


def scores_of(values: list[float], milestones: tuple[int, ...] = ()) -> dict[str, float]:
    table = score_table(curves(maac={0: values}), {TASK: 10}, milestones)
    return dict(zip(table["measure"], table["score"], strict=True))


def test_scores_by_hand():
    values = [-100.0, -90, -80, -20, -8, -20, -10, 0, 10, 20]
    assert scores_of(values, (3, 10, 25)) == {
        "return_at_3": -80,
        "return_at_10": 20,
        "final": 0.0,  # mean of the last five
        "area": pytest.approx(-29.8),
        "episodes_to_90": 5,  # the first one at or above -100 + 0.9 * 100
    }


def test_an_evaluation_at_90_percent_of_the_rise_has_reached_it():
    assert scores_of([-100.0, -90, -80, -20, -10, -20, -10, 0, 10, 20])["episodes_to_90"] == 5


@pytest.mark.parametrize("later", [-1.0, 0.0])
def test_a_curve_that_does_not_rise_never_gets_there(later):
    assert set(scores_of([0.0] + [later] * 9)) == {"final", "area"}


def test_an_empty_evaluation_in_between_leaves_the_milestones_only():
    values = [1.0, 2, float("nan"), 4, 5, 6, 7, 8, 9, 10]
    assert scores_of(values, (2, 3, 4)) == {"return_at_2": 2.0, "return_at_4": 4.0}


def test_scores_do_not_depend_on_the_order_of_the_rows():
    data = curves(maac={0: [0, 1, 2, 3, 4, 20, 6, 7]}, sac={0: [5, 9, 1, 2, 4, 4, 8, 8]})
    scores = score_table(data.iloc[::-1], {TASK: 8}).set_index(["algo", "measure"])["score"]
    assert scores["maac"].to_dict() == {"final": 8.0, "episodes_to_90": 6.0, "area": 5.375}
    assert scores["sac"].to_dict() == {"final": 5.2, "episodes_to_90": 2.0, "area": 5.125}


def test_a_short_curve_has_only_the_milestones_it_reached():
    assert scores_of([1.0, 2.0, 3.0], (2, 5)) == {"return_at_2": 2.0}


def test_summary_by_hand():
    data = curves(maac={0: [0, 4], 1: [2, 6]}, sac={0: [0, 1], 1: [0, 5], 2: [0, 3]}, mbpo={0: [7]})
    table = summary_table(data, score_table(data, {TASK: 2}), ["area"], against="maac")
    rows = table.set_index("algo")
    assert list(rows["n"]) == [2, 3, 0]
    assert rows.loc["maac", ["iqm", "low", "high"]].tolist() == [3, 2, 4]
    assert rows.loc["sac", "iqm"] == pytest.approx(1.5)
    # 2 and 4 against 0.5, 2.5, 1.5: five of six pairs
    assert rows.loc["sac", "improvement"] == pytest.approx(5 / 6)
    # and two of ten splits have as many or more, two as few
    assert rows.loc["sac", "p_value"] == pytest.approx(4 / 10)
    assert rows.loc["mbpo"].drop(["task", "measure", "n"]).isna().all()
    assert pd.isna(rows.loc["maac", "improvement"])


def test_who_needs_fewer_episodes_does_better():
    fast, slow = [0, 9, 10, 10, 10, 10, 10, 10], [0, 1, 2, 3, 4, 5, 10, 10]
    data = curves(maac={0: fast, 1: fast}, sac={0: slow, 1: slow})
    scores = score_table(data, {TASK: 8})
    table = summary_table(data, scores, ["episodes_to_90", "area"], against="maac")
    assert table[table["algo"] == "sac"]["improvement"].tolist() == [1.0, 1.0]


def test_the_area_begins_where_training_does():
    data = curves(maac={0: [-100, 2, 4]}).assign(temperature=[float("nan"), 0.5, 0.1])
    scores = score_table(data, {TASK: 3}).set_index("measure")["score"]
    assert scores["area"] == scores["final"] == 3.0


@pytest.mark.parametrize("others", [{"fair": {0: [0, 3, 4, 5]}}, {}])
def test_an_algorithm_that_fails_does_not_set_the_scale(others):
    data = curves(good={0: [0, 5, 6, 7]}, **others, lost={0: [0, -900, -950, -980]})
    (axes,) = comparison_figure(data, {}, "a note").axes
    assert -50 < axes.get_ylim()[0] < 5


def test_times_count_a_stack_once():
    parts = {"seconds_update": 1.5, "seconds_model": 0.3, "seconds_branch": 0.6}
    data = curves(sac={0: [1, 1], 1: [1]}).assign(profile="quick", seconds=3.0, **parts)
    row = timing_table(data).iloc[0]
    assert (row["seeds"], row["env_steps"], row["seconds"]) == (2, 400, 6.0)
    assert row["seconds_per_1000_steps"] == pytest.approx(15.0)
    assert row["update_share"] == pytest.approx(0.5)
    assert row["model_share"] == pytest.approx(0.3)


def published_figure(folder, data: pd.DataFrame, episodes: int, label: str = "reduced"):
    """The figure of a report with these curves."""
    summary = summary_table(data, score_table(data, {TASK: episodes}), ["final"])
    configuration = {
        "profile": "mini",
        "label": label,
        "tasks": {TASK: episodes},
        "algorithms": ["maac", "other"],
        "seeds": [0, 1],
    }
    tables = {"data.csv": data, "summary.csv": summary}
    publish(tables, folder, record("test", configuration))
    use_style()
    return curve_figure(folder, {"maac": "#0072B2"})


def test_curves_of_unequal_lengths_are_drawn_as_far_as_they_go(tmp_path):
    data = curves(maac={0: [0, 4, 5], 1: [2, 6]}, other={1: [7, 8, 9], 0: [7]})
    figure = published_figure(tmp_path, data, 3)
    upper, lower = figure.axes
    lengths = sorted(len(line.get_xdata()) for line in upper.lines)
    assert lengths == [1, 2, 3, 3, 3, 3]  # four seeds and two aggregates
    assert [label.get_text() for label in lower.get_yticklabels()] == [
        "maac, n = 1",
        "other, n = 1",
    ]
    caption = figure.get_supxlabel()
    assert "profile mini (reduced)" in caption
    assert "seeds 0, 1 (n = 2)" in caption
    assert "2 of 4 curves are complete" in caption
    assert "data from commit" in caption


def test_the_longest_line_below_a_figure_fits(tmp_path):
    label = max((profile.label for profile in PROFILES.values()), key=len)
    figure = published_figure(tmp_path, curves(maac={0: [0, 4], 1: [2]}), 3, label + ", " + label)
    figure.draw_without_rendering()
    inside, text = figure.bbox, figure._supxlabel.get_window_extent()
    assert inside.x0 <= text.x0
    assert text.x1 <= inside.x1


@pytest.mark.parametrize("other", [{}, {"other": {0: [7]}}, {"other": {0: [7, 8, 9]}}])
def test_final_returns_that_compare_nothing_are_left_out(tmp_path, other):
    """No curve is complete, or one of two algorithms alone."""
    figure = published_figure(tmp_path, curves(maac={0: [0, 4], 1: [2]}, **other), 3)
    (upper,) = figure.axes
    assert len(upper.lines) == 3 + 2 * len(other)
    whole = int(bool(other) and len(other["other"][0]) == 3)
    assert f"{whole} of 4 curves are complete" in figure.get_supxlabel()


def test_a_single_algorithm_has_its_final_return(tmp_path):
    _, lower = published_figure(tmp_path, curves(maac={0: [0, 4, 5]}), 3).axes
    assert [label.get_text() for label in lower.get_yticklabels()] == ["maac, n = 1"]


def test_beside_a_task_that_is_complete_another_says_that_it_is_not(tmp_path):
    data = curves(maac={0: [0, 4, 5]})
    late = curves(maac={0: [1]}).assign(task="later")
    both = pd.concat([data, late])
    summary = summary_table(both, score_table(both, {TASK: 3, "later": 3}), ["final"])
    settings = {"profile": "mini", "label": "", "tasks": {TASK: 3, "later": 3}}
    settings |= {"algorithms": ["maac"], "seeds": [0]}
    tables = {"data.csv": both, "summary.csv": summary}
    publish(tables, tmp_path, record("test", settings))
    lower = curve_figure(tmp_path, {}).axes[2:]
    assert [axes.get_xlabel().endswith("no curve is complete") for axes in lower] == [False, True]


def test_an_interval_that_runs_off_the_axis_is_explained(tmp_path):
    level = {seed: [400.0 + seed] * 6 for seed in range(8)}
    both = curves(maac=level, other={**level, 8: [-9e4] * 6})
    lower = published_figure(tmp_path, both, 6).axes[1]
    assert lower.get_xlabel().endswith("lower than shown")


def test_a_runaway_evaluation_is_cut_off_and_said():
    data = curves(maac={0: [-1e6, 5, 6, 5, 6, 7]})
    (axes,) = comparison_figure(data, {}, "a note").axes
    assert -20 < axes.get_ylim()[0] < 4
    assert [text.get_text() for text in axes.texts] == ["1 of 6 evaluations are below the axis"]
    (axes,) = comparison_figure(curves(maac={0: [3, 4, 5, 6]}), {}, "a note").axes
    assert not axes.texts


def test_a_curve_that_is_ahead_and_has_stopped_hides_no_other():
    """Its last values, close together, are not the range of them all."""
    slow, fast = [100.0 * k for k in range(50)], [200.0 * k for k in range(25)] + [5000.0] * 3
    (axes,) = comparison_figure(curves(slow={0: slow}, fast={0: fast}), {}, "a note").axes
    assert not axes.texts
    assert axes.get_ylim()[0] < 0.0


@pytest.mark.parametrize("profiles", [ABLATIONS, FIGURE2])
def test_only_the_papers_size_is_not_called_reduced(profiles):
    assert {"quick", "mujoco", "paper"} <= set(profiles)
    for name, profile in profiles.items():
        assert profile.label.startswith("reduced") == (name != "paper")
        assert len(profile.runs()) == len(profile.tasks) * len(profile.algorithms)
        assert len({run.name for run in profile.runs()}) == len(profile.runs())
        for run in profile.runs():
            assert run.settings.data.random_rollouts < run.rollouts


def test_the_means_stay_on_the_axis_unless_one_is_far_away():
    def left(*means: float) -> float:
        scores = pd.DataFrame({"iqm": means, "low": means, "high": [m + 1 for m in means]})
        return _score_range(scores)[0]

    assert left(4485.0, 3069.0, 3800.0, 4231.0) < 3069.0
    assert left(162.0, -500.0, 117.0, -500.0) < -500.0
    assert left(6894.0, 4420.0) < 4420.0
    assert left(6894.0, 4420.0, float("nan")) < 4420.0
    assert -7663.0 < left(142.0, -59.0, -16.0, -7663.0) < -59.0


@pytest.mark.parametrize(
    ("seeds", "band"),
    [(4, "nominal 95 % bootstrap band"), (3, "bootstrap band (about the seeds' range)")],
)
def test_a_band_is_called_by_the_seeds_that_the_data_have(tmp_path, seeds, band):
    of_all, of_some = {k: [0, 4] for k in range(4)}, {k: [1, 2] for k in range(seeds)}
    figure = published_figure(tmp_path, curves(maac=of_all, other=of_some), 2)
    assert f"interquartile mean and {band}, thin" in figure.get_supxlabel()


@pytest.mark.parametrize(
    ("labels", "columns"),
    [(["maac"] * 5, 5), (["maac-scaled-critic-more-updates"] * 4, 3), (["x" * 200, "y"], 1)],
)
def test_a_legend_is_no_wider_than_the_figure(labels, columns):
    assert _columns(labels) == columns


def test_an_image_that_cannot_be_drawn_leaves_the_old_one(tmp_path, monkeypatch):
    figure = Figure()
    save(figure, tmp_path / "curves")
    before = (tmp_path / "curves.png").read_bytes()

    def interrupted(self, file, **_options):
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Figure, "savefig", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(figure, tmp_path / "curves")
    assert (tmp_path / "curves.png").read_bytes() == before
    assert {file.name for file in tmp_path.iterdir()} == {"curves.png", "curves.pdf"}


def test_one_seed_that_is_further_does_not_take_the_mean_from_the_others():
    lengths = {0: [float(k) for k in range(100)], 1: [1.0] * 40, 2: [2.0] * 40}
    figure = comparison_figure(curves(sac=lengths), {}, "a note")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["sac"]
    (axes,) = figure.axes
    assert len(axes.collections) == 1  # the band
