from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from analytic import LQG, UnstablePolicyError, double_integrator, random_lqg
from analytic.lqg import as_matrix

VALID = {
    "A": np.array([[0.9, 0.1], [0.0, 0.8]]),
    "B": np.array([[0.0], [1.0]]),
    "Q": np.eye(2),
    "R": np.array([[0.5]]),
    "W": 0.01 * np.eye(2),
    "action_cov": np.array([[0.1]]),
    "M0": np.eye(2),
    "gamma": 0.9,
}
MATRICES = [name for name in VALID if name != "gamma"]
SYMMETRIC_OF_STATE = ["Q", "W", "M0"]


def build(**changes):
    return LQG(**(VALID | changes))


def test_the_template_is_valid():
    lqg = build()
    assert (lqg.n, lqg.m) == (2, 1)
    assert lqg.gamma == 0.9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"A": np.ones((2, 3))}, "^A must be square"),
        ({"B": np.ones((3, 1))}, "^B must have 2 rows"),
        ({"B": [0.0, 1.0]}, "^B must have 2 rows"),  # a vector is one row
        ({"Q": np.eye(3)}, r"^Q must have shape \[2, 2\]"),
        ({"R": np.eye(2)}, r"^R must have shape \[1, 1\]"),
        ({"W": np.eye(1)}, r"^W must have shape \[2, 2\]"),
        ({"action_cov": np.eye(2)}, r"^action_cov must have shape \[1, 1\]"),
        ({"M0": np.ones((2, 1))}, r"^M0 must have shape \[2, 2\]"),
    ],
)
def test_a_wrong_shape_names_the_field(changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_non_finite_entry_names_the_field(name, bad):
    matrix = VALID[name].copy()
    matrix[-1, 0] = bad
    with pytest.raises(ValueError, match=f"^{name} has entries that are not finite"):
        build(**{name: matrix})


@pytest.mark.parametrize("name", MATRICES)
def test_three_axes_name_the_field(name):
    with pytest.raises(ValueError, match=f"^{name} must have"):
        build(**{name: np.ones((1, 2, 2))})


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("value", [[["a"]], [[1.0, 2.0], [3.0]], np.eye(2) * 1j, []])
def test_what_is_no_real_matrix_names_the_field(name, value):
    with pytest.raises(ValueError, match=f"^{name} (must be|is not) a matrix"):
        build(**{name: value})


@pytest.mark.parametrize("name", SYMMETRIC_OF_STATE)
def test_an_asymmetric_state_matrix_names_the_field(name):
    with pytest.raises(ValueError, match=f"^{name} must be symmetric"):
        build(**{name: [[1.0, 0.2], [0.1, 1.0]]})


@pytest.mark.parametrize("name", ["R", "action_cov"])
def test_an_asymmetric_action_matrix_names_the_field(name):
    two_actions = {"B": np.eye(2), "R": np.eye(2), "action_cov": np.eye(2)}
    with pytest.raises(ValueError, match=f"^{name} must be symmetric"):
        build(**(two_actions | {name: [[1.0, 0.2], [0.1, 1.0]]}))


@pytest.mark.parametrize("name", SYMMETRIC_OF_STATE)
def test_an_indefinite_state_matrix_names_the_field(name):
    with pytest.raises(ValueError, match=f"^{name} must be positive semi-definite"):
        build(**{name: [[1.0, 2.0], [2.0, 1.0]]})


def test_a_negative_policy_variance_names_the_field():
    with pytest.raises(ValueError, match=r"^action_cov must be positive semi-definite"):
        build(action_cov=[[-0.1]])


@pytest.mark.parametrize("value", [[[0.0]], [[-1.0]]])
def test_a_singular_or_negative_action_cost_names_the_field(value):
    with pytest.raises(ValueError, match=r"^R must be positive definite"):
        build(R=value)


def test_a_rank_one_action_cost_names_the_field():
    with pytest.raises(ValueError, match=r"^R must be positive definite"):
        build(B=np.eye(2), R=[[1.0, 1.0], [1.0, 1.0]], action_cov=np.eye(2))


@pytest.mark.parametrize("name", SYMMETRIC_OF_STATE)
def test_a_singular_state_matrix_is_allowed(name):
    assert np.array_equal(getattr(build(**{name: [[1.0, 1.0], [1.0, 1.0]]}), name), np.ones((2, 2)))


@pytest.mark.parametrize("name", SYMMETRIC_OF_STATE)
def test_asymmetry_and_indefiniteness_are_judged_relative_to_size(name):
    rounding = 1e6 * np.array([[1.0, 1.0 + 1e-12], [1.0, 1.0]])
    build(**{name: rounding})
    with pytest.raises(ValueError, match=f"^{name} must be symmetric"):
        build(**{name: 1e-20 * np.array([[1.0, 0.2], [0.1, 1.0]])})


@pytest.mark.parametrize("gamma", [-0.1, 1.0, 1.5, np.nan, np.inf])
def test_a_discount_outside_its_range_is_refused(gamma):
    with pytest.raises(ValueError, match=r"^gamma must lie in \[0, 1\)"):
        build(gamma=gamma)


def test_the_record_is_frozen():
    lqg = build()
    for name in VALID:
        with pytest.raises(FrozenInstanceError):
            setattr(lqg, name, VALID[name])


@pytest.mark.parametrize("name", MATRICES)
def test_matrices_are_read_only_float64_copies(name):
    source = VALID[name].copy()
    stored = getattr(build(**{name: source}), name)
    source += 1.0
    assert np.array_equal(stored, VALID[name])
    assert stored.dtype == np.float64
    with pytest.raises(ValueError, match="read-only"):
        stored[0, 0] = 5.0


def test_omitted_noise_is_zero_and_the_start_is_standard():
    lqg = LQG(VALID["A"], VALID["B"], VALID["Q"], VALID["R"])
    assert not lqg.W.any()
    assert not lqg.action_cov.any()
    assert np.array_equal(lqg.M0, np.eye(2))
    assert lqg.gamma == 0.99


def test_double_integrator_is_the_papers():
    lqg = double_integrator()
    assert np.array_equal(lqg.A, [[1.0, 0.05], [0.0, 1.0]])
    assert np.array_equal(lqg.B, [[0.0], [0.05]])
    assert np.array_equal(lqg.Q, 0.5 * np.eye(2))
    assert np.array_equal(lqg.R, [[0.5]])
    assert lqg.gamma == 0.99


def test_double_integrator_arguments_reach_their_fields():
    lqg = double_integrator(0.2, 0.5, process_std=2.0, action_std=3.0, start_std=4.0)
    assert np.array_equal(lqg.A, [[1.0, 0.2], [0.0, 1.0]])
    assert np.array_equal(lqg.B, [[0.0], [0.2]])
    assert np.array_equal(lqg.W, 4.0 * np.eye(2))
    assert np.array_equal(lqg.action_cov, [[9.0]])
    assert np.array_equal(lqg.M0, 16.0 * np.eye(2))
    assert lqg.gamma == 0.5


@pytest.mark.parametrize("radius", [0.0, 0.5, 0.95, 1.3])
def test_random_lqg_has_the_asked_spectral_radius(radius):
    lqg = random_lqg(4, 2, np.random.default_rng(0), spectral_radius=radius, gamma=0.8)
    assert np.abs(np.linalg.eigvals(lqg.A)).max() == pytest.approx(radius, rel=1e-12)
    assert (lqg.n, lqg.m, lqg.gamma) == (4, 2, 0.8)


def test_random_lqg_depends_on_the_generator_alone():
    first, again, other = (random_lqg(3, 2, np.random.default_rng(seed)) for seed in (1, 1, 2))
    for name in MATRICES:
        assert np.array_equal(getattr(first, name), getattr(again, name))
        assert not np.array_equal(getattr(first, name), getattr(other, name))


def test_gain_is_validated_and_named():
    lqg = build()
    assert np.array_equal(lqg.gain([1.0, 2.0]), [[1.0, 2.0]])
    with pytest.raises(ValueError, match=r"^K must have shape \[1, 2\]"):
        lqg.gain([[1.0], [2.0]])
    with pytest.raises(ValueError, match=r"^K has entries that are not finite"):
        lqg.gain([[np.nan, 0.0]])


def test_as_matrix_lifts_scalars_and_vectors():
    assert as_matrix("x", 3.0).shape == (1, 1)
    assert as_matrix("x", [1.0, 2.0]).shape == (1, 2)


def test_an_unstable_policy_is_a_value_error():
    assert issubclass(UnstablePolicyError, ValueError)


def test_a_discount_that_is_no_number_is_named():
    with pytest.raises(ValueError, match="gamma must lie in"):
        LQG([[1.0]], [[1.0]], [[1.0]], [[1.0]], gamma="0.9")


@pytest.mark.parametrize("gamma", [np.complex128(0.9), 0.9 + 0j])
def test_a_discount_is_a_real_number(gamma):
    with pytest.raises(ValueError, match=r"gamma must lie in \[0, 1\)"):
        LQG(**{**VALID, "gamma": gamma})
