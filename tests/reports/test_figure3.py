from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import analytic
from analytic.lqg import double_integrator
from maac_bench.critic_fitting import CriticConfig
from maac_bench.critics import QuadraticCritic
from maac_bench.model_fitting import ModelConfig
from maac_bench.policies import LinearGaussian
from maac_bench.streams import Streams
from maac_bench.tasks import LinearGaussianDynamics, make_task, require_lqg, require_true
from maac_bench.types import Problem
from reports.figure3 import experiment as plan
from reports.figure3 import settings
from reports.figure3.constants import measure_constants
from reports.figure3.figure import draw
from reports.figure3.measures import stratified_starts
from reports.figure3.tables import (
    bound_table,
    decomposition_table,
    error_table,
    exact_gradient,
    fit_table,
    horizon_table,
)
from reports.files import ROOT
from reports.provenance import publish, record
from reports.style import use_style

TINY = replace(
    settings.PROFILES["quick"],
    seeds=2,
    horizons=(0, 1, 3),
    samples=16,
    chunk=8,
    model=ModelConfig(members=2, hidden=(8,), max_epochs=2),
    critic=CriticConfig(hidden=(8,), steps=5, batch_size=16),
    regimes={"few": settings.Regime(100), "few-layernorm": settings.Regime(100, layer_norm=True)},
)


@pytest.fixture(scope="module")
def raw() -> pd.DataFrame:
    torch.set_num_threads(1)
    return pd.concat([plan.run_unit(TINY, regime, (0, 1)) for regime in TINY.regimes])


def test_gains_lie_on_the_ascent_path():
    lqg = double_integrator()
    best = analytic.evaluate(lqg, analytic.optimal_gain(lqg)).J
    gains = settings.gains_along_ascent(lqg)
    first = best - analytic.evaluate(lqg, np.array(settings.START_GAIN)).J
    for name, gap in settings.GAPS.items():
        left = (best - analytic.evaluate(lqg, gains[name]).J) / first
        assert left <= gap
        assert left > 0.8 * gap


def test_a_unit_covers_every_combination_once(raw):
    keys = ["regime", "gain", "seed", "horizon", "dynamics", "critic"]
    assert len(raw) == 2 * 3 * 2 * 3 * 4
    assert not raw.duplicated(keys).any()


def test_the_exact_pair_is_exact(raw):
    table = error_table(raw)
    exact = table[
        (table["dynamics"] == "true")
        & (table["critic"] == "exact")
        & (table["reference"] == "objective")
    ]
    assert (exact["l1_error"] < 1e-12).all()
    assert (exact["monte_carlo_error"] == 0).all()


def test_learned_dynamics_change_nothing_at_horizon_zero(raw):
    at_zero = raw[raw["horizon"] == 0].set_index(["regime", "gain", "seed", "dynamics", "critic"])
    gradients = at_zero["gradient_0"]
    true, learned = (gradients.xs(d, level="dynamics") for d in ("true", "learned"))
    pd.testing.assert_series_equal(true, learned)


def test_seeds_do_not_depend_on_their_stack(raw):
    alone = plan.run_unit(TINY, "few", (1,))
    keys = ["gain", "seed", "horizon", "dynamics", "critic"]
    stacked = raw[(raw["regime"] == "few") & (raw["seed"] == 1)]
    merged = alone.merge(stacked, on=keys, suffixes=("", "_stacked"), validate="one_to_one")
    assert len(merged) == len(alone)
    for column in ("gradient_0", "gradient_1", "spread_0"):
        np.testing.assert_allclose(merged[column], merged[f"{column}_stacked"], rtol=1e-3)


def test_parts_sum_to_the_total_in_the_table(raw):
    """For one seed by hand: vectors from the raw table, norms from the decomposition."""
    key = {"regime": "few", "gain": "poor", "seed": 0, "horizon": 3}
    rows = raw[np.logical_and.reduce([raw[k] == v for k, v in key.items()])]
    g = {(r.dynamics, r.critic): np.array([r.gradient_0, r.gradient_1]) for r in rows.itertuples()}
    table = decomposition_table(raw)
    parts = table[np.logical_and.reduce([table[k] == v for k, v in key.items()])]
    l1 = parts.set_index("part")["l1_error"]
    truth = exact_gradient("poor", None)
    expected = {
        "truncation": g["true", "exact"] - truth,
        "model": g["learned", "exact"] - g["true", "exact"],
        "critic": g["true", "learned"] - g["true", "exact"],
        "total": g["learned", "learned"] - truth,
    }
    expected["interaction"] = (
        expected["total"] - expected["truncation"] - expected["model"] - expected["critic"]
    )
    for name, vector in expected.items():
        assert l1[name] == pytest.approx(np.abs(vector).sum(), abs=1e-9)
    assert l1["sampling"] > 0


def test_errors_by_hand():
    row = {"regime": "few", "gain": "poor", "seed": 0, "horizon": 2, "dynamics": "true"}
    truth = exact_gradient("poor", None)
    rotated = 2.0 * np.array([-truth[1], truth[0]])
    raw = pd.DataFrame(
        [
            {**row, "critic": "double", "gradient_0": 2 * truth[0], "gradient_1": 2 * truth[1]},
            {**row, "critic": "rotated", "gradient_0": rotated[0], "gradient_1": rotated[1]},
        ]
    ).assign(error_0=0.5, error_1=0.25)
    table = error_table(raw).query("reference == 'return'").set_index("critic")
    double, turned = table.loc["double"], table.loc["rotated"]
    assert double["l1_error"] == pytest.approx(np.abs(truth).sum())
    assert double["l2_relative"] == pytest.approx(1.0)
    assert double["cosine"] == pytest.approx(1.0)
    assert double["norm_ratio"] == pytest.approx(2.0)
    assert double["rescaled_error"] == 0.0
    assert double["monte_carlo_error"] == pytest.approx(0.3125**0.5)
    assert turned["cosine"] == pytest.approx(0.0, abs=1e-12)
    assert turned["rescaled_error"] == pytest.approx(1.0)
    assert turned["l2_relative"] == pytest.approx(5**0.5)
    slightly = raw[:1].assign(
        gradient_0=truth[0] - 1e-9 * truth[1], gradient_1=truth[1] + 1e-9 * truth[0]
    )
    small = error_table(slightly).query("reference == 'return'")["rescaled_error"].item()
    assert small == pytest.approx(1e-9, rel=1e-5), "where a cosine is 1"


def test_a_gradient_that_is_not_finite_is_named(raw):
    broken = raw.copy()
    broken.iloc[5, broken.columns.get_loc("gradient_0")] = np.nan
    with pytest.raises(FloatingPointError, match=r"not finite at \{'regime': 'few'"):
        error_table(broken)


def test_the_measured_constants_are_the_closed_forms_on_a_linear_model():
    """Linear model and quadratic critic: sample means against `lipschitz_constants`."""
    task = make_task(settings.TASK)
    lqg, rng = require_lqg(task), np.random.default_rng(0)
    gain = settings.gains_along_ascent(lqg)["middling"]
    exact = analytic.evaluate(lqg, gain)
    model = analytic.LinearModel(
        lqg.A + 0.02 * rng.standard_normal((2, 2)),
        lqg.B + 0.02 * rng.standard_normal((2, 1)),
        lqg.W,
    )
    critic = analytic.QuadraticCritic(1.1 * exact.G, exact.d)

    def tensor(x):
        return torch.tensor(x, dtype=torch.float32)

    dynamics = LinearGaussianDynamics(
        tensor(model.A), tensor(model.B), require_true(task).dynamics.noise_factor
    )
    learned = Problem(
        dynamics,
        task.reward,
        task.terminated,
        QuadraticCritic(tensor(critic.G), tensor(critic.d)),
        task.discount,
    )
    true = learned._replace(
        dynamics=require_true(task).dynamics,
        critic=QuadraticCritic(tensor(exact.G), tensor(exact.d)),
    )
    stack = 40
    policy = LinearGaussian(tensor(gain).expand(stack, -1, -1), torch.tensor([[0.1]]))
    measured = measure_constants(
        task, true, learned, policy, lambda p: Streams(range(stack), p), (0, 3)
    )
    for horizon in (0, 3):
        closed = analytic.lipschitz_constants(lqg, gain, horizon, model, critic)
        for name in closed._fields:
            if horizon == 0 and name == "eps_f":
                continue  # no step of the model is taken, so there is none to measure
            values = np.array([getattr(c, name) for c in measured[horizon]])
            mean_square = np.sqrt(np.mean(values**2))
            assert mean_square == pytest.approx(getattr(closed, name), rel=0.12, abs=1e-6), name


def test_the_figure_is_drawn_from_tables_alone(raw, tmp_path):
    raw = pd.concat([raw, raw[raw["regime"] == "few"].assign(regime="many")])
    errors, limits = error_table(raw), bound_table(raw)
    tables = {
        "data.csv": errors,
        "decomposition.csv": decomposition_table(raw),
        "bounds.csv": limits,
        "horizons.csv": horizon_table(errors, limits),
        "fits.csv": fit_table(raw),
    }
    publish(tables, tmp_path, record("test", {"task": settings.TASK, "profile": "tiny"}))
    use_style()
    draw(tmp_path)
    first = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert {"figure3.png", "figure3.pdf", "regimes.png", "regimes.pdf"} <= set(first)
    draw(tmp_path)
    assert first == {p.name: p.read_bytes() for p in tmp_path.iterdir()}


COMMITTED = ROOT / "reports" / "figure3"


def test_committed_data_hold_the_contract():
    data = pd.read_csv(COMMITTED / "data.csv")
    columns = "seed horizon dynamics critic reference l1_error l2_relative cosine norm_ratio"
    assert set(columns.split()) <= set(data.columns)
    assert data["seed"].nunique() >= 10
    assert set(data["dynamics"]) == {"true", "learned"}
    assert set(data["critic"]) == {"exact", "learned"}
    assert set(data["reference"]) == {"return", "objective"}
    assert np.isfinite(data.select_dtypes("number")).all(axis=None)


def test_committed_truncation_is_the_oracles():
    data = pd.read_csv(COMMITTED / "data.csv")
    lqg = double_integrator()
    gains = settings.gains_along_ascent(lqg)
    exact = data.query("dynamics == 'true' and critic == 'exact' and reference == 'return'")
    for (gain, horizon), rows in exact.groupby(["gain", "horizon"]):
        part = analytic.gradient_error(lqg, gains[gain], horizon).truncation
        np.testing.assert_allclose(rows["l1_error"], np.abs(part).sum(), rtol=1e-4, atol=1e-6)


def test_the_corrected_bound_holds_for_every_committed_gradient():
    data = pd.read_csv(COMMITTED / "data.csv")
    learned = data.query("dynamics == 'learned' and critic == 'learned'")
    learned = learned[learned["reference"] == "objective"]
    limits = pd.read_csv(COMMITTED / "bounds.csv")
    merged = limits.merge(learned, on=["regime", "gain", "seed", "horizon"], validate="one_to_one")
    assert len(merged) == len(limits) > 0
    # The constants are sample means themselves, hence the margin at H = 0, where it is tight.
    assert (merged["l1_error"] <= 1.1 * merged["corrected"]).all()


def test_stratified_starts_are_unbiased_and_quieter_than_independent_ones():
    lqg = double_integrator(start_std=2.0)
    stack = settings.Stack(tuple(range(200)), ("poor",) * 200, np.zeros((200, 1, 2)))
    states = stratified_starts(lqg, stack, 64, repeat=0).double().numpy()
    moments = np.einsum("sbi,sbj->sij", states, states) / 64
    error = moments.std(axis=0) / np.sqrt(200)
    assert (np.abs(moments.mean(axis=0) - lqg.M0) < 4 * error + 0.02).all()
    independent = 2.0**2 * np.sqrt(2 / 64)
    assert moments[:, 0, 0].std() < 0.3 * independent
    other = stratified_starts(lqg, stack, 64, repeat=1).double().numpy()
    assert not np.allclose(states, other)


def test_horizon_table_by_hand():
    rows = [
        {
            "regime": "r",
            "gain": "g",
            "seed": seed,
            "horizon": horizon,
            "dynamics": "learned",
            "critic": "learned",
            "reference": reference,
            "l1_error": value,
        }
        for seed, values in ((0, (5.0, 1.0, 3.0)), (1, (5.0, 2.0, 1.0)), (2, (4.0, 4.0, 3.8)))
        for reference in ("return", "objective")
        for horizon, value in zip((0, 4, 8), values, strict=True)
    ]
    limits = pd.DataFrame(
        {
            "regime": "r",
            "gain": "g",
            "seed": [0, 0],
            "horizon": [0, 4],
            "printed": [2.0, 1.0],
            "corrected": [3.0, 4.0],
        }
    )
    row = horizon_table(pd.DataFrame(rows), limits).iloc[0]
    assert (row["h_return"], row["h_bound_printed"], row["h_bound_corrected"]) == (4, 4, 0)
    # 2, -1 and -0.2 after H = 4
    assert row["rise"] == pytest.approx(0.8 / 3)
    assert row["rise_error"] == pytest.approx(np.std([2, -1, -0.2], ddof=1) / np.sqrt(3))
    # The others' means are 4.5, 3, 2.4 without the first, 4.5, 2.5, 3.4 and 5, 1.5, 2.
    assert row["rise_held_out"] == pytest.approx((0 - 1 - 0.2) / 3)
    assert row["rise_held_out_error"] == pytest.approx(np.std([0, -1, -0.2], ddof=1) / np.sqrt(3))
    assert row["seeds_that_turn"] == pytest.approx(1 / 3)
