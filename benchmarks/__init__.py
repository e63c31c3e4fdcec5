"""Wall-clock measurements beside their floor: `make bench`."""

from maac_bench.threads import wait_briefly

wait_briefly()  # as every command does, before PyTorch is loaded
