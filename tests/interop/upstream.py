"""What upstream's package answers, run in an environment of its own: its import name is ours.

``python upstream.py build FOLDER`` builds an index of ``data.npz``, saves it as ``theirs.rbpx`` and prints
its answers; ``load`` prints those of ``ours.rbpx``. Answers are JSON: for each query a list of (id, score).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main(command: str, folder: Path) -> None:
    """Build or load, and answer."""
    import numpy as np

    import ruvector

    index_class: Any = ruvector.RabitqIndex
    data = np.load(folder / "data.npz")
    if command == "build":
        index = index_class.build(data["rows"], rerank_factor=int(data["rerank"]), seed=42)
        index.save(str(folder / "theirs.rbpx"))
    else:
        index = index_class.load(str(folder / "ours.rbpx"))
    print(json.dumps([index.search(query, 10) for query in data["queries"]]))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
