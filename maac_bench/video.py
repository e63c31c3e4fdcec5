"""One test episode of a run as a video, rendered off-screen."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium as gym
import imageio.v2 as iio
import numpy as np
from numpy.typing import NDArray

from maac_bench.episodes import Episodes
from maac_bench.evaluation import run_episode
from maac_bench.planning import PlannerSettings
from maac_bench.products import fast_products
from maac_bench.run_evaluation import OpenRun

SUFFIXES = (".gif", ".mp4")
_DEFAULT_RATE = 25.0  # frames a second, where the environment names none
_FASTEST = 50.0  # what the format and its viewers keep up with


def require_format(path: Path) -> None:
    """ValueError for a file name that is no video's, OSError for a folder that is not there."""
    if path.suffix not in SUFFIXES:
        raise ValueError(f"video must end in {' or '.join(SUFFIXES)}, got {path}")
    if not path.parent.is_dir():
        raise OSError(f"{path.parent}: there is no such folder for the video")
    if path.suffix == ".mp4" and find_spec("imageio_ffmpeg") is None:
        raise ValueError(
            "mp4 needs imageio-ffmpeg: pip install 'maac-bench[video]', or write a .gif"
        )


def require_picture(run: OpenRun) -> None:
    """ValueError for a run whose task cannot be drawn."""
    _drawable(run).close()


class _Camera(gym.Wrapper[Any, Any, Any, Any]):
    """Hands a picture of every `stride`-th state to `keep` as the environment moves on."""

    def __init__(
        self, env: gym.Env[Any, Any], keep: Callable[[NDArray[np.uint8]], object], stride: int
    ) -> None:
        super().__init__(env)
        self._keep, self._stride, self._age = keep, stride, 0

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
        """Reset and film."""
        first = self.env.reset(**options)
        self._age = 0
        self._keep(self.env.render())  # type: ignore[arg-type]
        return first

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Step and film."""
        following = self.env.step(action)
        self._age += 1
        if self._age % self._stride == 0:
            self._keep(self.env.render())  # type: ignore[arg-type]
        return following


def record_video(run: OpenRun, path: Path, planner: PlannerSettings | None = None) -> float:
    """Write the first test episode of a run's first seed; its return.

    Args:
        run: from `open_run`.
        path: a .gif, or a .mp4 where imageio-ffmpeg is installed.
        planner: plan every action with the learned model.

    Raises:
        ValueError: another file name, or a task that cannot be drawn.
        OSError: the file cannot be written.
    """
    require_format(path)
    env = _drawable(run)
    rate = float(env.metadata.get("render_fps") or _DEFAULT_RATE)
    stride = _stride(rate, path.suffix)
    partial = path.with_name(f"{path.stem}.partial{path.suffix}")
    try:
        # Frame by frame: a whole episode's would fill the memory.
        with _writer(partial, rate / stride) as film:
            score = _play(run, planner, _Camera(env, film.append_data, stride))
        partial.replace(path)
    except (OSError, RuntimeError) as error:
        raise OSError(getattr(error, "errno", None) or 5, str(error), str(path)) from error
    finally:
        partial.unlink(missing_ok=True)
    return score


def _stride(rate: float, suffix: str) -> int:
    """Every how many states a picture is taken, of `rate` states a second.

    A GIF's pictures last whole hundredths of a second: there a few more states are passed over
    where that keeps the time.
    """
    smallest = max(1, math.ceil(rate / _FASTEST))
    if suffix != ".gif":
        return smallest
    exact = (k for k in range(smallest, 4 * smallest + 1) if (100.0 * k / rate).is_integer())
    return next(exact, smallest)


def _play(run: OpenRun, planner: PlannerSettings | None, camera: _Camera) -> float:
    """The return of the first seed, filmed; every seed plays, for they decide together."""
    waiting = [camera]

    def make() -> gym.Env[Any, Any]:
        return waiting.pop() if waiting else run.task.make()

    environments = Episodes(make, run.seeds, "test")
    try:
        with fast_products():  # as it is evaluated, so that the film shows that episode
            return float(run_episode(run.decider(planner, episode=0), environments).returns[0])
    finally:
        environments.close()


def _drawable(run: OpenRun) -> gym.Env[Any, Any]:
    """The run's environment, proved to have pictures."""
    # MuJoCo reads this when it first loads a renderer; without a screen its default fails.
    os.environ.setdefault("MUJOCO_GL", "egl")
    try:
        env = run.task.make(render_mode="rgb_array")
        env.reset(seed=0)
        picture = np.asarray(env.render())
    except ValueError as error:  # one of our own tasks, without a picture
        raise ValueError(f"{run.name} cannot be drawn: {error}") from error
    except Exception as error:
        raise ValueError(
            f"{run.name} cannot be drawn off-screen ({error}); for MuJoCo tasks set MUJOCO_GL to "
            "egl or osmesa, whichever is installed"
        ) from error
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3):
        env.close()
        raise ValueError(f"{run.name} cannot be drawn: its render() gives no picture")
    return env


def _writer(path: Path, rate: float) -> Any:  # noqa: ANN401
    """Takes frames with `append_data`."""
    if path.suffix == ".gif":
        # The format counts in hundredths of a second; what is written would be cut to them.
        return iio.get_writer(path, duration=10 * round(1e2 / rate), loop=0)
    return iio.get_writer(path, fps=rate)
