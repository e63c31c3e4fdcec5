"""`python -m reports.page [REPORTS] [OUT]`: the page, without loading what trains."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from reports.files import ROOT
from reports.page.build import write_page


def main(arguments: list[str] | None = None) -> int:
    """Write the page; 0 on success, 2 for damaged data, 1 for a file that cannot be written."""
    parser = argparse.ArgumentParser(prog="reports.page", description="All reports on one page.")
    parser.add_argument("reports", nargs="?", type=Path, default=ROOT / "reports")
    parser.add_argument("out", nargs="?", type=Path, help="default: index.html in that folder")
    chosen = parser.parse_args(arguments)
    out = chosen.out or chosen.reports / "index.html"
    try:
        size = write_page(chosen.reports, out)
    except (ValueError, OSError) as error:
        print(f"reports.page: {' '.join(str(error).split())}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    print(f"{out}: {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
