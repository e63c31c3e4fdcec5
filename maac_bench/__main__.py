"""`python -m maac_bench` is `maac-bench`."""

import sys

from maac_bench.cli import main

sys.exit(main())
