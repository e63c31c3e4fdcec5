"""From a command line to a command."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from contextlib import redirect_stderr
from itertools import zip_longest
from typing import Annotated, TypeAlias, cast

import tyro

from maac_bench.cli.estimate import Estimate
from maac_bench.cli.figures import Figure, List, Report
from maac_bench.cli.gradients import GradientError, Landscape
from maac_bench.cli.runs import Compare, Evaluate
from maac_bench.cli.train import DEFAULT_ALGORITHM, DEFAULT_TASK, Train
from maac_bench.presets import preset
from maac_bench.sizes import Size

_QUESTION = "How good is the gradient when you differentiate through a learned model?"

Command: TypeAlias = (
    Train | Evaluate | Compare | Figure | Report | Estimate | GradientError | Landscape | List
)


def parse(arguments: Sequence[str]) -> Command:
    """The command of a command line; the defaults of `train` are those of its preset."""
    chosen = {"task": DEFAULT_TASK, "algo": DEFAULT_ALGORITHM, "size": "paper"}
    if arguments and arguments[0] == "train":
        for here, following in zip_longest(arguments, arguments[1:]):
            name, separator, value = here.removeprefix("--").partition("=")
            if here.startswith("--") and name in chosen and (separator or following):
                chosen[name] = value if separator else following
    config = preset(chosen["algo"], chosen["task"], cast(Size, chosen["size"]))
    defaults = Train(
        config,
        tyro.MISSING,
        task=chosen["task"],
        algo=chosen["algo"],
        size=cast(Size, chosen["size"]),
    )
    commands = (
        Annotated[Train, tyro.conf.subcommand("train", default=defaults)]
        | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
        | Annotated[Compare, tyro.conf.subcommand("compare")]
        | Annotated[Figure, tyro.conf.subcommand("figure")]
        | Annotated[Report, tyro.conf.subcommand("report")]
        | Annotated[Estimate, tyro.conf.subcommand("estimate")]
        | Annotated[GradientError, tyro.conf.subcommand("gradient-error")]
        | Annotated[Landscape, tyro.conf.subcommand("landscape")]
        | Annotated[List, tyro.conf.subcommand("list")]
    )
    complaint = io.StringIO()
    try:
        with redirect_stderr(complaint):
            command: Command = tyro.cli(
                commands,
                args=list(arguments),
                prog="maac-bench",
                description=_QUESTION,
            )
    except SystemExit as end:
        if not end.code:
            raise
        said = _sentence(complaint.getvalue())
        if "valid parse" in said and any("," in argument for argument in arguments):
            said += "; several values are separated by spaces"
        raise ValueError(said) from end
    return command


def _sentence(box: str) -> str:
    """What a framed complaint says, in one line."""
    lines = [line.strip(" |│") for line in box.splitlines()]
    words = [line for line in lines if line and not set(line) <= set("-+─╭╮╰╯ ")]
    text = " ".join(words[1:])  # after the frame's title
    for rest in (" Argument helptext:", " For full helptext", " Arguments are applied to"):
        text = text.partition(rest)[0]
    return re.sub(r"Error parsing __tyro-dummy-inner__\.(?:config\.)?(\w+): ", r"\1.", text)
