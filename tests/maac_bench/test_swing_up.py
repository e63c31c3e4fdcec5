"""The swing-up tasks: their equations of motion, rewards and starts."""

import numpy as np
import pytest
import torch

from maac_bench.streams import Streams
from maac_bench.tasks import make_task, require_true
from maac_bench.types import ModelNoise

SWING_UP = ["maac_bench/Pendulum-v0", "maac_bench/CartPole-v0"]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", SWING_UP)
def test_swing_up_dynamics_have_the_right_derivative(name):
    task = make_task(name)
    start = require_true(task).start(Streams([0], "s"), 3)[0].requires_grad_()
    action = torch.tensor([[0.3], [-0.9], [0.0]], requires_grad=True)

    def step(state, action):
        noise = ModelNoise(torch.zeros_like(state))
        following = require_true(task).dynamics.step(state, action, noise)
        return following, task.reward(state, action, following)

    assert torch.autograd.gradcheck(step, (start, action))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("name", "cosine"), [(SWING_UP[0], 0), (SWING_UP[1], 1)])
def test_angles_stay_on_the_circle(name, cosine):
    true = require_true(make_task(name))
    state = true.start(Streams([0], "s"), 5)
    for _ in range(200):
        action = torch.ones_like(state[..., :1])
        state = true.dynamics.step(state, action, ModelNoise(torch.zeros_like(state)))
    radius = state[..., cosine] ** 2 + state[..., cosine + 1] ** 2
    torch.testing.assert_close(radius, torch.ones_like(radius))


@pytest.mark.usefixtures("float64")
def test_an_unforced_pendulum_swings_at_its_small_angle_frequency():
    """Hanging: w^2 = 3 g / (2 l), so the period is 2 pi / sqrt(15) = 1.622 s."""
    true = require_true(make_task("maac_bench/Pendulum-v0"))
    angle = torch.tensor(np.pi + 0.02)
    state = torch.stack([angle.cos(), angle.sin(), torch.tensor(0.0)])
    sines = []
    for _ in range(400):
        state = true.dynamics.step(state, torch.zeros(1), ModelNoise(torch.zeros(3)))
        sines.append(float(state[1]))
    crossings = np.flatnonzero(np.diff(np.sign(sines)))
    period = 2 * 0.05 * np.diff(crossings).mean()
    assert period == pytest.approx(2 * np.pi / np.sqrt(15), rel=0.01)


@pytest.mark.usefixtures("float64")
def test_an_unforced_cart_pole_keeps_its_energy():
    """Semi-implicit Euler conserves energy up to a bounded ripple."""
    dynamics = require_true(make_task("maac_bench/CartPole-v0")).dynamics._replace(dt=0.002)
    state = torch.tensor([0.0, -np.cos(0.5), -np.sin(0.5), 0.0, 0.0])

    def energy(state):
        _, cosine, _, speed, rate = state.tolist()
        m, M, half = 0.1, 1.0, 0.5
        kinetic = 0.5 * (M + m) * speed**2 + m * half * speed * rate * cosine
        kinetic += 0.5 * (4.0 / 3.0) * m * half**2 * rate**2
        return kinetic + m * 9.8 * half * cosine

    start, ripple = energy(state), 0.0
    for _ in range(3000):
        state = dynamics.step(state, torch.zeros(1), ModelNoise(torch.zeros(5)))
        ripple = max(ripple, abs(energy(state) - start))
    assert ripple < 0.01 * 0.1 * 9.8 * 0.5


def pump(name: str, steps: int) -> float:
    """The largest cosine reached from hanging when energy is pumped with full force."""
    dynamics = require_true(make_task(name)).dynamics
    state = torch.tensor([-1.0, 0.0, 0.1] if name == SWING_UP[0] else [0.0, -1.0, 0.0, 0.0, 0.1])
    highest = -1.0
    for _ in range(steps):
        if name == SWING_UP[0]:
            cosine, _, rate = state.tolist()
            force = np.sign(rate) if rate**2 / 6 + 5 * cosine < 5 else -np.sign(rate)
        else:
            _, cosine, _, _, rate = state.tolist()
            upward = rate**2 / 3 + 9.8 * cosine > 9.8
            force = np.sign(rate * cosine) if upward else -np.sign(rate * cosine)
        state = dynamics.step(
            state, torch.tensor([float(force)]), ModelNoise(torch.zeros_like(state))
        )
        highest = max(highest, state[0 if name == SWING_UP[0] else 1].item())
    return highest


@pytest.mark.parametrize("name", SWING_UP)
def test_a_swing_up_can_be_solved_within_an_episode(name):
    """Pumping energy brings the pole up."""
    assert pump(name, 200) > 0.99


def test_a_constant_torque_does_not_lift_the_pendulum():
    dynamics = require_true(make_task(SWING_UP[0])).dynamics
    state = torch.tensor([-1.0, 0.0, 0.0])
    for _ in range(200):
        state = dynamics.step(state, torch.ones(1), ModelNoise(torch.zeros(3)))
        assert state[0] < 0


@pytest.mark.usefixtures("float64")
def test_a_full_force_accelerates_as_newton_says():
    """From rest: the pendulum's `3 u / (m l^2)` and a cart whose pole points straight up."""
    pendulum = require_true(make_task(SWING_UP[0])).dynamics
    upright = torch.tensor([1.0, 0.0, 0.0])
    pushed = pendulum.step(upright, torch.ones(1), ModelNoise(torch.zeros(3)))
    assert float(pushed[2]) / 0.05 == pytest.approx(3.0 * 2.0)
    cart_pole = require_true(make_task(SWING_UP[1])).dynamics
    upright = torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0])
    pushed = cart_pole.step(upright, torch.ones(1), ModelNoise(torch.zeros(5)))
    # Two equations in the two accelerations: forces on the whole, torques about the pivot.
    M, m, half = 1.0, 0.1, 0.5
    mass = np.array([[M + m, m * half], [m * half, 4.0 / 3.0 * m * half**2]])
    expected = np.linalg.solve(mass, [10.0, 0.0])
    np.testing.assert_allclose(pushed[3:].numpy() / 0.05, expected)


@pytest.mark.parametrize(
    ("name", "state", "action", "expected"),
    [
        (SWING_UP[0], [0.6, 0.8, 3.0], 0.5, 0.6 - 0.01 * 9.0 - 0.001 * 0.25),
        (SWING_UP[1], [2.0, 0.6, 0.8, 3.0, 4.0], 0.5, 0.6 - 0.05 * 4.0 - 0.01 * 0.25),
    ],
)
def test_swing_up_rewards_by_hand(name, state, action, expected):
    reward = make_task(name).reward(
        torch.tensor(state), torch.tensor([action]), torch.zeros(len(state))
    )
    assert float(reward) == pytest.approx(expected, abs=1e-6)


def test_a_pendulum_starts_at_any_angle_and_a_cart_pole_hanging():
    cosine, sine, velocity = (
        require_true(make_task(SWING_UP[0])).start(Streams([0], "s"), 4000)[0].unbind(dim=-1)
    )
    angle = torch.atan2(sine, cosine)
    quarters = torch.histc(angle, 4, -torch.pi, torch.pi)
    assert quarters.min() > 900  # of 1000 each
    assert velocity.abs().max() <= 1.0 and 0.3 < velocity.var() < 0.37  # a uniform one's is 1/3
    start = require_true(make_task(SWING_UP[1])).start(Streams([0], "s"), 4000)[0]
    x, cosine, sine, speed, rate = start.unbind(dim=-1)
    angle = torch.atan2(-sine, -cosine)  # from hanging
    for coordinate in (x, angle, speed, rate):
        assert coordinate.abs().max() <= 0.1 + 1e-6
        assert float(coordinate.var()) == pytest.approx(0.01 / 3, rel=0.1)
