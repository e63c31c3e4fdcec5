"""The sizes in which agents are trained, the same for every report of learning curves.

Reports and profiles of one size share its runs: an algorithm that two of them show is trained once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from maac_bench.sizes import Size
from reports.training_runs import TrainingRun


@dataclass(frozen=True)
class Profile:
    """The size of an experiment.

    tasks: task to its number of episodes. size: of the presets. compiled: whether updates are
    fused. label: what a reader of the figure must know of this size. place: folder of its runs,
    if not with all others of the size; for other seeds or another device than theirs. device: cpu
    or cuda. repeats: a profile of the same report with other seeds of these runs, which are shown
    together with these.
    """

    tasks: Mapping[str, int]
    algorithms: tuple[str, ...]
    size: Size
    seeds: tuple[int, ...]
    compiled: bool
    label: str
    place: str | None = None
    device: str = "cpu"
    repeats: str | None = None

    def runs(self) -> tuple[TrainingRun, ...]:
        """What is trained."""
        return tuple(
            TrainingRun(
                task,
                algorithm,
                self.size,
                self.seeds,
                rollouts,
                self.compiled,
                device=self.device,
            )
            for task, rollouts in self.tasks.items()
            for algorithm in self.algorithms
        )


def directory(profile: Profile, runs: Path) -> Path:
    """Where the runs of a profile are, below the folder of all experiments."""
    return runs / "training" / (profile.place or profile.size)


def profiles(algorithms: tuple[str, ...]) -> dict[str, Profile]:
    """The profiles of a report that shows these algorithms."""
    return {
        "quick": Profile(
            tasks={"maac_bench/Pendulum-v0": 10, "maac_bench/CartPole-v0": 25},
            algorithms=algorithms,
            size="tiny",
            seeds=(0, 1, 2, 3, 4),
            compiled=True,
            label="reduced: tiny nets, small tasks",
        ),
        "mujoco": Profile(
            tasks={"maac_bench/HalfCheetah-v0": 50},
            algorithms=algorithms,
            size="small",
            seeds=(0, 1),
            compiled=True,
            label="reduced: small nets, one task, 50 of 200 episodes, 2 of 4 seeds",
        ),
        "paper": Profile(
            tasks={
                f"maac_bench/{name}-v0": 200
                for name in ("HalfCheetah", "Hopper", "Walker2d", "Ant")
            },
            algorithms=algorithms,
            size="paper",
            seeds=(0, 1, 2, 3),
            compiled=True,
            label="the paper's tasks and sizes",
        ),
    }


def repeated(algorithms: tuple[str, ...]) -> Profile:
    """`mujoco` with two other seeds, shown together with it."""
    return replace(
        profiles(algorithms)["mujoco"],
        seeds=(2, 3),
        label="reduced: small nets, one task, 50 of 200 episodes",
        place="small-seeds-2-3",
        repeats="mujoco",
    )


def longer(algorithms: tuple[str, ...]) -> Profile:
    """`repeated`, trained on to half of the paper's episodes."""
    return replace(
        repeated(algorithms),
        tasks={"maac_bench/HalfCheetah-v0": 100},
        label="reduced: small nets, one task, 100 of 200 episodes, 2 of 4 seeds",
        place="small-longer",
        repeats=None,
    )


def other_tasks(algorithms: tuple[str, ...]) -> Profile:
    """The paper's other tasks in the form of `mujoco`, as far as a few hours of one core go."""
    return replace(
        profiles(algorithms)["mujoco"],
        tasks={f"maac_bench/{name}-v0": 25 for name in ("Hopper", "Walker2d", "Ant")},
        label="reduced: small nets, 25 of 200 episodes, 2 of 4 seeds",
    )


def ant(algorithms: tuple[str, ...]) -> Profile:
    """Ant in the form of `mujoco`, for as many episodes as the paper's."""
    return replace(
        profiles(algorithms)["mujoco"],
        tasks={"maac_bench/Ant-v0": 200},
        seeds=(2, 3),
        label="reduced: small nets, one task, 2 of 4 seeds",
        place="small-seeds-2-3",
    )


def paper_size(algorithms: tuple[str, ...]) -> Profile:
    """As much of the paper's size as one core trains in half a day: how far small ones are off."""
    return Profile(
        tasks={"maac_bench/HalfCheetah-v0": 50},
        algorithms=algorithms,
        size="paper",
        seeds=(0,),
        compiled=True,
        label="reduced: the paper's nets and updates, one task, 50 of 200 episodes, 1 of 4 seeds",
        place="paper-one-seed",
    )


def paper_size_gpu(algorithms: tuple[str, ...]) -> Profile:
    """The same for more seeds, which a GPU trains stacked."""
    return replace(
        paper_size(algorithms),
        seeds=(0, 1, 2, 3),
        label="reduced: the paper's nets and updates, one task, 50 of 200 episodes",
        place="paper-gpu",
        device="cuda",
    )


def paper_size_tf32(seeds: tuple[int, ...], place: str) -> Profile:
    """The same with hidden products in TF32, in the form with which most is learned."""
    return replace(paper_size_gpu(("maac-scaled-critic-tf32",)), seeds=seeds, place=place)
