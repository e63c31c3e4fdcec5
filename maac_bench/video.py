"""One test episode of a run as a video, rendered off-screen."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium as gym
import imageio.v3 as iio
import numpy as np
from gymnasium.wrappers import RenderCollection
from numpy.typing import NDArray

from maac_bench.episodes import Episodes
from maac_bench.evaluation import run_episode
from maac_bench.planning import PlannerSettings
from maac_bench.run_evaluation import OpenRun, open_run

SUFFIXES = (".gif", ".mp4")
_DEFAULT_RATE = 25.0  # frames a second, where the environment names none


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


def record_video(
    run: Path, path: Path, planner: PlannerSettings | None = None, rollout: int | None = None
) -> float:
    """Write the first test episode of a run's first seed; its return.

    Args:
        run: run directory.
        path: a .gif, or a .mp4 where imageio-ffmpeg is installed.
        planner: plan every action with the learned model.
        rollout: which checkpoint; default: the newest.

    Raises:
        ValueError: no run, no checkpoint, another file name, or a task that cannot be drawn.
        OSError: the file cannot be written.
    """
    require_format(path)
    opened = open_run(run, rollout)
    camera = _filmed(opened)
    # Every seed's actions are chosen together, so all play; the first one is filmed.
    waiting = [camera]

    def make() -> gym.Env[Any, Any]:
        return waiting.pop() if waiting else opened.task.make()

    environments = Episodes(make, opened.seeds, "test")
    record = run_episode(opened.decider(planner, episode=0), environments)
    frames = np.stack(camera.render())
    environments.close()
    _write(frames, path, float(camera.metadata.get("render_fps", _DEFAULT_RATE)))
    return float(record.returns[0])


def _filmed(run: OpenRun) -> RenderCollection[Any, Any]:
    """The run's environment, keeping a frame of every state."""
    # MuJoCo reads this at its first import of a renderer; without a screen its default fails.
    os.environ.setdefault("MUJOCO_GL", "egl")
    try:
        env = run.task.make(render_mode="rgb_array")
        env.reset(seed=0)
        env.render()
    except Exception as error:
        raise ValueError(
            f"{run.name} cannot be drawn off-screen ({error}); for MuJoCo tasks set MUJOCO_GL to "
            "egl or osmesa, whichever is installed"
        ) from error
    return RenderCollection(env)


def _write(frames: NDArray[np.uint8], path: Path, rate: float) -> None:
    partial = path.with_name(f"{path.stem}.partial{path.suffix}")
    try:
        if path.suffix == ".gif":
            iio.imwrite(partial, frames, duration=1e3 / rate, loop=0)
        else:
            iio.imwrite(partial, frames, fps=rate)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
