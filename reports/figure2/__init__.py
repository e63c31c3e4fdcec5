"""Figure 2 (paper, Sec. 5.1): the algorithm against its baselines."""
