"""Run peers one after the other, each in a process of its own, over the same rows, queries and truth."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from benches.peers.data import Data, limits
from benches.peers.peer import PEERS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

PEER_SECONDS = 3600  # one that takes longer is ended, and says so
ROUNDS = 2  # over all peers: minutes in which the machine is slow are not one peer's alone


def write(data: Data, folder: Path, k: int) -> None:
    """Write what the children read."""
    arrays: dict[str, NDArray[Any]] = {"docs": data.docs, "queries": data.queries, "limits": limits(data, k)}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    (folder / "meta.json").write_text(
        json.dumps({"name": data.name, "metric": data.metric}), encoding="utf-8"
    )


def run_one(name: str, folder: Path, k: int, threads: int, *, smoke: bool) -> dict[str, Any]:
    """Measure one peer; return its result, or what was there when it failed and why it did."""
    out = folder / f"{name}.json"
    command = [sys.executable, "-m", "benches.peers.child", str(folder), "--peer", name, "--out", str(out)]
    command += ["--k", str(k), "--threads", str(threads), *(["--smoke"] if smoke else [])]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), **PEERS[name].environment}
    error = None
    try:
        done = subprocess.run(
            command, env=environment, check=False, stderr=subprocess.PIPE, text=True, timeout=PEER_SECONDS
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            error = f"status {done.returncode}: {lines[-1] if lines else 'no message'}"
    except subprocess.TimeoutExpired:
        error = f"longer than {PEER_SECONDS} s"
    result: dict[str, Any] = {"peer": name, "points": []}
    if out.exists():
        result = json.loads(out.read_text(encoding="utf-8"))
        out.unlink()
    return {**result, "error": error} if error else result


def better(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return what two rounds of one peer found: of each setting the quicker, of recalls the mean."""
    if "error" in one or "error" in other:
        return max(one, other, key=lambda found: ("error" not in found, len(found["points"])))
    points = [
        {
            **max(pair, key=lambda point: point["single_qps"]),
            "batch_qps": max(point["batch_qps"] for point in pair),
            "recall": sum(point["recall"] for point in pair) / 2,
        }
        for pair in zip(one["points"], other["points"], strict=False)
    ]
    return {**min(one, other, key=lambda found: found["build_s"]), "points": points}


def run(
    data: Data,
    names: Sequence[str],
    k: int,
    threads: int,
    *,
    smoke: bool,
    after_each: Callable[[dict[str, Any]], None] = lambda _: None,
) -> dict[str, Any]:
    """Measure peers over one data set; those that are not installed are named and left out.

    What there is so far is handed on after each, so that hours are not lost with the last of them.
    """
    skipped = [name for name in names if not PEERS[name].installed()]
    if skipped:
        print(f"not installed: {', '.join(skipped)}", flush=True)
    result: dict[str, Any] = {
        "data": data.name,
        "metric": data.metric,
        "rows": data.rows,
        "dim": data.dim,
        "queries": len(data.queries),
        "k": k,
        "threads": threads,
        "skipped": skipped,
        "peers": [],
    }
    with TemporaryDirectory() as path:
        folder = Path(path)
        write(data, folder, k)
        found: dict[str, dict[str, Any]] = {}
        installed = [name for name in names if name not in skipped]
        for name in installed * (1 if smoke else ROUNDS):
            print(f"{data.name}: {name} ...", end=" ", flush=True)
            one = run_one(name, folder, k, threads, smoke=smoke)
            print(one.get("error") or f"{len(one['points'])} settings", flush=True)
            if smoke and "error" in one:  # beside others a crash is a figure, in a test it is a failure
                raise SystemExit(f"{name}: {one['error']}")
            found[name] = better(found[name], one) if name in found else one
            result["peers"] = list(found.values())
            after_each(result)
    return result


def chosen(names: str | None, otherwise: Sequence[str]) -> list[str]:
    """Return the peers of a list with commas; an unknown one is an error."""
    wanted = names.split(",") if names else list(otherwise)
    unknown = [name for name in wanted if name not in PEERS]
    if unknown:
        raise SystemExit(f"no such peer: {', '.join(unknown)}; there are {', '.join(PEERS)}")
    return wanted
