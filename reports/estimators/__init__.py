"""Every estimator against the exact gradient: bias, spread, direction and convergence in N."""
