"""Videos of test episodes and the pictures they are made of."""

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest

from maac_bench.__main__ import main
from maac_bench.checkpoint import capture
from maac_bench.config import to_dict
from maac_bench.run import RunDirectory
from maac_bench.run_evaluation import evaluate_run, open_run
from maac_bench.tasks import make_env
from maac_bench.tasks.drawing import cart_pole_lines, pendulum_lines, picture
from maac_bench.video import _stride, _writer, record_video, require_format
from tests.maac_bench.trainers import PENDULUM, STEPS, tiny_config, tiny_trainer, tiny_training

CART_POLE, INTEGRATOR = "maac_bench/CartPole-v0", "maac_bench/DoubleIntegrator-v0"


def make_run(path, monkeypatch, task=PENDULUM, rollouts=1):
    monkeypatch.setattr(
        "maac_bench.run_evaluation.make_training_task", lambda name: tiny_training(name)
    )
    trainer = tiny_trainer((3, 4), training=tiny_training(task))
    for _ in range(rollouts):
        trainer.rollout()
    config = to_dict(tiny_config())
    identity = {"task": task, "algorithm": "maac", "seeds": [3, 4], "config": config}
    run = RunDirectory(path, identity, {})
    run.save(capture(trainer))
    run.close()
    trainer.close()
    return path


# The mp4's reader, which only the test uses, leaves its pipes to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_the_film_is_the_first_test_episode(tmp_path, monkeypatch, suffix):
    run = make_run(tmp_path / "run", monkeypatch)
    film = tmp_path / f"film{suffix}"
    score = record_video(open_run(run), film)
    assert score == pytest.approx(evaluate_run(open_run(run), 1)["return"][0])
    frames = iio.imread(film)
    if suffix == ".mp4":  # a gif leaves out frames that repeat the one before
        assert len(frames) == STEPS + 1
    assert frames.std() > 0
    assert list(tmp_path.glob("*.partial*")) == []


def test_the_command_films_what_it_tests_with_and_without_planning(tmp_path, monkeypatch, capsys):
    run, film = make_run(tmp_path / "run", monkeypatch, rollouts=2), tmp_path / "film.gif"
    for options in ([], ["--mpc", "--planner.population", "8", "--planner.elites", "2"]):
        arguments = ["evaluate", str(run), "--episodes", "1", "--video", str(film), *options]
        assert main(arguments) == 0
        first, *_, last = capsys.readouterr().out.splitlines()
        assert first.removeprefix("seed 3: ") == last.rpartition(" ")[2]
    plain, planned = (
        pd.read_csv(run / name)["return"][0] for name in ("evaluation.csv", "evaluation-mpc.csv")
    )
    assert plain != planned


def test_a_fast_task_is_filmed_with_fewer_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr("maac_bench.video._FASTEST", 10.0)  # the pendulum has 20 a second
    run, film = make_run(tmp_path / "run", monkeypatch), tmp_path / "film.gif"
    record_video(open_run(run), film)
    assert iio.immeta(film)["duration"] == 100
    assert len(iio.imread(film)) <= 1 + STEPS // 2


@pytest.mark.parametrize(
    ("rate", "suffix", "stride"),
    [
        (20.0, ".gif", 1),
        (125.0, ".gif", 5),  # three would last 2.4 hundredths of a second
        (60.0, ".gif", 3),
        (24.0, ".gif", 1),  # only six would do, and are too few
        (125.0, ".mp4", 3),
    ],
)
def test_pictures_last_as_long_as_the_format_can_say(rate, suffix, stride):
    assert _stride(rate, suffix) == stride


def test_a_gif_rounds_what_it_cannot_say(tmp_path):
    with _writer(tmp_path / "film.gif", 24.0) as film:
        for k in range(3):
            film.append_data(np.full((8, 8, 3), 80 * k, np.uint8))
    assert iio.immeta(tmp_path / "film.gif")["duration"] == 40  # 41.7


@pytest.mark.parametrize(("body", "rate"), [("HalfCheetah", 20), ("Hopper", 125)])
def test_the_papers_tasks_say_how_fast_they_are(body, rate):
    env = make_env(f"maac_bench/{body}-v0")
    assert env.metadata["render_fps"] == rate
    env.close()


def test_a_failing_encoder_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, capsys):
    run, film = make_run(tmp_path / "run", monkeypatch), tmp_path / "film.gif"

    def broken(*_):
        raise RuntimeError("no such codec")

    monkeypatch.setattr("maac_bench.video._writer", broken)
    assert main(["evaluate", str(run), "--episodes", "1", "--video", str(film)]) == 1
    assert "no such codec" in capsys.readouterr().err
    assert not list(tmp_path.glob("film*"))


def test_another_kind_of_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.gif or \.mp4, got .*film\.avi"):
        require_format(tmp_path / "film.avi")


def test_a_task_without_a_picture_says_so(tmp_path, monkeypatch, capsys):
    run = make_run(tmp_path / "run", monkeypatch, "maac_bench/RandomLQG6-v0")
    film = tmp_path / "film.gif"
    assert main(["evaluate", str(run), "--episodes", "1", "--video", str(film)]) == 2
    assert "'maac_bench/RandomLQG6-v0' has no picture" in capsys.readouterr().err
    assert not film.exists()


def test_a_task_that_draws_nothing_says_so_before_the_work(tmp_path, monkeypatch, capsys):
    run = make_run(tmp_path / "run", monkeypatch)
    monkeypatch.setattr("gymnasium.Wrapper.render", lambda self: None)
    monkeypatch.setattr("maac_bench.cli.runs.evaluate_run", pytest.fail)
    assert main(["evaluate", str(run), "--video", str(tmp_path / "film.gif")]) == 2
    assert f"{PENDULUM} cannot be drawn: its render() gives no picture" in capsys.readouterr().err


def test_mp4_without_its_package_is_refused_before_the_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("maac_bench.video.find_spec", lambda name: None)
    monkeypatch.setattr("maac_bench.cli.runs.evaluate_run", pytest.fail)
    assert main(["evaluate", str(tmp_path), "--video", str(tmp_path / "film.mp4")]) == 2
    assert "mp4 needs imageio-ffmpeg" in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path), "--video", str(tmp_path / "no" / "film.gif")]) == 1
    assert "no such folder" in capsys.readouterr().err


@pytest.mark.parametrize("name", [PENDULUM, CART_POLE, INTEGRATOR])
def test_small_tasks_have_a_picture_that_moves(name):
    env = make_env(name, render_mode="rgb_array")
    env.reset(seed=0)
    env.action_space.seed(0)
    before = env.render()
    for _ in range(5):
        env.step(env.action_space.sample())
    after = env.render()
    env.close()
    assert before.shape == after.shape == (320, 480, 3)
    assert (before != after).any()


def ink(lines):
    """Where the picture is not white: mean column and row, from its middle, y upwards."""
    rows, columns = np.nonzero(picture(lines)[..., 0] < 255)
    return columns.mean() - 240.0, 160.0 - rows.mean()


def test_upright_points_up_and_a_cart_to_the_right_stands_right():
    assert ink(pendulum_lines([1.0, 0.0, 0.0]))[1] > 10.0
    assert ink(pendulum_lines([-1.0, 0.0, 0.0]))[1] < -10.0
    assert ink(pendulum_lines([0.0, 1.0, 0.0]))[0] > 10.0
    left, right = (ink(cart_pole_lines([x, 1.0, 0.0, 0.0, 0.0]))[0] for x in (-1.0, 1.0))
    assert right > 10.0 > -10.0 > left
