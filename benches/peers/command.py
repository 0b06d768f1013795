"""What the commands of all benches share: their options, and where figures go."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any


def parser(program: str, about: str | None, epilog: str | None = None) -> argparse.ArgumentParser:
    """Return a parser with the options that every bench has."""
    shared = argparse.ArgumentParser(
        prog=f"python -m {program}",
        description=about,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    shared.add_argument("--out", type=Path, help="the file that the figures are written to")
    shared.add_argument("--smoke", action="store_true", help="few rows, one pass: to see that it runs")
    return shared


def add_search_options(options: argparse.ArgumentParser) -> None:
    """Add what is asked of each search."""
    cores = len(os.sched_getaffinity(0))
    options.add_argument("--threads", type=int, default=cores, help="of batches and builds; default: all")
    options.add_argument("--k", type=int, default=10, help="default: 10")


def save(result: dict[str, Any], out: Path | None) -> None:
    """Write figures to a file, if one is named."""
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1), encoding="utf-8")
