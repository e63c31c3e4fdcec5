"""Training in a run directory: interruptions, broken seeds and going on."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tqdm import tqdm

from maac_bench.checkpoint import Snapshot, restore
from maac_bench.episodes import Episodes
from maac_bench.products import fast_products
from maac_bench.run import RunDirectory
from maac_bench.run_checkpoints import checkpoint_rollouts
from maac_bench.run_records import read_identity, read_metrics
from maac_bench.trainer import Trainer
from maac_bench.training import RunSettings, _postfix, train
from tests.maac_bench.trainers import PENDULUM, STEPS, break_policy, tiny_config, tiny_training


@pytest.fixture(autouse=True)
def _short_rollouts(monkeypatch):
    monkeypatch.setattr("maac_bench.training.make_training_task", lambda name: tiny_training(name))


@pytest.fixture
def run(tmp_path):
    """Trains in a folder of that name."""

    def go(
        folder: str, rollouts: int = 4, seeds: tuple[int, ...] = (0, 1), algorithm: str = "maac"
    ):
        out, config = tmp_path / folder, tiny_config(algorithm)
        task = "maac_bench/Pendulum-v0"
        train(RunSettings(task, algorithm, seeds, rollouts, out, compiled=False), config, {})
        return out

    return go


@pytest.mark.parametrize("precision", ["full", "tf32"])
def test_tf32_where_there_are_no_units_for_it_is_said(tmp_path, capsys, precision):
    config = tiny_config("sac")
    config = replace(config, actor=replace(config.actor, precision=precision))
    task = "maac_bench/Pendulum-v0"
    train(RunSettings(task, "sac", (0,), 1, tmp_path, compiled=False), config, {})
    said = "cpu has no units for tf32: its products are full ones" in capsys.readouterr().out
    assert said == (precision == "tf32")


def table(path, seed):
    """Metrics without wall-clock."""
    rows = read_metrics(path, seed)
    return [{k: v for k, v in row.items() if not k.startswith("seconds")} for row in rows]


@pytest.mark.parametrize(
    ("lack", "message"),
    [
        ("shutil.which", "a C[+][+] compiler"),
        ("sysconfig.get_path", "a header Python.h"),
    ],
)
def test_what_compiling_needs_is_said_before_it_is_tried(lack, message, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(lack, lambda name: str(tmp_path) if "path" in lack else None)

    def settings(compiled: bool | None) -> RunSettings:
        return RunSettings(
            "maac_bench/Pendulum-v0", "sac", (0,), 1, tmp_path / "run", compiled=compiled
        )

    with pytest.raises(ValueError, match=f"compile yes needs what is not found here: {message}"):
        train(settings(True), tiny_config("sac"), {})
    train(settings(None), tiny_config("sac"), {})
    assert json.loads((tmp_path / "run" / "config.json").read_text())["compiled"] is False


def test_a_run_goes_on_with_the_updates_that_it_has(tmp_path, monkeypatch):
    """Whatever this machine could do, unless told otherwise."""
    task, out = "maac_bench/Pendulum-v0", tmp_path / "run"
    train(RunSettings(task, "sac", (0,), 1, out, compiled=False), tiny_config("sac"), {})
    monkeypatch.setattr("maac_bench.training._missing_to_compile", lambda: None)
    train(RunSettings(task, "sac", (0,), 2, out), tiny_config("sac"), {})
    assert len(read_metrics(out, 0)) == 2
    with pytest.raises(ValueError, match="--compile is no there and yes here"):
        train(RunSettings(task, "sac", (0,), 2, out, compiled=True), tiny_config("sac"), {})
    config = out / "config.json"
    config.write_text(config.read_text().replace('"compiled": false', '"compiled": true'))
    monkeypatch.setattr("maac_bench.training._missing_to_compile", lambda: "C++ compiler (g++)")
    with pytest.raises(ValueError, match="--seeds is 0 there and 1 here"):
        train(RunSettings(task, "sac", (1,), 3, out), tiny_config("sac"), {})
    monkeypatch.setattr("maac_bench.training._missing_to_compile", lambda: None)
    with pytest.raises(ValueError, match="another run: --seeds is 0 there and 1 here; choose"):
        train(RunSettings(task, "sac", (1,), 3, out), tiny_config("sac"), {})
    monkeypatch.setattr("maac_bench.training._missing_to_compile", lambda: "C++ compiler (g++)")
    with pytest.raises(ValueError, match=r"run with fused updates, and there is no C\+\+ compiler"):
        train(RunSettings(task, "sac", (0,), 3, out), tiny_config("sac"), {})
    for file in [*out.glob("checkpoint/*"), *out.glob("seed-*/*")]:
        file.unlink()  # nothing is trained: it is free for what is possible here
    train(RunSettings(task, "sac", (0,), 1, out), tiny_config("sac"), {})
    assert json.loads(config.read_text())["compiled"] is False


def test_a_blank_choice_of_compiler_is_none(tmp_path, monkeypatch):
    """As C++'s builders leave it: the usual one is looked for."""
    monkeypatch.setenv("CXX", "  ")
    looked_for = []
    monkeypatch.setattr("shutil.which", looked_for.append)
    settings = RunSettings("maac_bench/Pendulum-v0", "sac", (0,), 1, tmp_path / "run")
    train(settings, tiny_config("sac"), {})
    assert looked_for == ["clang++" if sys.platform == "darwin" else "g++"]


def test_checkpoints_are_kept_as_asked_and_products_are_on_record(tmp_path):
    out = tmp_path / "run"
    settings = RunSettings(
        "maac_bench/Pendulum-v0", "sac", (0,), 4, out, "cpu:0", compiled=False, keep_every=1
    )
    train(settings, tiny_config("sac"), {"commit": "abc"})
    assert checkpoint_rollouts(out) == [1, 2, 3, 4]
    with fast_products() as fast:
        origin = {"commit": "abc", "onednn_products": fast}
    assert json.loads((out / "provenance.json").read_text()) == origin
    assert read_identity(out)["device"] == "cpu", "whichever of them"


def test_a_run_holds_what_it_takes_to_read_and_to_go_on(run):
    out = run("run", 2)
    identity = json.loads((out / "config.json").read_text())
    assert (identity["task"], identity["seeds"]) == ("maac_bench/Pendulum-v0", [0, 1])
    assert identity["config"]["actor"]["horizon"] == tiny_config().actor.horizon
    for seed in (0, 1):
        assert [row["rollout"] for row in table(out, seed)] == ["1", "2"]
    names = [path.name for path in (out / "checkpoint").glob("*.json")]
    assert sorted(names) == ["rollout-000001.json", "rollout-000002.json"]


@pytest.mark.parametrize(
    ("algorithm", "step"),
    [("maac", 7), ("maac", STEPS), ("maac", 2 * STEPS + 7), ("sac", STEPS + 1)],
)
def test_an_interrupted_run_ends_up_the_same(run, monkeypatch, algorithm, step):
    """In the random phase, between two rollouts, in the middle of one, and without a model."""
    whole, act = run("whole", 3, algorithm=algorithm), Trainer._act

    def interrupt(trainer):
        if trainer.env_steps == step:
            raise KeyboardInterrupt
        return act(trainer)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_act", interrupt)
        with pytest.raises(KeyboardInterrupt, match=f"interrupted after {step // STEPS} rollouts"):
            run("cut", 3, algorithm=algorithm)
    cut = run("cut", 3, algorithm=algorithm)
    for seed in (0, 1):
        assert table(cut, seed) == table(whole, seed)


def test_a_finished_run_can_be_prolonged(run):
    whole = run("whole")
    run("pieces", 2)
    run("pieces", 2)
    pieces = run("pieces", 4)
    for seed in (0, 1):
        assert table(pieces, seed) == table(whole, seed)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_broken_seed_stops_and_the_other_is_finished_as_if_nothing_had_happened(
    run, monkeypatch, seed
):
    whole, rest = run("whole"), 1 - seed
    with monkeypatch.context() as patched:
        break_policy(patched, seed=seed, rollout=2)
        with pytest.raises(FloatingPointError, match=f"stopped early: seeds {seed};"):
            run("broken")
    broken = whole.parent / "broken"
    record = json.loads((broken / f"seed-{seed}" / "failure.json").read_text())
    assert "not finite" in record["reason"]
    assert record["counters"]["seeds"] == [seed]
    state = load_file(broken / f"seed-{seed}" / "failure.safetensors")
    assert state["policy.0"].isnan().all()
    before = load_file(broken / f"seed-{seed}" / "before-failure.safetensors")
    assert record["counters_before"]["rollouts"] == record["counters"]["rollouts"] - 1 == 2
    assert before["policy.0"].isfinite().all()
    assert len(before["real.0"][0]) < len(state["real.0"][0])
    again = Trainer(tiny_training(PENDULUM), tiny_config("maac"), [seed])
    restore(again, Snapshot(before, record["counters_before"]))
    with monkeypatch.context() as patched:
        break_policy(patched, seed=seed, rollout=2)
        again.rollout()
    assert again.failures[0].reason == record["reason"]
    assert table(broken, seed) == table(whole, seed)[:2]
    assert not (broken / f"seed-{rest}" / "failure.json").exists()
    for one, other in zip(table(broken, rest), table(whole, rest), strict=True):
        assert one.keys() == other.keys()
        for name in one:
            expected = pytest.approx(float(other[name]), rel=5e-3, abs=5e-3)
            assert float(one[name]) == expected, name


def test_a_run_that_lost_a_seed_goes_on_with_the_rest(run, monkeypatch, tmp_path):
    with monkeypatch.context() as patched:
        break_policy(patched, seed=0, rollout=1)
        with pytest.raises(FloatingPointError):
            run("broken", 2)
    with pytest.raises(FloatingPointError, match="stopped early: seeds 0;"):
        run("broken", 3)
    assert [len(table(tmp_path / "broken", seed)) for seed in (0, 1)] == [1, 3]


def test_a_seed_that_comes_past_what_stopped_it_is_no_failure(run, monkeypatch):
    with monkeypatch.context() as patched:
        break_policy(patched, seed=0, rollout=2)
        with pytest.raises(FloatingPointError, match="stopped early: seeds 0"):
            run("mended", 4, seeds=(0,))
    out = run("mended", 2, seeds=(0,))
    assert (out / "seed-0" / "failure.json").exists(), "no rollout has been done since"
    run("mended", 3, seeds=(0,))
    assert not list((out / "seed-0").glob("*failure.*"))


@pytest.mark.parametrize(("seeds", "rollout"), [((0,), 2), ((0, 1), 1)])
def test_a_run_whose_seeds_all_break_says_so_every_time(run, monkeypatch, seeds, rollout):
    for seed in seeds:
        break_policy(monkeypatch, seed, rollout)
    for _ in range(2):
        with pytest.raises(FloatingPointError, match="stopped early: seeds 0"):
            run("broken", 3, seeds)


@pytest.mark.parametrize("rollout", [0, 1])
def test_a_seed_that_breaks_with_nothing_to_go_back_to_stops_no_other(
    run, monkeypatch, tmp_path, rollout
):
    """In the first rollout, or where the checkpoint was damaged meanwhile."""

    def damaged(path):
        raise ValueError("damaged")

    break_policy(monkeypatch, seed=0, rollout=rollout)
    if rollout:
        monkeypatch.setattr("maac_bench.training.load_checkpoint", damaged)
    for _ in range(2):
        with pytest.raises(FloatingPointError, match="stopped early: seeds 0;"):
            run("broken", 2, algorithm="sac")
    broken = tmp_path / "broken"
    assert [len(table(broken, seed)) for seed in (0, 1)] == [rollout, 2]
    assert (broken / "seed-0" / "failure.json").exists()
    assert not (broken / "seed-0" / "before-failure.safetensors").exists()


@pytest.mark.parametrize("method", ["log", "save"])
def test_a_run_that_ends_while_it_writes_ends_up_the_same(run, monkeypatch, method):
    whole, write, calls = run("whole", 3, algorithm="sac"), getattr(RunDirectory, method), []

    def interrupt(directory, *arguments):
        calls.append(0)
        if len(calls) == 2:
            raise KeyboardInterrupt
        write(directory, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(RunDirectory, method, interrupt)
        with pytest.raises(KeyboardInterrupt):
            run("cut", 3, algorithm="sac")
    cut = run("cut", 3, algorithm="sac")
    for seed in (0, 1):
        assert table(cut, seed) == table(whole, seed)


def test_the_bar_shows_means_over_the_seeds():
    rows = [{"return": 1.0, "model_mse_0": 0.5}, {"return": 3.0, "model_mse_0": 1.0}]
    assert _postfix(rows) == {"return": "2", "model mse": "0.75"}
    assert _postfix([]) == {}


def test_the_bar_begins_where_the_run_is(run, monkeypatch):
    bars = []

    def spy(**options):
        bars.append(tqdm(**options))
        return bars[-1]

    monkeypatch.setattr("maac_bench.training.tqdm", spy)
    run("run", 1, algorithm="sac")
    run("run", 2, algorithm="sac")
    assert [(bar.initial, bar.n, bar.total) for bar in bars] == [(0, 20, 20), (20, 40, 40)]


def test_environments_are_freed_where_a_seed_breaks_too(run, monkeypatch):
    made, closed, close = [], [], Episodes.close
    begin = Episodes.__init__

    def spy(episodes, *arguments):
        made.append(id(episodes))
        begin(episodes, *arguments)

    monkeypatch.setattr(Episodes, "__init__", spy)
    monkeypatch.setattr(Episodes, "close", lambda e: closed.append(id(e)) or close(e))
    break_policy(monkeypatch, seed=0, rollout=1)
    with pytest.raises(FloatingPointError):
        run("broken", 2, algorithm="sac")
    assert len(made) == 4
    assert sorted(set(closed)) == sorted(set(made))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keep_every": -1}, "keep_every must be at least 0, got -1"),
        (
            {"seeds": ()},
            r"seeds must be one or more, distinct, at least 0 and below 2\^63, got \(\)",
        ),
    ],
)
def test_settings_that_cannot_run_are_refused(change, message):
    settings = {"task": "t", "algorithm": "sac", "seeds": (0,), "rollouts": 1, "out": Path()}
    with pytest.raises(ValueError, match=message):
        RunSettings(**{**settings, **change})
