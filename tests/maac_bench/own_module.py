"""A module of a user's, with rows that work and rows that do not; `{name}` is its own."""

MODULE = """
from dataclasses import dataclass, replace

import numpy as np

import analytic
from maac_bench.estimators import ESTIMATORS, Settings
from maac_bench.estimators.pathwise import ModelAugmented
from maac_bench.config import Config
from maac_bench.presets import ALGORITHMS, preset
from maac_bench.tasks import TASKS, linear_quadratic_task

lqg = analytic.random_lqg(3, 1, np.random.default_rng(5))
TASKS["{name}:Three-v0"] = lambda: linear_quadratic_task("{name}:Three-v0", lqg)

# Half of the optimal gain does not hold it.
loose = analytic.LQG([[2.0]], [[1.0]], [[1.0]], [[1.0]], action_cov=[[0.1]], gamma=0.9)
TASKS["{name}:Loose-v0"] = lambda: linear_quadratic_task("{name}:Loose-v0", loose)


def elsewhere():
    task = linear_quadratic_task("{name}:Elsewhere-v0", lqg)
    start = lambda streams, count: 3.0 + task.true.start(streams, count)
    return replace_start(task, start)


def replace_start(task, start):
    return task._replace(true=task.true._replace(start=start))


TASKS["{name}:Elsewhere-v0"] = elsewhere


@dataclass(frozen=True)
class Doubled(ModelAugmented):
    # twice what MAAC says
    critic_role = "own"

    def gradient(self, problem, policy, start, noise):
        return tuple(2.0 * x for x in super().gradient(problem, policy, start, noise))


class Undeclared(Doubled):
    critic_role = "closes"


class Broken(ModelAugmented):
    def gradient(self, problem, policy, start, noise):
        raise LookupError("no such thing")


class Flat(ModelAugmented):
    def gradient(self, problem, policy, start, noise):
        return tuple(x.flatten(1) for x in super().gradient(problem, policy, start, noise))


class Complex(ModelAugmented):
    def gradient(self, problem, policy, start, noise):
        return tuple(x + 1j for x in super().gradient(problem, policy, start, noise))


class Nothing(ModelAugmented):
    def gradient(self, problem, policy, start, noise):
        return iter(())


class Refusing(ModelAugmented):
    def draw(self, streams, problem, policy, start):
        return int("two")


class Attached(ModelAugmented):
    def gradient(self, problem, policy, start, noise):
        return tuple(x.requires_grad_() for x in super().gradient(problem, policy, start, noise))


class Single(ModelAugmented):
    def gradient(self, problem, policy, start, noise):
        return super().gradient(problem, policy, start, noise)[0]


class Sparse(ModelAugmented):
    def gradient(self, problem, policy, start, noise):
        return tuple(x.to_sparse() for x in super().gradient(problem, policy, start, noise))


class Misspelt(ModelAugmented):
    critic_role = "close"


class Unset(ModelAugmented):
    settings = None

    def __init__(self, settings):
        pass


class Roleless:
    def __init__(self, settings):
        self.settings = settings


class Moody(ModelAugmented):
    @property
    def critic_role(self):
        raise RuntimeError("not today")


ESTIMATORS["{name}:moody"] = Moody
ESTIMATORS["{name}:doubled"] = Doubled
ESTIMATORS["{name}:undeclared"] = Undeclared
ESTIMATORS["{name}:complex"] = Complex
ESTIMATORS["{name}:nothing"] = Nothing
ESTIMATORS["{name}:refusing"] = Refusing
ESTIMATORS["{name}:roleless"] = Roleless
ESTIMATORS["{name}:number"] = 3
ESTIMATORS["{name}:attached"] = Attached
ESTIMATORS["{name}:single"] = Single
ESTIMATORS["{name}:sparse"] = Sparse
ESTIMATORS["{name}:misspelt"] = Misspelt
ESTIMATORS["{name}:unset"] = Unset
TASKS["{name}:Other-v0"] = lambda: linear_quadratic_task("Other-v0", lqg)
TASKS["{name}:Pair-v0"] = lambda: linear_quadratic_task("{name}:Pair-v0", lqg)._replace(true=(1, 2))
ESTIMATORS["{name}:broken"] = Broken
ESTIMATORS["{name}:flat"] = Flat


def hasty(task, size):
    base = preset("sac", task, size)
    return replace(base, actor=replace(base.actor, learning_rate=0.01))


ALGORITHMS["{name}:hasty"] = hasty
def unpaid(state, action, next_state):
    raise LookupError("no reward")


TASKS["{name}:Unpaid-v0"] = lambda: linear_quadratic_task("{name}:Unpaid-v0", lqg)._replace(
    reward=unpaid
)


@dataclass(frozen=True)
class Longer(Config):
    extra: int = 1


ALGORITHMS["{name}:longer"] = lambda task, size: Longer(**vars(preset("sac", task, size)))
ALGORITHMS["{name}:scalar"] = lambda task, size: replace(
    preset("sac", task, size), discount=np.float32(0.9)
)
ALGORITHMS["{name}:table"] = lambda task, size: dict(task=task)
ALGORITHMS["{name}:sizeless"] = lambda task: preset("sac", task)
"""
