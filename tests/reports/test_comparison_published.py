"""`maac-bench compare --curves`: published curves beside made-up run directories."""

from pathlib import Path

import pandas as pd
import pytest

from reports.comparison import compare
from reports.comparison_output import beside_published, read_published
from reports.curves import comparison_figure
from tests.reports.made_runs import make_run, make_two, refusal


@pytest.fixture
def runs(tmp_path) -> Path:
    return make_two(tmp_path / "runs")


def test_published_curves_are_read_at_the_same_steps(runs, tmp_path):
    path = tmp_path / "mbpo-published.csv"
    rows = ["step,time,reward,seed", "1000,1,10,0", "1000,1,30,1", "2000,2,99,0", "2000,2,99,1"]
    path.write_text("\n".join(rows) + "\n")
    found = compare([runs])
    published = read_published([path], found)
    assert beside_published(found, published) == [
        "published mbpo-published: 20 [10, 30] at step 1000, 2 seeds, a single evaluation each "
        "(ours: 1200 steps at episode 6)"
    ]
    late = published.assign(env_steps=1e6)
    assert beside_published(found, late)[0].endswith("begins after 1200 environment steps")


def test_published_seeds_with_steps_of_their_own_all_count(runs):
    """Evaluated 10 steps apart: at no step is there more than one of them."""
    found = compare([runs])
    published = pd.DataFrame(
        {"algo": "mbpo", "seed": seed, "env_steps": step + 10 * seed, "return": float(value)}
        for seed, value in enumerate((10, 20, 60))
        for step in (500, 1100, 2000)
    )
    assert beside_published(found, published) == [
        "published mbpo: 30 [10, 60] at steps 1100 to 1120, 3 seeds, a single evaluation each "
        "(ours: 1200 steps at episode 6)"
    ]
    ours = found.data.assign(task="one")
    figure = comparison_figure(pd.concat([ours, published.assign(task="one")]), {}, "note")
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "mbpo: single seeds" in names
    assert len(names) == found.data["algo"].nunique() + 1


def test_published_curves_count_up_to_the_last_step_of_ours(runs):
    """Episodes of one seed are shorter: the step is that of the other seeds, and belongs to it."""
    path = runs / "sac" / "seed-1" / "metrics.csv"
    path.write_text(path.read_text().replace("6,1200,", "6,900,"))
    steps = {"env_steps": [900.0, 1200.0, 1201.0], "return": [1.0, 2.0, 3.0]}
    published = pd.DataFrame({"algo": "mbpo", "seed": 0, **steps})
    assert beside_published(compare([runs]), published) == [
        "published mbpo: 2 at step 1200, 1 seed, a single evaluation each "
        "(ours: 1200 steps at episode 6)"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step,reward,time\n1,1,1\n", "lacks the column 'seed'"),
        ("step,time,reward,seed\n", "has no curve"),
        ("step,time,reward,seed\n1,1,,0\n2,1,1,0\n", "has an entry that is not finite"),
        ("step,time,reward,seed\n1,1,x,0\n", "has an entry that is no number"),
        ("step,time,reward,seed\n1,1,2,0\n1,1,3,0\n", "two rewards of one seed at one step"),
    ],
)
def test_bad_published_curves_are_named(runs, tmp_path, capsys, text, message):
    path = tmp_path / "published.csv"
    path.write_text(text)
    error = refusal(capsys, runs, "--curves", path)
    assert "published.csv" in error
    assert message in error


def test_published_curves_need_one_task_and_a_name_of_their_own(runs, tmp_path, capsys):
    path = tmp_path / "sac.csv"
    path.write_text("step,time,reward,seed\n1,1,1,0\n")
    assert "two curves are called 'sac'" in refusal(capsys, runs, "--curves", path)
    make_run(tmp_path / "other", "maac", {0: [1]}, "maac_bench/CartPole-v0")
    error = refusal(capsys, runs, tmp_path / "other", "--curves", path)
    assert "published curves are of one task, these runs of 2" in error
