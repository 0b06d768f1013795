"""``python -m ruvector``: the same as the command ``ruvector``."""

from __future__ import annotations

import sys

from ruvector.cli import main

if __name__ == "__main__":
    sys.exit(main())
