"""The report of the estimators: what goes with its data."""

from dataclasses import replace

import pandas as pd
import pytest

from maac_bench.estimators import ESTIMATORS
from maac_bench.estimators.pathwise import ModelAugmented
from reports.estimators import report
from reports.estimators.experiment import PROFILES, run_unit
from reports.files import ROOT

COMMITTED = ROOT / "reports" / "estimators"


def test_costs_and_their_table_are_of_the_data_beside_them(tmp_path, monkeypatch):
    """Interrupted while the costs of new data are measured, all that was there stays."""
    data = pd.read_csv(COMMITTED / "data.csv")
    monkeypatch.setattr(report, "run", lambda plan, runs: data)
    monkeypatch.setattr(report, "cost_table", lambda: pd.read_csv(COMMITTED / "cost.csv"))
    report.make_data("quick", tmp_path)
    assert (tmp_path / "table.md").read_bytes() == (COMMITTED / "table.md").read_bytes()

    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "run", lambda plan, runs: data.assign(bias=0.5))
    monkeypatch.setattr(report, "cost_table", interrupt)
    with pytest.raises(KeyboardInterrupt):
        report.make_data("quick", tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


class Halved(ModelAugmented):
    """Half of MAAC's estimate."""

    critic_role = "own"

    def gradient(self, problem, policy, start, noise):
        return tuple(0.5 * x for x in super().gradient(problem, policy, start, noise))


def test_an_estimator_with_a_bias_of_its_own_has_no_closed_form_beside_it(monkeypatch):
    """It is measured with the horizon of those that ask the critic."""
    monkeypatch.setitem(ESTIMATORS, "halved", Halved)
    profile = replace(PROFILES["quick"], samples=(16,), replicates=8)
    task = "maac_bench/DoubleIntegrator-v0"
    (row,) = run_unit(profile, task, "halved").itertuples()
    (whole,) = run_unit(profile, task, "pathwise").itertuples()
    assert pd.isna([row.bias_exact, row.spread_exact]).all()
    assert not pd.isna([whole.bias_exact, whole.spread_exact]).any()
    assert row.horizon == whole.horizon == profile.horizon
    assert row.cosine == pytest.approx(whole.cosine)
