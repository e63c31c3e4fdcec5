"""The linear-quadratic-Gaussian problem: one frozen, validated record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array: TypeAlias = NDArray[np.float64]

# Symmetry and positive semi-definiteness are judged relative to the matrix's own size.
_RELATIVE_TOLERANCE = 1e-9
_REAL = (int, float, np.integer, np.floating)


class UnstablePolicyError(ValueError):
    """The discounted sum of squared states is infinite: sqrt(gamma) * rho(A - B K) >= 1.

    So is the return, unless what grows costs nothing. Or a finite sum along its trajectories, true
    or learned ones, is larger than any number.
    """


@contextmanager
def no_overflow(what: str) -> Iterator[Callable[[ArrayLike], None]]:
    """Gives a check that raises UnstablePolicyError, naming what overflows, for inf and nan."""

    def check(value: ArrayLike) -> None:
        if not np.isfinite(value).all():
            raise UnstablePolicyError(
                f"K is unstable, with the true or a learned model: {what} overflows"
            )

    with np.errstate(over="ignore", invalid="ignore"):
        yield check


def as_matrix(name: str, value: ArrayLike, shape: tuple[int, int] | None = None) -> Array:
    """A finite, read-only float64 copy of `value`, [rows, columns]; ValueError names the field."""
    try:
        raw = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} is not a matrix: {error}") from error
    if raw.dtype.kind not in "biuf" or raw.size == 0:
        raise ValueError(f"{name} must be a matrix of real numbers, got {value!r}")
    matrix = np.atleast_2d(np.array(raw, dtype=np.float64))
    if matrix.ndim != 2 or (shape is not None and matrix.shape != shape):
        wanted = "two axes" if shape is None else f"shape {list(shape)}"
        raise ValueError(f"{name} must have {wanted}, got shape {list(matrix.shape)}")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name} has entries that are not finite")
    matrix.setflags(write=False)
    return matrix


def as_symmetric(name: str, value: ArrayLike, size: int, *, definite: bool = False) -> Array:
    """`as_matrix` for a symmetric positive semi-definite (or definite) matrix, [size, size]."""
    matrix = as_matrix(name, value, (size, size))
    scale = max(float(np.abs(matrix).max()), np.finfo(np.float64).tiny)
    if np.abs(matrix - matrix.T).max() > _RELATIVE_TOLERANCE * scale:
        raise ValueError(f"{name} must be symmetric")
    smallest = float(np.linalg.eigvalsh(matrix)[0])
    if definite and smallest <= _RELATIVE_TOLERANCE * scale:
        raise ValueError(f"{name} must be positive definite; smallest eigenvalue {smallest:.3g}")
    if smallest < -_RELATIVE_TOLERANCE * scale:
        raise ValueError(
            f"{name} must be positive semi-definite; smallest eigenvalue {smallest:.3g}"
        )
    return matrix


def matrix_root(covariance: Array) -> Array:
    """Symmetric square root of a positive semi-definite matrix, [n, n]."""
    values, vectors = np.linalg.eigh(covariance)
    root: Array = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    return root


def check_count(name: str, value: object, minimum: int) -> int:
    """`value` if it is a whole number of at least `minimum`; ValueError naming it otherwise."""
    number = float(value) if isinstance(value, _REAL) else float("nan")
    if not (number >= minimum and number % 1 == 0):
        raise ValueError(f"{name} must be a whole number of at least {minimum}, got {value!r}")
    return int(number)


def check_finite(**values: object) -> None:
    """ValueError naming the first value that is not a finite number."""
    for name, value in values.items():
        if not (isinstance(value, _REAL) and np.isfinite(float(value))):
            raise ValueError(f"{name} must be finite, got {value!r}")


def check_nonnegative(**values: object) -> None:
    """ValueError naming the first value that is not a finite number of at least 0."""
    for name, value in values.items():
        if not (isinstance(value, _REAL) and 0.0 <= float(value) < np.inf):
            raise ValueError(f"{name} must be a number of at least 0, got {value!r}")


def check_discount(gamma: object) -> None:
    """ValueError unless gamma is a number in [0, 1)."""
    if not (isinstance(gamma, _REAL) and 0.0 <= float(gamma) < 1.0):
        raise ValueError(f"gamma must lie in [0, 1), got {gamma!r}")


@dataclass(frozen=True, eq=False)
class LinearModel:
    """Linear-Gaussian dynamics `s' = A s + B a + w`, `w ~ N(0, W)`; W = None is zero.

    Shapes [n, n], [n, m], [n, n]. Raises ValueError naming the field that does not fit.
    """

    A: Array
    B: Array
    W: Array

    def __init__(self, A: ArrayLike, B: ArrayLike, W: ArrayLike | None = None) -> None:
        A = as_matrix("model.A", A)
        n = A.shape[0]
        A, B = as_matrix("model.A", A, (n, n)), as_matrix("model.B", B)
        if B.shape[0] != n:
            raise ValueError(f"model.B must have {n} rows like model.A, got {list(B.shape)}")
        W = as_symmetric("model.W", np.zeros((n, n)) if W is None else W, n)
        for name, value in (("A", A), ("B", B), ("W", W)):
            object.__setattr__(self, name, value)


@dataclass(frozen=True, eq=False)
class LQG:
    """Discounted linear-quadratic-Gaussian problem with a linear-Gaussian policy.

    `s' = A s + B a + w`, `w ~ N(0, W)`; `r(s, a) = -(s'Qs + a'Ra)`; `a = -K s + e`,
    `e ~ N(0, action_cov)`. Gradients are with respect to the gain K, [m, n].

    Args:
        A: state transition, [n, n].
        B: control input, [n, m].
        Q: state cost, [n, n], symmetric positive semi-definite.
        R: action cost, [m, m], symmetric positive definite.
        W: process-noise covariance, [n, n]; None is zero.
        action_cov: policy covariance, [m, m]; None is zero.
        M0: second moment of the start state E[s0 s0'], [n, n]; None is the identity.
        gamma: discount per step, 0 <= gamma < 1.

    Raises:
        ValueError: a field has the wrong shape, is not finite, not symmetric, not positive
            (semi-)definite or out of range; the message names the field.
    """

    A: Array
    B: Array
    Q: Array
    R: Array
    W: Array
    action_cov: Array
    M0: Array
    gamma: float

    def __init__(
        self,
        A: ArrayLike,
        B: ArrayLike,
        Q: ArrayLike,
        R: ArrayLike,
        W: ArrayLike | None = None,
        action_cov: ArrayLike | None = None,
        M0: ArrayLike | None = None,
        gamma: float = 0.99,
    ) -> None:
        A, B = as_matrix("A", A), as_matrix("B", B)
        n, m = A.shape[0], B.shape[1]
        if A.shape != (n, n):
            raise ValueError(f"A must be square, got shape {list(A.shape)}")
        if B.shape[0] != n:
            raise ValueError(f"B must have {n} rows like A, got shape {list(B.shape)}")
        check_discount(gamma)
        fields = {
            "A": A,
            "B": B,
            "Q": as_symmetric("Q", Q, n),
            "R": as_symmetric("R", R, m, definite=True),
            "W": as_symmetric("W", np.zeros((n, n)) if W is None else W, n),
            "action_cov": as_symmetric(
                "action_cov", np.zeros((m, m)) if action_cov is None else action_cov, m
            ),
            "M0": as_symmetric("M0", np.eye(n) if M0 is None else M0, n),
            "gamma": float(gamma),
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    @cached_property
    def dynamics(self) -> LinearModel:
        """What really follows a state and an action."""
        return LinearModel(self.A, self.B, self.W)

    @property
    def n(self) -> int:
        """State dimension."""
        return int(self.A.shape[0])

    @property
    def m(self) -> int:
        """Action dimension."""
        return int(self.B.shape[1])

    def gain(self, K: ArrayLike) -> Array:
        """`K` as a validated [m, n] gain."""
        return as_matrix("K", K, (self.m, self.n))


def double_integrator(
    dt: float = 0.05,
    gamma: float = 0.99,
    *,
    process_std: float = 0.01,
    action_std: float = 0.1,
    start_std: float = 1.0,
) -> LQG:
    """The paper's test bench: position and velocity driven by an acceleration.

    Clavera et al. 2020, Sec. 5.2: `s' = s + dt [v, a]`, `r = -(p^2 + v^2 + a^2) / 2`. The process
    noise, policy noise and start distribution are ours; the paper does not state them.

    Args:
        dt: time step in seconds.
        gamma: discount per step.
        process_std: standard deviation of the process noise on each state, per step.
        action_std: standard deviation of the policy's Gaussian noise.
        start_std: standard deviation of each start-state component.

    Raises:
        ValueError: a number is negative or not finite, or gamma is out of range.
    """
    check_nonnegative(dt=dt, process_std=process_std, action_std=action_std, start_std=start_std)
    return LQG(
        A=[[1.0, dt], [0.0, 1.0]],
        B=[[0.0], [dt]],
        Q=0.5 * np.eye(2),
        R=[[0.5]],
        W=process_std**2 * np.eye(2),
        action_cov=[[action_std**2]],
        M0=start_std**2 * np.eye(2),
        gamma=gamma,
    )


def random_lqg(
    n: int,
    m: int,
    rng: np.random.Generator,
    *,
    spectral_radius: float = 0.95,
    gamma: float = 0.95,
) -> LQG:
    """A random LQG whose open loop has the given spectral radius.

    K = 0 is stable where `sqrt(gamma) * spectral_radius < 1`, as by default.

    Args:
        n: state dimension.
        m: action dimension.
        rng: source of the matrices.
        spectral_radius: rho(A).
        gamma: discount per step.

    Raises:
        ValueError: sizes below 1, a negative radius, or no generator.
    """
    n, m = check_count("n", n, 1), check_count("m", m, 1)
    check_nonnegative(spectral_radius=spectral_radius)
    if not isinstance(rng, np.random.Generator):
        raise ValueError(f"rng must be a numpy.random.Generator, got {rng!r}")

    def covariance(size: int, std: float) -> Array:
        # Wishart with enough degrees of freedom to be well conditioned.
        factor = rng.standard_normal((size, 2 * size + 2))
        moment: Array = std**2 / factor.shape[1] * (factor @ factor.T)
        return moment

    A = rng.standard_normal((n, n))
    A *= spectral_radius / np.abs(np.linalg.eigvals(A)).max()
    B = rng.standard_normal((n, m)) / np.sqrt(n)
    return LQG(
        A=A,
        B=B,
        Q=covariance(n, 1.0),
        R=covariance(m, 1.0),
        W=covariance(n, 0.1),
        action_cov=covariance(m, 0.3),
        M0=covariance(n, 1.0),
        gamma=gamma,
    )
