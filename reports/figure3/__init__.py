"""Figure 3: gradient error of the H-step objective against the horizon (double integrator)."""
