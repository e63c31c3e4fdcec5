"""Small LQG problems, torch side and oracle side together."""

from typing import NamedTuple

import numpy as np
import torch

import analytic
from maac_bench.critics import QuadraticCritic
from maac_bench.nets import Hidden, init_mlp
from maac_bench.policies import LinearGaussian, SquashedGaussian
from maac_bench.rollout import draw_rollout_noise, rollout, transitions
from maac_bench.streams import Streams
from maac_bench.tasks import linear_quadratic_task, require_true
from maac_bench.types import Problem


class Case(NamedTuple):
    lqg: analytic.LQG
    gain: np.ndarray
    critic: analytic.QuadraticCritic
    problem: Problem
    policy: LinearGaussian
    start: object


def make_case(stack: int = 1, n: int = 3, m: int = 2, seed: int = 0) -> Case:
    """A random LQG with a stale critic; dtype is torch's default."""
    rng = np.random.default_rng(seed)
    lqg = analytic.random_lqg(n, m, rng)
    best = analytic.optimal_gain(lqg)
    stale = analytic.evaluate(lqg, 0.3 * best)
    critic = analytic.QuadraticCritic(stale.G, stale.d)
    task = linear_quadratic_task("test/LQG-v0", lqg)
    true = require_true(task)
    dtype = torch.get_default_dtype()
    torch_critic = QuadraticCritic(
        torch.tensor(critic.G, dtype=dtype), torch.tensor(critic.d, dtype=dtype)
    )
    policy = LinearGaussian(
        torch.tensor(0.6 * best, dtype=dtype).expand(stack, m, n),
        torch.tensor(np.linalg.cholesky(lqg.action_cov), dtype=dtype),
    )
    problem = Problem(true.dynamics, task.reward, task.terminated, torch_critic, lqg.gamma)
    return Case(lqg, 0.6 * best, critic, problem, policy, true.start)


def squashed_policy(seeds, n: int = 3, m: int = 2, width: int = 8) -> SquashedGaussian:
    return SquashedGaussian(
        init_mlp(Streams(seeds, "policy"), None, n, 2 * m, Hidden((width,), "tanh"))
    )


def streams(seeds):
    return lambda purpose: Streams(seeds, purpose)


def lqg_data(seeds, count=1000, noise_std=1.0):
    """One-step transitions from wide states and actions; the exploring policy is the case's."""
    case = make_case(len(seeds))
    explorer = LinearGaussian(case.policy.gain, noise_std * torch.eye(2))
    factory = streams(seeds)
    start = case.start(factory("data-start"), count // 5)
    noise = draw_rollout_noise(factory("data-noise"), case.problem.dynamics, 5, (count // 5,), 3, 2)
    return case, transitions(rollout(case.problem, explorer, start, noise))
