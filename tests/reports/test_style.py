"""Small print under figures."""

import pytest
from matplotlib import pyplot as plt

from reports.style import write_below

WORDS = (
    "maac_bench/HalfCheetah-v0 · 128 start states x 500 · reduced: the paper's nets and updates "
)


@pytest.mark.parametrize(("width", "size"), [(8.0, 7.0), (11.0, 7.0), (9.0, 8.0)])
def test_no_line_runs_over_an_edge(width, size):
    """Nor is a line broken that would have fitted."""
    figure = plt.figure(figsize=(width, 4))
    write_below(figure, f"{5 * WORDS}\nshort", size)
    extent = figure._supxlabel.get_window_extent(figure.canvas.get_renderer())
    assert 0.8 * figure.bbox.width < extent.width < figure.bbox.width
    assert figure.get_supxlabel().splitlines()[-1] == "short"
    plt.close(figure)
