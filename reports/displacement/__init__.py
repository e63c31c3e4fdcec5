"""How the place where a gradient is measured decides what its error says."""
