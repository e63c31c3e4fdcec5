"""`python -m reports [REPORTS]`: draw every figure again from the committed tables."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from reports.command import exit_status


def main(arguments: list[str] | None = None) -> int:
    """Draw; the exit status, see `exit_status`."""
    parser = argparse.ArgumentParser(prog="reports", description="Redraw every figure.")
    parser.add_argument("reports", nargs="?", type=Path, help="default: the folder of this package")
    chosen = parser.parse_args(arguments)

    def work() -> None:
        # Imported here: Ctrl-C while the libraries load is an interruption like any other.
        from reports.figures import draw, published
        from reports.files import ROOT

        reports = chosen.reports or ROOT / "reports"
        found = published(reports)
        if not found:
            raise ValueError(f"{reports} holds no report with tables")
        for name, folder in found:
            print(f"drawn: {', '.join(str(image) for image in draw(name, folder))}")

    return exit_status("reports", work)


if __name__ == "__main__":
    sys.exit(main())
