"""Commands that measure a run's gradient: `gradient-error` and `landscape`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from tqdm import tqdm

from maac_bench import run_gradient_error, run_landscape
from maac_bench.cli.results import (
    require_alike,
    require_all,
    result_name,
    say_what_changed,
    say_who_stopped,
)
from maac_bench.run_checkpoints import require_rollout
from maac_bench.run_gradient_error import Measurement, gradient_error
from maac_bench.run_landscape import Probe, landscape
from maac_bench.run_records import read_identity
from maac_bench.tasks import TrainingTask, make_training_task, never
from reports import gradient_error_figure, landscape_figure
from reports.files import require_writable, write_csv
from reports.style import use_style


@dataclass(frozen=True)
class GradientError:
    """Measure a run's actor gradient against its task's true dynamics.

    These are MuJoCo for the paper's tasks, and tensors for the linear-quadratic ones and swing-ups.

    Writes gradient-error.csv, .png and .pdf into the run directory; with --rollout 20,
    gradient-error-20.csv and so on.
    """

    directory: tyro.conf.Positional[Path]
    """run directory"""
    rollout: int | None = None
    """which checkpoint; default: the newest (see train --keep-every)"""
    measurement: Annotated[Measurement, tyro.conf.arg(name="")] = field(default_factory=Measurement)

    def execute(self) -> None:
        """Measure, write, draw, print the summary."""
        task = read_identity(self.directory)["task"]
        training = make_training_task(task)  # imports its module, if it is the user's own
        rollout = require_rollout(self.directory, self.rollout)
        say_what_changed(self.directory, task, rollout)
        require_writable(self.directory)
        path = self.directory / f"{result_name('gradient-error', self.rollout)}.csv"
        asked = self.measurement
        names = ("through", "reference_steps", "samples", "displacement")
        dials = {name: getattr(asked, name) for name in names}
        dials["shuffled_model"] = int(asked.shuffled_model)
        own = {"random_seed": asked.seed}
        require_alike(path, {**dials, "replicates": asked.rollouts, **own})
        require_all(path, "horizon", asked.horizons)
        with _shares() as advance:
            table = gradient_error(self.directory, asked, rollout, advance).assign(**own)
        print(run_gradient_error.summary(table))
        if asked.through == "score_function":
            _say_what_ends(training)
        say_who_stopped(self.directory, table)
        write_csv(table, path)
        use_style()
        gradient_error_figure.draw(path)


@dataclass(frozen=True)
class Landscape:
    """Test policies a step up and a step down a run's actor gradient.

    Asks the environment alone, so every task will do. Beside the learned model's gradient:
    controls, and with --reference-steps the gradient through true dynamics.

    Writes landscape.csv, .png and .pdf into the run directory; with --rollout 20, landscape-20.csv
    and so on.
    """

    directory: tyro.conf.Positional[Path]
    """run directory"""
    rollout: int | None = None
    """which checkpoint; default: the newest (see train --keep-every)"""
    probe: Annotated[Probe, tyro.conf.arg(name="")] = field(default_factory=Probe)

    def execute(self) -> None:
        """Measure, write, draw, print the summary."""
        task, asked = read_identity(self.directory)["task"], self.probe
        training = make_training_task(task)  # imports its module, if it is the user's own
        rollout = require_rollout(self.directory, self.rollout)
        say_what_changed(self.directory, task, rollout)
        require_writable(self.directory)
        path = self.directory / f"{result_name('landscape', self.rollout)}.csv"
        names = ("samples", "replicates", "displacement", "episodes")
        own = {"reference_steps": asked.reference_steps, "random_seed": asked.seed}
        require_alike(path, {name: getattr(asked, name) for name in names} | own)
        reference = [asked.reference_steps] if asked.reference_steps else []
        require_all(path, "horizon", [*asked.horizons, *reference])
        require_all(path, "step", [sign * step for step in asked.steps for sign in (1, -1)])
        with _shares() as advance:
            table = landscape(self.directory, asked, rollout, advance).assign(**own)
        print(run_landscape.summary(table))
        if asked.reference_steps:
            _say_what_ends(training)
        say_who_stopped(self.directory, table)
        write_csv(table, path)
        use_style()
        landscape_figure.draw(path)


@contextmanager
def _shares() -> Iterator[Callable[[float], object]]:
    """A bar of shares that add up to 1, with the time left: what moves it on by one of them."""
    shown = "{l_bar}{bar}| {elapsed}<{remaining}"
    with tqdm(total=1.0, bar_format=shown, leave=False, delay=1) as bar:
        # Rounded sums can be above 1.
        yield lambda share: bar.update(min(share, 1.0 - bar.n))


def _say_what_ends(training: TrainingTask) -> None:
    """A line where states end episodes, if gradients come from true returns."""
    if training.task.terminated is not never:
        print(
            f"episodes of {training.task.name} may end: gradients from true returns then count "
            "how actions move the border of the ending states, the learned one does not, however "
            "good the model (a row whose episodes never end says "
            "terminated=maac_bench.tasks.never)"
        )
