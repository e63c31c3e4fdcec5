"""Table 1: planning at test time."""
