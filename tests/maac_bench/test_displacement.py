"""Gradient errors off the run's policy: how far, in which direction, and of whose gradient."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

from maac_bench import run_gradient_error
from maac_bench.__main__ import main
from maac_bench.displacement import displaced, shuffled
from maac_bench.gradient_parts import horizon_gradients
from maac_bench.run_evaluation import open_run
from maac_bench.run_gradient_error import Measurement, gradient_error
from maac_bench.run_measurement import displaced_policy
from maac_bench.streams import Streams
from tests.maac_bench.measured_runs import OPTIONS, make_run

SMALL = Measurement((0, 2), "pathwise", samples=4, reference_steps=3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"))


def test_every_tensor_moves_by_the_share_of_its_own_length():
    """Each seed's by itself, in directions of their own; what is zero has nowhere to go."""
    tensors = (torch.randn(2, 5, 3), 100.0 * torch.randn(2, 7), torch.zeros(2, 4))
    moved = displaced(tensors, 0.1, Streams((3, 4), "displacement"))
    for one, other in zip(tensors[:2], moved[:2], strict=True):
        step, length = (other - one).flatten(1), one.flatten(1).norm(dim=1)
        torch.testing.assert_close(step.norm(dim=1), 0.1 * length)
        unit = torch.nn.functional.normalize(step, dim=1)
        assert (unit[0] @ unit[1]).abs() < 0.95
    assert not moved[2].any()
    again = displaced(tuple(one[1:] for one in tensors), 0.1, Streams((4,), "displacement"))
    torch.testing.assert_close(again[0], moved[0][1:])
    for one, same in zip(tensors, displaced(tensors, 0.0, Streams((3, 4), "x")), strict=True):
        assert torch.equal(one, same)


def test_all_gradients_are_those_of_the_displaced_policy(trained, monkeypatch):
    """And critics, model, start states and noise those of the run."""
    seen = {}

    def spy(setting, start, noise, horizons, through):
        seen.setdefault(len(seen), (setting, start, noise))
        return horizon_gradients(setting, start, noise, horizons, through)

    monkeypatch.setattr(run_gradient_error, "horizon_gradients", spy)
    for share in (0.0, 0.2):
        seen.clear()
        gradient_error(trained, replace(SMALL, displacement=share))
        (setting, start, noise), _other_seed = seen[0], seen[1]
        if share == 0.0:
            at_run, start_of_run, noise_of_run = setting, start, noise
    for here, there in zip(setting.policy.parameters, at_run.policy.parameters, strict=True):
        step = (here - there).norm()
        torch.testing.assert_close(step, 0.2 * there.norm())
    for ours, theirs in ((setting.learned, at_run.learned), (setting.true, at_run.true)):
        for one, same in zip(ours.critic.parameters, theirs.critic.parameters, strict=True):
            assert torch.equal(one, same)
    for one, same in zip(
        setting.learned.dynamics.parameters, at_run.learned.dynamics.parameters, strict=True
    ):
        assert torch.equal(one, same)
    assert torch.equal(start, start_of_run)
    assert all(map(torch.equal, noise.action, noise_of_run.action))
    assert torch.equal(noise.terminal, noise_of_run.terminal)
    for ours, theirs in zip(noise.model, noise_of_run.model, strict=True):
        assert torch.equal(ours.normal, theirs.normal)


def test_the_table_says_how_far_and_another_random_seed_is_another_direction(trained):
    at_run, off = (gradient_error(trained, replace(SMALL, displacement=d)) for d in (0.0, 0.2))
    assert (at_run["displacement"] == 0.0).all()
    assert (off["displacement"] == 0.2).all()
    assert (off["l1_error"] != at_run["l1_error"]).any()
    pd.testing.assert_frame_equal(gradient_error(trained, replace(SMALL, displacement=0.2)), off)
    policy = open_run(trained).agent.policy
    one, same, other = (
        displaced_policy(policy, (3, 4), 0.2, seed).parameters[0] for seed in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_the_step_back_is_compared_with_every_target(trained, monkeypatch):
    """A target that is that step has a cosine of 1, at the run's own policy there is none."""
    policy = open_run(trained).agent.policy

    def stepping(setting, start, *_rest):
        seed = 3 if torch.equal(setting.temperature, first) else 4
        own = [p.detach()[[seed - 3]] for p in policy.parameters]
        moved = setting.policy.parameters
        back = torch.cat([(a - b).flatten(1) for a, b in zip(own, moved, strict=True)], dim=-1)
        target = (2.0 * back if back.any() else torch.ones_like(back)).unsqueeze(1)
        named = dict.fromkeys(("learned", "true", "tail", "reference"), target.expand(-1, 4, -1))
        return {2: {**named, "tail": -named["tail"]}}

    first = open_run(trained).agent.temperature[:1]
    monkeypatch.setattr(run_gradient_error, "horizon_gradients", stepping)
    table = gradient_error(trained, replace(SMALL, horizons=(2,), displacement=0.1))
    found = table.groupby("part")["step_back"].agg(["min", "max"])
    assert found.loc["total"].tolist() == pytest.approx([1.0, 1.0])
    assert found.loc["critic"].tolist() == pytest.approx([-1.0, -1.0])
    assert (table["target_norm"] > 0).all()
    assert gradient_error(trained, replace(SMALL, horizons=(2,)))["step_back"].isna().all()


def test_a_shuffled_model_has_the_same_numbers_elsewhere(trained):
    """Each seed's by itself."""
    model = open_run(trained).world.model
    mixed = shuffled(model, Streams((3, 4), "shuffling"))
    for one, other in zip(model.parameters, mixed.parameters, strict=True):
        assert one.shape == other.shape
        assert torch.equal(one.flatten(1).sort().values, other.flatten(1).sort().values)
        assert not torch.equal(one, other)
    assert torch.equal(mixed.inputs.mean, model.inputs.mean)
    again = shuffled(model.replace([p[1:] for p in model.parameters]), Streams((4,), "shuffling"))
    assert torch.equal(again.parameters[0][0], mixed.parameters[0][1])


def test_a_shuffled_model_changes_what_asks_the_model_alone(trained):
    learned, control = (
        gradient_error(trained, replace(SMALL, shuffled_model=value)) for value in (False, True)
    )
    assert (learned["shuffled_model"] == 0).all()
    assert (control["shuffled_model"] == 1).all()
    asks = (learned["horizon"] == 2) & learned["part"].isin(["model", "total"])
    assert (learned["l1_error"] != control["l1_error"]).equals(asks)


def test_a_run_without_a_model_has_none_to_shuffle(tmp_path, capsys):
    make_run(tmp_path, algorithm="sac")
    options = ["--samples", "4", "--replicates", "2", "--shuffled-model"]
    assert main(["gradient-error", str(tmp_path), *options]) == 2
    assert "learns no model" in capsys.readouterr().err
    assert main(["gradient-error", str(tmp_path), *options, "--horizons", "0"]) == 2
    assert "shuffled_model does nothing at H = 0" in capsys.readouterr().err


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_no_distance_is_refused(value):
    with pytest.raises(ValueError, match="displacement must be at least 0 and finite, got"):
        replace(SMALL, displacement=value)


def test_results_of_another_displacement_are_not_overwritten(trained, capsys):
    """Nor those from before it could be chosen."""
    file = trained / "gradient-error.csv"
    assert main(["gradient-error", str(trained), *OPTIONS]) == 0
    pd.read_csv(file).drop(columns="displacement").to_csv(file, index=False)
    capsys.readouterr()
    assert main(["gradient-error", str(trained), *OPTIONS, "--displacement", "0.1"]) == 2
    assert "holds results with displacement 0.0, not 0.1: rename it" in capsys.readouterr().err
    assert main(["gradient-error", str(trained), *OPTIONS]) == 0
    assert (pd.read_csv(file)["displacement"] == 0.0).all()
