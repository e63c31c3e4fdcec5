"""The paper's headline numbers beside ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from reports import provenance
from reports.files import read_csv
from reports.page.markup import table_html
from reports.page.tables import interval, planning_returns, with_spread

NOT_RUN = "not run yet"
ALGORITHM = "maac"
_CURVES = ("figure2", "ablations")


class Claim(NamedTuple):
    """A number of the paper: Sec. 5.1, Figure 2 and Table 1.

    measure: row of our summaries, or `mpc` for a test with planning.
    """

    task: str
    quantity: str
    printed: str
    measure: str


CLAIMS = (
    Claim("HalfCheetah", "return after 50 episodes", "about 10 000", "return_at_50"),
    Claim("HalfCheetah", "final return", "10 700 ± 253", "final"),
    Claim("Ant", "final return", "3 060 ± 1 450", "final"),
    Claim("Hopper", "final return", "2 770 ± 3", "final"),
    Claim("Walker2d", "final return", "1 610 ± 404", "final"),
    Claim("HalfCheetah", "with MPC at test time", "10 900 ± 94.5", "mpc"),
    Claim("Ant", "with MPC at test time", "3 970 ± 1 480", "mpc"),
    Claim("Hopper", "with MPC at test time", "2 800 ± 11", "mpc"),
    Claim("Walker2d", "with MPC at test time", "1 760 ± 78", "mpc"),
)


def claims_html(reports: Path, profiles: Mapping[str, Sequence[str]]) -> str:
    """The comparison, a row per claim, ours labelled with the report and its profile.

    Args:
        reports: the folder of all reports.
        profiles: report to its profiles.
    """
    rows = []
    for claim in CLAIMS:
        found = list(_ours(claim, reports, profiles))
        printed = claim.printed.replace(" ", "\xa0")  # a number stays on one line
        rows.append([claim.task, claim.quantity, printed, "\n".join(found) or NOT_RUN])
    return table_html(["task", "quantity", "paper", "here"], rows)


def folders(reports: Path, name: str, profiles: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """The profiles of a report that have data, with their folders; the first is the report's."""
    for place, profile in enumerate(profiles):
        folder = reports / name / profile if place else reports / name
        if (folder / "data.csv").exists():
            yield profile, folder


def _ours(claim: Claim, reports: Path, profiles: Mapping[str, Sequence[str]]) -> Iterator[str]:
    task = f"maac_bench/{claim.task}-v0"
    if claim.measure == "mpc":
        for profile, folder in folders(reports, "table1", profiles["table1"]):
            for name, algorithm, mpc, n, mean, spread in planning_returns(folder):
                if (name, algorithm, mpc) == (task, ALGORITHM, True):
                    result = with_spread(n, mean, spread)
                    yield f"{result} (table1, {_size(profile, folder)}, {_seeds(n)})"
        return
    for report, profile, folder in _longest(reports, profiles, task):
        keys = ["task", "algo", "measure", "n", "iqm", "low", "high"]
        summary = read_csv(folder / "summary.csv", keys)
        for row in summary.to_dict("records"):
            if (row["task"], row["algo"], row["measure"]) != (task, ALGORITHM, claim.measure):
                continue
            size = f"{report}, {_size(profile, folder)}"
            if row["n"]:
                result = interval(row["iqm"], row["low"], row["high"])
                yield f"{result} ({size}, {_seeds(row['n'])})"
            else:
                yield f"not finished yet ({size})"


def _longest(
    reports: Path, profiles: Mapping[str, Sequence[str]], task: str
) -> list[tuple[str, str, Path]]:
    """Report, profile and folder of every run of the task, each where most of it is shown.

    Profiles of one size with the same seeds on the same kind of device show the same run, some its
    first episodes only, and some do not have it.
    """
    chosen: dict[str, tuple[int, str, str, Path]] = {}
    name = f"{task.rpartition('/')[2]}/{ALGORITHM}"
    for report in _CURVES:
        for profile, folder in folders(reports, report, profiles[report]):
            origin = provenance.load(folder)
            settings = origin["configuration"]
            episodes = settings.get("tasks", {}).get(task, 0)
            identities = origin.get("identities", {name: {}})
            if name not in identities:
                continue
            device = identities[name].get("device", "cpu")
            run = str([settings.get("size", profile), settings.get("seeds"), device])
            if run not in chosen or episodes > chosen[run][0]:
                chosen[run] = (episodes, report, profile, folder)
    return [(report, profile, folder) for _, report, profile, folder in chosen.values()]


def _seeds(count: int) -> str:
    return f"{count} seed{'s' if count != 1 else ''}"


def _size(profile: str, folder: Path) -> str:
    label = provenance.load(folder)["configuration"].get("label")
    return f"profile {profile}: {label}" if label else f"profile {profile}"
