"""The ablations (paper, Sec. 5.3, Figure 4): what each part of the algorithm contributes."""
