"""Wall-clock measurements beside their floor: `make bench`."""
