"""On a GPU: the CPU's numbers, from kernels that are recorded once."""

from dataclasses import replace

import pytest
import torch
from torch.utils._pytree import tree_map_only

from maac_bench.checkpoint import capture, restore_agent, restore_world
from maac_bench.cuda_graph import CudaGraph
from maac_bench.diagnostics import Totals
from maac_bench.ensemble_training import likelihood_gradient
from maac_bench.evaluation import run_sampled_episode
from maac_bench.precisions import PRECISIONS
from maac_bench.rollout import draw_rollout_noise
from maac_bench.streams import Streams
from tests.maac_bench.trainers import rows_of, tiny_config, tiny_trainer, tiny_training

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")


def on_cuda(arguments):
    return tree_map_only(torch.Tensor, lambda x: x.cuda(), arguments)


@pytest.mark.parametrize("algorithm", ["sac", "mbpo", "steve", "maac", "maac-plus"])
def test_an_update_is_the_cpus(algorithm):
    """From the same state, batch and noise; several times, so that optimisers count."""
    here, there = (
        tiny_trainer((0, 1), tiny_config(algorithm), device=name) for name in ("cpu", "cuda")
    )
    here.rollout()
    here.prepare()
    state = capture(here)
    restore_agent(there.agent, state)
    restore_world(there.imagination, state)
    if here.imagination.world.rewards is not None:
        there.imagination.see(here.real.all().reward.cuda())
    for _ in range(3):
        (batch,), world = here._batches(1), here.imagination.world
        noise = here.agent.draw_noise(here.streams["update"], world, batch.reward.shape[1])
        expected = here.agent.update(world, batch, noise)
        found = there.agent.update(there.imagination.world, on_cuda(batch), on_cuda(noise))
        for name, values in expected.items():
            assert found[name].tolist() == pytest.approx(values.tolist(), rel=1e-4, abs=1e-5), name
    for own, other in zip(here.agent.policy.parameters, there.agent.policy.parameters, strict=True):
        torch.testing.assert_close(other.cpu(), own, rtol=1e-3, atol=1e-5)
    for trainer in (here, there):
        trainer.close()


@pytest.mark.parametrize("algorithm", ["sac", "maac"])
def test_a_run_gives_finite_rows_and_repeats_itself(algorithm):
    first, second = (
        rows_of(tiny_trainer((0, 1), tiny_config(algorithm), device="cuda"), 3) for _ in "ab"
    )
    assert first == second
    assert all(value == value for rows in first.values() for row in rows for value in row.values())


def record(trainer):
    """What compiling does besides fusing."""
    trainer.imagination._gradient = CudaGraph(likelihood_gradient)
    trainer.record()


@pytest.mark.parametrize("algorithm", ["sac", "mbpo", "maac"])
def test_an_update_waits_for_nothing(algorithm):
    """Batches, draws and running totals included."""
    trainer, totals = tiny_trainer((0, 1), tiny_config(algorithm), device="cuda"), Totals()
    record(trainer)
    trainer.rollout()
    if trainer.config.uses_model:
        trainer.prepare()
    for _ in range(3):
        totals.add(trainer.update())
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            totals.add(trainer.update())
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert totals.mean()["critic_loss"].isfinite().all()
    trainer.close()


@pytest.mark.parametrize("learns_outcome", [False, True])
def test_recording_changes_no_number(learns_outcome):
    """Of fits and updates that are not fused."""
    task = tiny_training()._replace(learns_outcome=learns_outcome)
    config = tiny_config()
    config = replace(config, model=replace(config.model, batch_size=8))
    plain, recorded = (tiny_trainer((0, 1), config, task, "cuda") for _ in range(2))
    record(recorded)
    for trainer in (plain, recorded):
        trainer.rollout()
        trainer.prepare()
    for name, fit in plain.imagination.fits.items():
        for expected, found in zip(fit, recorded.imagination.fits[name], strict=True):
            torch.testing.assert_close(found, expected, rtol=0.0, atol=0.0)
    for trainer in (plain, recorded):
        trainer.rollout()
    for _ in range(4):
        expected, found = plain.update(), recorded.update()
        for name, values in expected.items():
            torch.testing.assert_close(found[name], values, rtol=0.0, atol=0.0)
    for trainer in (plain, recorded):
        trainer.close()


def test_the_first_replay_draws_as_without_recording_on_a_busy_device(monkeypatch):
    """What recording still does to the generators, on its own stream, must not come in between."""
    begin, cycles = torch.cuda.CUDAGraph.capture_begin, 100_000_000

    def late(graph, *arguments, **options):
        torch.cuda._sleep(cycles)  # on the stream of the recording, before what it does
        begin(graph, *arguments, **options)

    def draw(streams):
        torch.cuda._sleep(4 * cycles)  # between setting the generators and drawing
        return streams.normal(3)

    monkeypatch.setattr(torch.cuda.CUDAGraph, "capture_begin", late)
    plain, recorded = (Streams((0, 1), "test", "cuda") for _ in range(2))
    graph, one = CudaGraph(lambda x: draw(recorded) + x, recorded), torch.zeros(1, device="cuda")
    for _ in range(3):
        assert torch.equal(graph(one), draw(plain))


def test_draws_go_on_as_without_recording():
    """Also those of a stream that was put back, as on resuming."""

    def draw(streams, count):
        noise = draw_rollout_noise(streams, _Members(), count, (7,), 3, 2)
        return noise.action[-1], noise.model[-1].slots, noise.terminal

    plain, recorded = (Streams((3, 8), "test", "cuda") for _ in range(2))
    graph = CudaGraph(lambda x: (draw(recorded, 2), x + 1.0), recorded)
    one = torch.zeros(1, device="cuda")
    for _ in range(4):
        for expected, found in zip(draw(plain, 2), graph(one)[0], strict=True):
            assert torch.equal(found, expected)
    assert torch.equal(recorded.state(), plain.state())
    state = recorded.state()
    before = graph(one)[0][0]
    recorded.restore(state)
    assert torch.equal(graph(one)[0][0], before)


def test_tf32_rounds_the_operands_of_its_products_alone():
    """By about 2^-11 each, backward passes included; other products stay full."""
    streams = Streams((0,), "test", "cuda")
    left, right = (x.requires_grad_() for x in (streams.normal(64, 128), streams.normal(128, 96)))

    def products(multiply):
        value = multiply(left, right)
        return value, *torch.autograd.grad(value.square().sum(), (left, right))

    exact, full, rounded = (
        products(torch.matmul) if name == "exact" else products(PRECISIONS[name])
        for name in ("exact", "full", "tf32")
    )
    for expected, same, other in zip(exact, full, rounded, strict=True):
        assert torch.equal(same, expected)
        assert 1e-5 < (other - expected).norm() / expected.norm() < 2e-3
    assert torch.equal(torch.matmul(left, right), exact[0])


def test_recorded_sampling_is_the_same():
    """In a whole episode, whose noise is drawn outside the recording."""
    trainer = tiny_trainer((0, 1), tiny_config("sac"), device="cuda")
    policy = trainer.agent.policy
    plain, recorded = (
        run_sampled_episode(sample, trainer.evaluations, Streams((0, 1), "test", "cuda"))
        for sample in (policy.sample, CudaGraph(policy.sample))
    )
    assert not torch.equal(plain.states, recorded.states)  # another episode
    observed = recorded.states[:-1].unsqueeze(2).unbind()
    noise = Streams((0, 1), "test", "cuda")
    for state, action, log_prob in zip(observed, recorded.actions, recorded.log_probs, strict=True):
        with torch.no_grad():
            expected = policy.sample(state, noise.normal(1, action.shape[-1]))
        assert torch.equal(action, expected.value[:, 0])
        assert torch.equal(log_prob, expected.log_prob[:, 0])
    trainer.close()


class _Members:
    members = 3
