"""Measure one peer, in a process of its own: `run` starts it and reads what it writes.

The result is written anew after every figure, so that a crash loses the rest only.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benches.peers.data import Data, recall
from benches.peers.measure import SMOKE, Budget, best, forget_peak, latency, resident
from benches.peers.peer import PEERS, Peer, Setting

ENOUGH = 0.9995  # a series that has come so far only gets slower
SLOW = 0.05  # seconds per query from which a batch is measured by a few of them


def point(peer: Peer, data: Data, setting: Setting, limit: Any, budget: Budget) -> dict[str, Any]:  # noqa: ANN401
    """Return recall and speed at one setting."""
    one = data.queries[:1]
    peer.search(one, setting, 1)  # what is made on first use
    began = time.perf_counter()
    peer.search(one, setting, 1)
    few = time.perf_counter() - began > SLOW
    count = min(len(data.queries), 5 * peer.threads if few else len(data.queries))
    asked = Data(data.name, data.metric, data.docs, data.queries[:count])

    found = peer.search(asked.queries, setting, peer.threads)
    seconds = best(lambda: peer.search(asked.queries, setting, peer.threads), budget)
    singles = [asked.queries[row : row + 1] for row in range(min(count, budget.singles))]
    single = latency(lambda query: peer.search(query, setting, 1), singles, budget)
    return {
        "setting": setting,
        "recall": recall(asked, found, limit[:count]),
        "batch_qps": count / seconds,
        "single_qps": single.qps,
        "median_us": single.median_us,
        "p99_us": single.p99_us,
    }


def main() -> None:
    """Build, then go through the settings."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--k", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--smoke", action="store_true")
    args = parser.parse_args()

    # Read into memory and not mapped: pages that come in during the build would count as the build's.
    docs, queries, limit = (np.load(args.folder / f"{name}.npy") for name in ("docs", "queries", "limits"))
    meta = json.loads((args.folder / "meta.json").read_text(encoding="utf-8"))
    data, budget = Data(meta["name"], meta["metric"], docs, queries), SMOKE if args.smoke else Budget()

    entry = PEERS[args.peer]
    peer = entry.make(data.metric, args.k, args.threads)
    forget_peak()
    before, _ = resident()
    began = time.perf_counter()
    peer.build(docs)
    took = time.perf_counter() - began
    _, peak = resident()
    size = peer.size()
    result: dict[str, Any] = {
        "peer": args.peer,
        "version": entry.installed(),
        "build_s": took,
        "build_peak_bytes": max(0, peak - before) if peak else None,
        "size": asdict(size) if size else None,
        "points": [],
    }
    for series in peer.sweep():
        for setting in series:
            result["points"].append(point(peer, data, setting, limit, budget))
            args.out.write_text(json.dumps(result), encoding="utf-8")
            if result["points"][-1]["recall"] >= ENOUGH:
                break


if __name__ == "__main__":
    main()
