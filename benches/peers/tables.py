"""The figures as tables in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benches.peers.curve import at_recall, frontier
from benches.peers.peer import PEERS
from benches.peers.roofline import kernel_rate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Result = dict[str, Any]
RECALLS = (0.95, 0.99)
OURS = "ruvector"
NONE = "n/a"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table, its first column left, the others right."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float | None, digits: int = 0) -> str:
    """Return a number with commas, or a dash."""
    return NONE if value is None else f"{value:,.{digits}f}"


def ratio(value: float | None, ours: float | None) -> str:
    """Return how many times as quick we are."""
    return NONE if value is None or ours is None else f"{ours / value:.2f}"


def speeds(peer: Result, recall: float) -> tuple[float | None, float | None]:
    """Return batch and single queries per second of a peer at a recall."""
    batch, single = (frontier(peer["points"], speed) for speed in ("batch_qps", "single_qps"))
    return at_recall(batch, recall), at_recall(single, recall)


def machine(result: Result) -> str:
    """Return what a run was made on, as a sentence."""
    on = result["machine"]
    memory = on["memory_bytes"] / 2**30
    simd = f", kernels {on['simd']}" if on["simd"] else ""
    return f"{on['cpu']}, {on['cores']} cores, {memory:.0f} GiB; {on['system']}{simd}; {on['date']}."


def versions(results: Iterable[Result]) -> str:
    """Return each library with its version."""
    found = {
        PEERS[peer["peer"]].distribution: peer["version"]
        for result in results
        for peer in result["peers"]
        if "version" in peer
    }
    return table(("library", "version"), sorted(found.items()))


def space(peer: Result, rows: int) -> str:
    """Return bytes per vector: of the index, and of the vectors that it reads beside it."""
    size = peer.get("size")
    if not size:
        return NONE
    beside = f" + {size['borrowed'] / rows:,.0f}" if size["borrowed"] else ""
    return f"{size['index'] / rows:,.0f}{beside}"


def about(result: Result) -> str:
    """Return what was asked of which rows, as a sentence."""
    rows, queries = f"{result['rows']:,} rows", f"{result['queries']:,} queries"
    return (
        f"{rows}, {result['dim']} dimensions, {result['metric']}, {queries}, k = {result['k']}, "
        f"{result['threads']} threads for batches and builds."
    )


def peer_table(result: Result) -> str:
    """Return one line per peer: speed at two recalls, and what it costs to have the index."""
    ours = next((peer for peer in result["peers"] if peer["peer"] == OURS), None)
    head = ["peer"]
    for recall in RECALLS:
        head += [f"batch/s at {recall}", "ours, times", f"single/s at {recall}", "ours, times"]
    head += ["build, s", "peak beside data, MB", "bytes per vector"]
    rows: list[list[str]] = []
    for peer in result["peers"]:
        row = [peer["peer"]]
        for recall in RECALLS:
            reference = speeds(ours, recall) if ours else (None, None)
            for mine, speed in zip(reference, speeds(peer, recall), strict=True):
                row += [number(speed), ratio(speed, mine)]
        peak = peer.get("build_peak_bytes")
        row += [number(peer.get("build_s"), 2), number(peak / 1e6 if peak is not None else None)]
        rows.append([*row, space(peer, result["rows"])])
    load = f"Load of the machine at the start: {result['machine']['load']:.1f}."
    lines = [f"{about(result)} {load}", table(head, rows)]
    lines += [f"{peer['peer']} failed: {peer['error']}." for peer in result["peers"] if "error" in peer]
    if result["skipped"]:
        lines.append(f"Not installed: {', '.join(result['skipped'])}.")
    return "\n\n".join(lines)


def latency_table(result: Result) -> str:
    """Return what single queries take at the quickest setting of each peer that reaches the first recall."""
    rows: list[list[str]] = []
    for peer in result["peers"]:
        enough = [point for point in peer["points"] if point["recall"] >= RECALLS[0] and "p99_us" in point]
        if enough:
            point = max(enough, key=lambda point: point["single_qps"])
            median, p99 = point["median_us"], point["p99_us"]
            setting = ", ".join(f"{name}={value:g}" for name, value in point["setting"].items()) or "exact"
            row = [peer["peer"], f"`{setting}`", number(point["recall"], 4), number(median), number(p99)]
            rows.append([*row, number(p99 / median, 2)])
    return table(("peer", "setting", "recall", "median, µs", "p99, µs", "p99 by median"), rows)


def tail_table(result: Result) -> str:
    """Return what our single queries take, for each recall that was asked for."""
    ours = next(peer for peer in result["peers"] if peer["peer"] == OURS)
    rows = [
        [f"`recall={point['setting']['recall']:g}`", number(point["recall"], 4)]
        + [number(point[name]) for name in ("median_us", "p99_us", "single_qps", "batch_qps")]
        for point in ours["points"]
    ]
    return table(("asked for", "recall", "median, µs", "p99, µs", "single/s", "batch/s"), rows)


def roofline_table(result: Result, kernels: str) -> str:
    """Return our single queries beside what reading their codes takes; empty without kernel figures."""
    simd, scan = result["machine"]["simd"], result["scan"]
    rate = kernel_rate(kernels, simd, result["dim"])
    ours = next(peer for peer in result["peers"] if peer["peer"] == OURS)
    if rate is None:
        return ""
    rows: list[list[str]] = []
    for recall, codes in scan["codes"].items():
        kernel, memory = codes / rate, codes * scan["bytes_per_code"] / scan["read_bandwidth"]
        single = speeds(ours, float(recall))[1]
        times = number(1 / single / max(kernel, memory), 1) if single else NONE
        row = [recall, number(codes), number(codes * scan["bytes_per_code"] / 1e3)]
        row += [number(kernel * 1e6, 1), number(memory * 1e6, 1)]
        rows.append([*row, number(1e6 / single if single else None, 1), times])
    head = (
        "recall",
        "codes",
        "kB of them",
        "kernel, µs",
        "memory, µs",
        "measured, µs",
        "times the larger floor",
    )
    bandwidth = scan["read_bandwidth"] / 1e9
    note = f"Kernel {rate / 1e6:,.0f} M codes/s ({simd}), memory {bandwidth:.1f} GB/s, one core."
    return f"{table(head, rows)}\n\n{note}"


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return the power of the size with which a value grows, by least squares over logarithms.

    >>> round(exponent([10, 100, 1000], [1, 10, 100]), 6)
    1.0
    """
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def growth_of(result: Result, name: str) -> list[tuple[int, float, Result]]:
    """Return rows, seconds of a single query and the figures of a peer, where it reached the recall."""
    found: list[tuple[int, float, Result]] = []
    for run in result["runs"]:
        for peer in run["peers"]:
            single = speeds(peer, result["recall"])[1]
            if peer["peer"] == name and single:
                found.append((run["rows"], 1 / single, peer))
    return found


def growth_names(result: Result) -> list[str]:
    """Return the peers of a growth run in their order."""
    return [peer["peer"] for peer in result["runs"][0]["peers"]]


def growth_table(result: Result) -> str:
    """Return one line per peer and size, then how each peer's single query grows."""
    rows: list[list[str]] = []
    grown: list[str] = []
    for name in growth_names(result):
        sizes = growth_of(result, name)
        for count, seconds, peer in sizes:
            batch = speeds(peer, result["recall"])[0]
            row = [name, number(count), number(seconds * 1e6), number(batch), number(peer["build_s"], 2)]
            rows.append([*row, space(peer, count)])
        if len(sizes) > 1:
            power = exponent([size[0] for size in sizes], [size[1] for size in sizes])
            grown.append(f"{name} n^{power:.2f}")
    head = ("peer", "rows", "single query, µs", "batch/s", "build, s", "bytes per vector")
    note = f"At recall {result['recall']}. A single query grows as: {', '.join(grown) or NONE}."
    return f"{table(head, rows)}\n\n{note}"


def fewest(points: list[Result], recall: float) -> str:
    """Return the fewest hits that a query got from any setting that reaches the recall."""
    return number(min((point["fewest"] for point in points if point["recall"] >= recall), default=None))


def filter_table(result: Result) -> str:
    """Return one line per selectivity and recall: the filter inside the search against one after it."""
    rows: list[list[str]] = []
    for case in result["cases"]:
        inside, after = ({"points": case[way]} for way in ("inside", "after"))
        for recall in RECALLS:
            row = [f"{case['selectivity']:.0%}", f"{recall}"]
            for mine, other in zip(speeds(inside, recall), speeds(after, recall), strict=True):
                row += [number(mine), number(other), ratio(other, mine)]
            rows.append([*row, fewest(case["inside"], recall), fewest(case["after"], recall)])
    head = ["allowed", "recall", "batch/s, `filter=`", "batch/s, after", "times", "single/s, `filter=`"]
    head += ["single/s, after", "times", "fewest hits, `filter=`", "fewest hits, after"]
    return f"{about(result)}\n\n{table(head, rows)}"


def sql_table(result: Result) -> str:
    """Return one line per way to join in SQL, then the filter and what a call costs."""
    python = next(iter(result["ways"].values()))["qps"]
    rows = [
        [
            name,
            number(way["queries"]),
            number(way["qps"], 1),
            number(way["qps"] / python, 3),
            number(way["recall"], 4),
        ]
        for name, way in result["ways"].items()
    ]
    filtered, calls = result["filter"], result["call_us"]
    engines = ", ".join(f"{name} {version}" for name, version in result["engines"].items())
    cost = (
        f"Building the index took {number(result['build_s'], 2)} s. "
        f"With `filter := (SELECT list(id) ... WHERE ...)` leaving {filtered['selectivity']:.0%} of rows: "
        f"{number(filtered['qps'])} queries/s, recall {number(filtered['recall'], 4)}, at least "
        f"{filtered['fewest']} rows per query. One query as a bound parameter: "
        f"{number(calls['duckdb'])} µs in DuckDB, {number(calls['extension'])} µs by the extension, "
        f"{number(calls['python'])} µs by Python."
    )
    head = ("way", "queries measured", "queries/s", "of Python's", "recall")
    return "\n\n".join([f"{about(result)} {engines}.", table(head, rows), cost])


def update_table(result: Result) -> str:
    """Return what a reader notices of a writer, then recall and memory as rows are replaced."""
    beside = [
        [phase["name"], number(phase["upserts"]), number(phase["reads"])]
        + [number(phase[name], 2) for name in ("median_ms", "p99_ms")]
        for phase in result["phases"]
    ]
    states = [
        [
            state["name"],
            number(state["recall"], 4),
            number(state["single_qps"]),
            number(state["memory_bytes"] / 1e6, 1),
            number(state.get("seconds"), 2),
        ]
        for state in result["states"]
    ]
    note = (
        f"{result['rows']:,} rows, {result['dim']} dimensions, batches of {result['batch']} upserts, "
        f"recall {result['asked']} asked for, k = {result['k']}; one thread writes, one reads."
    )
    phases = table(("phase", "upserts/s", "reads/s", "read median, ms", "read p99, ms"), beside)
    return "\n\n".join(
        [note, phases, table(("state", "recall", "single/s", "memory, MB", "took, s"), states)]
    )


def build_table(result: Result) -> str:
    """Return what building large indexes took, and what it took beside the vectors."""
    rows = [
        [
            f"{result['rows']:,} x {build['dim']}",
            number(build["lists"]),
            str(build["bits"]),
            number(build["seconds"], 2),
            f"{build['peak_bytes'] / build['raw_bytes']:.0%}",
            number(build["index_bytes"] / result["rows"]),
        ]
        for build in result["builds"]
    ]
    head = ("rows", "lists", "bits", "seconds", "peak beside the vectors", "bytes per vector")
    return table(head, rows)


def lake_table(result: Result) -> str:
    """Return what the lake costs over its index, and what its cache does."""
    hit, warm, zipf = result["hit_path"], result["warm_start"], result["zipf"]
    names = {
        "single": "one query",
        "fresh": "one query, the backend asked before it",
        "batch": "a batch of 256",
    }
    rows = [
        [about, number(hit[name]["index_us"]), number(hit[name]["lake_us"]), number(hit[name]["ratio"], 3)]
        for name, about in names.items()
    ]
    threads, awaited = hit["threads"], hit["awaited"]
    beside = (
        f"Eight threads with a query at a time: {number(threads['lake_qps'])} queries/s by the lake, "
        f"{number(threads['index_qps'])} by the index. A hundred awaited searches at once take "
        f"{number(awaited['at_once_us'])} µs, one of them by itself {number(awaited['one_us'])} µs: "
        f"{number(awaited['ratio_to_all'], 2)} of a hundred in a row."
    )
    saved = (
        f"An index that was saved is there {number(warm['warm_s'], 2)} s later, every byte compared with its "
        f"digest; pulling and building took {number(warm['prime_s'], 2)} s. The first search takes "
        f"{number(warm['first_to_steady'], 2)} times as long as later ones."
    )
    dropped, spilled = (f"{zipf[name]['hit_rate']:.1%}" for name in ("dropped", "spilled"))
    small = (
        f"A cache of {zipf['share']:.0%} of the bytes of 50 collections, asked by a Zipf law of exponent "
        f"{zipf['exponent']}, has what is wanted in {dropped} of cases, and in {spilled} with a folder to "
        f"spill to. Without one, no cache of so many whole collections can do better than "
        f"{zipf['best_without_files']:.1%}."
    )
    head = f"{number(result['rows'])} rows of {result['dim']} dimensions in memory; all times are medians."
    columns = ("search", "index, µs", "lake, µs", "lake by index")
    return "\n\n".join([head, table(columns, rows), beside, saved, small])


def flight_table(result: Result) -> str:
    """Return the Flight service beside an echo server, and beside the same in process."""
    down, trip, batch, crowd = (result[name] for name in ("download", "round_trip", "batches", "crowd"))
    ways = {
        "ours": "one query, our client and server",
        "pyarrow": "one query, pyarrow's client, our server",
        "echo": "one query, pyarrow's client and server, no search",
        "search": "the search alone, in process",
    }
    trips = table(("round trip", "µs"), [[about, number(trip[f"{name}_us"])] for name, about in ways.items()])
    moved = (
        f"DoGet of an index of {number(down['bytes'] / 1e6)} MB, read by pyarrow: "
        f"{number(down['ours_mb_s'])} MB/s; of the same record batches from pyarrow's server "
        f"{number(down['echo_mb_s'])} MB/s: {number(down['ratio'], 2)} times as fast."
    )
    bound = (
        f"Half of the echo and the search are {number(trip['bound_us'])} µs: our server takes "
        f"{number(trip['pyarrow_to_bound'], 2)} of that with pyarrow's client, and "
        f"{number(trip['ours_to_bound'], 2)} with ours."
    )
    rates = (
        f"Batches of {number(result['batch'])} queries: {number(batch['local_qps'])} queries/s in process, "
        f"{number(batch['calls_qps'])} by a call for each batch ({number(batch['calls_ratio'], 3)} of it), "
        f"{number(batch['stream_qps'])} as one stream from pyarrow's client, two batches ahead "
        f"({number(batch['stream_ratio'], 3)})."
    )
    before, most, after = (number(crowd[f"rss_{when}"] / 1e6) for when in ("before", "most", "after"))
    many = (
        f"{crowd['streams']} clients for {number(crowd['seconds'])} s, a tenth of the streams left in the "
        f"middle, a tenth read slowly: {number(crowd['answers'])} answers to whole streams, median "
        f"{number(crowd['p50_ms'], 1)} ms, p99 {number(crowd['p99_ms'], 1)} ms; {crowd['failed']} failed, "
        f"{crowd['stuck']} stuck. Private memory of the server: {before} MB before, {most} MB at most, "
        f"{after} MB after."
    )
    size = f"{number(result['rows'])} rows of {result['dim']} dimensions, k = {result['k']}"
    return "\n\n".join([f"{size}, loopback; all times are medians.", moved, trips, bound, rates, many])
