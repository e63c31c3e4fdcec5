"""`python -m reports.page [REPORTS] [OUT]`: the page, without loading what trains."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from reports.command import exit_status


def main(arguments: list[str] | None = None) -> int:
    """Write the page; the exit status, see `exit_status`."""
    parser = argparse.ArgumentParser(prog="reports.page", description="All reports on one page.")
    parser.add_argument("reports", nargs="?", type=Path, help="default: the folder of this package")
    parser.add_argument("out", nargs="?", type=Path, help="default: index.html in that folder")
    chosen = parser.parse_args(arguments)

    def work() -> None:
        # Imported here: Ctrl-C while the libraries load is an interruption like any other.
        from reports.files import ROOT
        from reports.page.build import write_page

        reports = chosen.reports or ROOT / "reports"
        out = chosen.out or reports / "index.html"
        print(f"{out}: {write_page(reports, out) / 1e6:.1f} MB")

    return exit_status("reports.page", work)


if __name__ == "__main__":
    sys.exit(main())
