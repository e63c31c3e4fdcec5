"""The sizes of the parity check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reports.training_runs import TrainingRun

OURS, PEER = "sac", "stable-baselines3"


@dataclass(frozen=True)
class Profile:
    """tasks: Gymnasium identifier to its number of episodes, the random ones included."""

    tasks: Mapping[str, int]
    seeds: tuple[int, ...]
    label: str

    def runs(self) -> tuple[TrainingRun, ...]:
        """Our side; the other side takes its hyper-parameters from these runs."""
        return tuple(
            TrainingRun(task, OURS, "paper", self.seeds, episodes, compiled=True)
            for task, episodes in self.tasks.items()
        )


PROFILES = {
    "quick": Profile(
        tasks={"Pendulum-v1": 30, "HalfCheetah-v5": 50},
        seeds=(0, 1, 2),
        label="both at full size",
    ),
}
