"""The constants of Lemma 4.1, computed from the LQG, model and critic at hand.

Every constant of a random quantity is a root mean square over the policy's own trajectories, with
the true and the learned rollout driven by the same noise. By Cauchy-Schwarz and Minkowski the
bound then holds for the expected gradient although an LQG's states are unbounded.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from analytic.exact import block_diagonal, closed_loop, noise_drive
from analytic.lqg import LQG, Array, LinearModel, check_count, matrix_root, no_overflow
from analytic.objective import QuadraticCritic, resolve


class Constants(NamedTuple):
    """What Lemma 4.1 needs to know (Clavera et al. 2020, Sec. 4.1 and Appendix A.1).

    Fields:
        eps_f: error of the model's derivative, `||grad f_hat - grad f||_2`.
        eps_Q: error of the critic's derivative at step H, each along its own trajectory.
        eps_r: difference of the reward's derivative between the two trajectories (largest t < H).
        eps_pi: difference of the policy's own parameter derivative between them (largest t <= H).
        L_f: `||grad f||_2` of the true dynamics.
        L_pi: `||grad_s pi||_2`.
        L_r: size of the reward's derivative along the model's trajectory (largest t < H).
        L_Q: size of the learned critic's derivative at the model's step H.
        K: growth per step of the sensitivities, at least 1.
        C: smallest constant with `||d x_t / d theta|| <= C K^t` for both trajectories, t <= H.
    """

    eps_f: float
    eps_Q: float
    eps_r: float
    eps_pi: float
    L_f: float
    L_pi: float
    L_r: float
    L_Q: float
    K: float
    C: float

    @property
    def L(self) -> float:
        """`L_f + L_f L_pi`: one step of the closed loop (Appendix A.1)."""
        return self.L_f * (1.0 + self.L_pi)


def lipschitz_constants(
    lqg: LQG,
    K: ArrayLike,
    horizon: int,
    model: LinearModel | None = None,
    critic: QuadraticCritic | None = None,
) -> Constants:
    """Compute the constants of Lemma 4.1 exactly, from Gaussian second moments.

    Args:
        lqg: the problem.
        K: gain, [m, n].
        horizon: H.
        model: learned dynamics; None is exact.
        critic: learned critic; None is the exact Q-function of K.

    Raises:
        UnstablePolicyError: K has no exact Q-function, or the model's trajectories grow beyond any
            number.
        ValueError: shapes do not fit or the horizon is negative.
    """
    K, horizon = lqg.gain(K), check_count("horizon", horizon, 0)
    _, true_critic = resolve(lqg, K, None, None)
    model, critic = resolve(lqg, K, model, critic)
    with no_overflow(f"a trajectory of {horizon} steps") as check:
        found = _constants(lqg, K, horizon, model, critic, true_critic)
        for value in found:
            check(value)
    return found


def _constants(
    lqg: LQG,
    K: Array,
    horizon: int,
    model: LinearModel,
    critic: QuadraticCritic,
    true_critic: QuadraticCritic,
) -> Constants:
    n, m = lqg.n, lqg.m
    lift = np.vstack([np.eye(n), -K])
    cost = 2.0 * block_diagonal(lqg.Q, lqg.R)
    noise = np.vstack([np.zeros((n, m)), matrix_root(lqg.action_cov)])

    joint = _joint_moments(lqg, model, K, horizon)
    apart = np.hstack([np.zeros((n, n)), np.eye(n)])
    model_only = np.hstack([np.eye(n), np.eye(n)])
    state_gaps = [_rms(apart, moment) for moment in joint]
    # x_hat - x = lift (s_hat - s): the action noise is common, so it cancels.
    reward_gaps = [_rms(cost @ lift @ apart, moment) for moment in joint[:horizon]]
    reward_sizes = [
        np.hypot(_rms(cost @ lift @ model_only, moment), np.linalg.norm(cost @ noise))
        for moment in joint[:horizon]
    ]
    critic_difference = critic.G - true_critic.G
    critic_gap = 2.0 * np.hstack([critic_difference @ lift, critic.G @ lift])
    critic_noise_gap = 2.0 * critic_difference @ noise
    critic_size = 2.0 * critic.G @ lift @ model_only

    growth = max(1.0, _spectral(closed_loop(lqg.dynamics, K)))
    sizes = np.maximum(
        _sensitivity_rms(lqg, lqg.dynamics, K, horizon),
        _sensitivity_rms(lqg, model, K, horizon),
    )
    return Constants(
        eps_f=_spectral(np.hstack([model.A - lqg.A, model.B - lqg.B])),
        eps_Q=float(np.hypot(_rms(critic_gap, joint[-1]), np.linalg.norm(critic_noise_gap))),
        eps_r=float(max(reward_gaps, default=0.0)),
        eps_pi=float(np.sqrt(m) * max(state_gaps)),
        L_f=_spectral(np.hstack([lqg.A, lqg.B])),
        L_pi=_spectral(K),
        L_r=float(max(reward_sizes, default=0.0)),
        L_Q=float(np.hypot(_rms(critic_size, joint[-1]), np.linalg.norm(2.0 * critic.G @ noise))),
        K=growth,
        C=float(np.max(sizes / growth ** np.arange(horizon + 1))),
    )


def _joint_moments(lqg: LQG, model: LinearModel, K: Array, horizon: int) -> list[Array]:
    """`E[z_t z_t']` of `z = [s; s_hat - s]` under common noise, t = 0 ... H, each [2n, 2n].

    The difference is carried itself: taken from two second moments, a small one would cancel.
    """
    n = lqg.n
    true_step = closed_loop(lqg.dynamics, K)
    model_step = closed_loop(model, K)
    step = np.block([[true_step, np.zeros((n, n))], [model_step - true_step, model_step]])
    root, noise_root = matrix_root(lqg.action_cov), matrix_root(lqg.W)
    drive = np.block(
        [
            [noise_root, lqg.B @ root],
            [matrix_root(model.W) - noise_root, (model.B - lqg.B) @ root],
        ]
    )
    moments = [block_diagonal(lqg.M0, np.zeros((n, n)))]
    for _ in range(horizon):
        moments.append(step @ moments[-1] @ step.T + drive @ drive.T)
    return moments


def _sensitivity_rms(lqg: LQG, model: LinearModel, K: Array, horizon: int) -> Array:
    """Root mean square of `||d x_t / d K||_F` for t = 0 ... H, [H + 1].

    Carries the joint second moment of `[s; d s / d K_ij]` for every entry (i, j) at once.
    """
    n, m = lqg.n, lqg.m
    A_K = closed_loop(model, K)
    drive = np.zeros((2 * n, 2 * n))
    drive[:n, :n] = noise_drive(lqg, model)
    step = np.zeros((m, n, 2 * n, 2 * n))
    step[..., :n, :n] = A_K
    step[..., n:, n:] = A_K
    action = np.zeros((m, n, m, 2 * n))  # d a / d K_ij = -K S - e_i s_j
    action[..., n:] = -K
    for i in range(m):
        for j in range(n):
            step[i, j, n:, j] = -model.B[:, i]
            action[i, j, i, j] = -1.0
    moment = np.zeros((m, n, 2 * n, 2 * n))
    moment[..., :n, :n] = lqg.M0
    squares = []
    for _ in range(horizon + 1):
        state_part = np.trace(moment[..., n:, n:], axis1=-2, axis2=-1)
        action_part = np.sum((action @ moment) * action, axis=(-2, -1))
        squares.append(float(np.sum(state_part + action_part)))
        moment = step @ moment @ np.swapaxes(step, -1, -2) + drive
    return np.sqrt(np.maximum(squares, 0.0))


def _rms(linear: Array, moment: Array) -> float:
    """Root mean square of `||linear z||` when `E[z z'] = moment`."""
    return float(np.sqrt(max(np.sum((linear @ moment) * linear), 0.0)))


def _spectral(matrix: Array) -> float:
    return float(np.linalg.norm(matrix, 2))
