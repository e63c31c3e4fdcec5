"""Which algorithms the ablations compare, and how."""

from __future__ import annotations

from dataclasses import replace

from reports.curve_report import CurveReport
from reports.training_profiles import (
    ant,
    longer,
    other_tasks,
    paper_size,
    paper_size_gpu,
    paper_size_tf32,
    profiles,
    repeated,
)

PROFILES = profiles(("maac", "maac-h0", "maac-no-steve", "maac-single-sample"))
_VARIANTS = {
    # Which net needs the normalisation that the paper does not have.
    "normalisation": (15, ("maac-plain-critic", "maac-plain-model", "maac-plain")),
    # Whether it matters which actions' entropy is rewarded, and the authors' form as a whole.
    "entropy": (15, ("maac-first-entropy", "maac-authors")),
    # What of Kubo et al. (2025) helps, one part left out at a time.
    "plus": (
        25,
        ("maac-plus", "maac-plus-short-branches", "maac-plus-steve", "maac-plus-unbounded"),
    ),
    # What half of the digits in the products between hidden layers cost.
    "precision": (25, ("maac-bfloat16",)),
    # Whether twice the updates per step make more of the critics with which most is learned.
    "updates": (30, ("maac-scaled-critic", "maac-scaled-critic-more-updates")),
    # Whether the parts of `plus` still help where the critics' unit does.
    "plus-critic-unit": (40, ("maac-scaled-critic", "maac-plus-scaled-critic")),
    # What is lost where fits of the model are cut short, so that a step's cost does not grow.
    "fits": (50, ("maac-short-fits",)),
    # Whether reduced sizes lose anything by the members that their targets leave out.
    "target-members": (50, ("maac-all-members",)),
}
for _name, (_episodes, _algorithms) in _VARIANTS.items():
    PROFILES[_name] = replace(
        PROFILES["mujoco"],
        tasks={"maac_bench/HalfCheetah-v0": _episodes},
        algorithms=("maac", *_algorithms),
        label=f"reduced: small nets, one task, the first {_episodes} episodes, 2 seeds",
    )
# What the critics' networks put out, with and without the model in the actor's objective.
PROFILES["critic-unit"] = replace(
    PROFILES["mujoco"],
    algorithms=(
        "maac",
        "maac-scaled-critic",
        "maac-sqrt-critic",
        "maac-h0-scaled-critic",
        "maac-h0-sqrt-critic",
    ),
)
# Whether the baseline that comes next gains as much from it.
PROFILES["critic-unit-baseline"] = replace(
    PROFILES["mujoco"], algorithms=("maac-scaled-critic", "mbpo", "mbpo-scaled-critic")
)
# Two other seeds, shown together with the first.
PROFILES["critic-unit-repeated"] = replace(
    repeated(("maac", "maac-scaled-critic", "maac-sqrt-critic", "maac-h0-sqrt-critic")),
    repeats="critic-unit",
)
PROFILES["critic-unit-small-tasks"] = replace(
    PROFILES["quick"], algorithms=("maac", "maac-scaled-critic", "maac-sqrt-critic")
)
PROFILES["other-tasks"] = other_tasks(PROFILES["paper"].algorithms)
PROFILES["other-tasks-critic-unit"] = other_tasks(
    ("maac", "maac-scaled-critic", "maac-sqrt-critic")
)
PROFILES["mujoco-repeated"] = repeated(PROFILES["mujoco"].algorithms)
# Whether H = 0 still costs as much, and the critics' unit is worth as much, after as many again.
PROFILES["longer"] = longer(("maac", "maac-h0", "maac-scaled-critic"))
# Whether H = 0 is ahead on two of them with two other seeds, too.
PROFILES["other-tasks-repeated"] = replace(
    other_tasks(("maac", "maac-h0")),
    tasks={"maac_bench/Hopper-v0": 25, "maac_bench/Walker2d-v0": 25},
    seeds=(2, 3),
    label="reduced: small nets, 25 of 200 episodes",
    place="small-seeds-2-3",
    repeats="other-tasks",
)
# Whether a longer run gets anywhere on Ant.
PROFILES["ant"] = replace(
    PROFILES["mujoco"],
    tasks={"maac_bench/Ant-v0": 50},
    algorithms=("maac-scaled-critic",),
    label="reduced: small nets, one task, 50 of 200 episodes, 2 of 4 seeds",
)
# Whether a single terminal sample fails there, as in the paper, and what the others cost.
PROFILES["ant-longer"] = ant(("maac", "maac-h0", "maac-no-steve", "maac-single-sample"))
# How far the reduced sizes are from the paper's.
PROFILES["paper-size"] = paper_size(("maac", "maac-scaled-critic", "maac-sqrt-critic"))
PROFILES["paper-size-gpu"] = paper_size_gpu(("maac", "maac-h0", "maac-scaled-critic"))
# What operands with 11 bits in the products between hidden layers cost on a GPU.
PROFILES["paper-size-tf32"] = replace(
    paper_size_tf32((0, 1, 2), "paper-gpu"),
    label="reduced: the paper's nets and updates, one task, 50 of 200 episodes, 3 of 4 seeds",
)
# Whether such policies get to 10 000: two other seeds, for longer.
PROFILES["paper-size-tf32-repeated"] = replace(
    paper_size_tf32((3, 4), "paper-gpu-seeds-3-4"), repeats="paper-size-tf32"
)
REPORT = CurveReport("ablations", PROFILES, measures=("final", "area"))
