"""`python -m reports [REPORTS]`: draw every figure again from the committed tables."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from reports.figures import draw, published
from reports.files import ROOT


def main(arguments: list[str] | None = None) -> int:
    """Draw; 0 on success, 2 for damaged data, 1 for an image that cannot be written."""
    parser = argparse.ArgumentParser(prog="reports", description="Redraw every figure.")
    parser.add_argument("reports", nargs="?", type=Path, default=ROOT / "reports")
    try:
        reports = parser.parse_args(arguments).reports
        found = published(reports)
        if not found:
            raise ValueError(f"{reports} holds no report with tables")
        for name, folder in found:
            print(f"drawn: {', '.join(str(image) for image in draw(name, folder))}")
    except (ValueError, OSError) as error:
        print(f"reports: {' '.join(str(error).split())}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
