"""When a member stops, and what it keeps."""

import math

import pytest
import torch

from maac_bench.early_stopping import EarlyStopping


def losses(*series):
    """A member per series; the parameters of epoch k are k everywhere."""
    count = len(series)
    best = EarlyStopping(2, 0.1, [torch.full((count, 1, 3), -1.0)])
    for epoch, nll in enumerate(zip(*series, strict=True)):
        values, parameters = torch.tensor(nll), [torch.full((count, 1, 3), float(epoch))]
        best.update(torch.arange(count), values, 10.0 + values, parameters, epoch)
        if not best.active.any():
            return best, epoch + 1
    return best, None


@pytest.mark.parametrize(
    ("series", "kept", "epochs"),
    [
        ((3.0, 2.0, 1.0, 0.5), 0.5, 4),
        ((3.0, 2.0, 2.5, 2.5, 0.0), 2.0, 2),  # the last one comes after its patience
        ((3.0, 2.0, 2.5, 1.0), 1.0, 4),  # within it
        ((3.0, 2.95, 2.91), 3.0, 1),  # improvements that are too small to count
        ((3.0, 2.95, 2.85), 2.85, 3),  # but for both together
    ],
)
def test_a_member_keeps_what_was_best_before_its_patience_ended(series, kept, epochs):
    best, _ = losses(series)
    assert best.found.item() == pytest.approx(kept)
    assert best.mse.item() == pytest.approx(10.0 + kept)
    assert best.epochs.item() == epochs
    assert best.parameters[0].unique().tolist() == [epochs - 1]


def test_the_search_ends_when_the_last_member_has_run_out_of_patience():
    patient = (3.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0)
    early = (1.0,) * 7
    assert losses(early)[1] == 3
    assert losses(patient)[1] == 6
    best, ended = losses(early, patient)
    assert ended == 6
    assert best.epochs.tolist() == [1, 4]
    assert best.parameters[0][:, 0, 0].tolist() == [0.0, 3.0]
    # What a member has after its patience does not count, though others go on.
    best, _ = losses((1.0, 1.0, 1.0, 0.0), (4.0, 3.0, 2.0, 1.0))
    assert best.found.tolist() == [1.0, 1.0]


def test_a_loss_that_is_not_finite_is_no_improvement_and_is_reported():
    nan = math.nan
    best, _ = losses((3.0, nan, 2.0), (3.0, 2.5, 2.0), (1.0, 1.0, 1.0))
    assert best.found.tolist() == [math.inf, 2.0, 1.0]
    assert best.parameters[0][:, 0, 0].tolist() == [2.0, 2.0, 0.0]
    assert best.broken == (1, 0)
    # Whatever comes after a member's patience is not looked at.
    best, _ = losses((1.0, 1.0, 1.0, nan), (4.0, 3.0, 2.0, 1.0))
    assert best.found.tolist() == [1.0, 1.0]
    assert best.broken is None


def test_results_of_some_members_reach_no_other():
    best = EarlyStopping(2, 0.1, [torch.zeros(4, 1, 3)])
    best.update(torch.arange(4), torch.full((4,), 3.0), torch.zeros(4), [torch.ones(4, 1, 3)], 0)
    of_two = torch.tensor([1.0, math.nan]), torch.tensor([7.0, 8.0]), [torch.full((2, 1, 3), 2.0)]
    best.update(torch.tensor([3, 1]), *of_two, 1)
    assert best.found.tolist() == [3.0, math.inf, 3.0, 1.0]
    assert best.mse.tolist() == [0.0, 0.0, 0.0, 7.0]
    assert best.epochs.tolist() == [1, 1, 1, 2]
    assert best.parameters[0][:, 0, 0].tolist() == [1.0, 1.0, 1.0, 2.0]
    assert best.broken == (1, 1)
    best.update(torch.tensor([1]), torch.tensor([2.95]), torch.zeros(1), [torch.ones(1, 1, 3)], 2)
    assert best.active.tolist() == [True, False, True, True]
