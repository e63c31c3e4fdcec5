"""The report of the estimators: what goes with its data."""

import pandas as pd
import pytest

from reports.estimators import report
from reports.files import ROOT

COMMITTED = ROOT / "reports" / "estimators"


def test_costs_and_their_table_do_not_outlive_the_data(tmp_path, monkeypatch):
    """Interrupted before the costs of new data are measured, the old ones are gone."""
    data = pd.read_csv(COMMITTED / "data.csv")
    monkeypatch.setattr(report, "run", lambda plan, runs: data)
    monkeypatch.setattr(report, "cost_table", lambda: pd.read_csv(COMMITTED / "cost.csv"))
    report.make_data("quick", tmp_path)
    assert (tmp_path / "table.md").read_bytes() == (COMMITTED / "table.md").read_bytes()

    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "run", lambda plan, runs: data.assign(bias=0.5))
    monkeypatch.setattr(report, "cost_table", interrupt)
    with pytest.raises(KeyboardInterrupt):
        report.make_data("quick", tmp_path)
    assert not list(tmp_path.glob("cost.csv"))
    assert not list(tmp_path.glob("table.md"))
