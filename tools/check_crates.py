"""Check what the crates link: only allowed licences and sources, and no engine below the core and the lake.

The rules are those of deny.toml. Nothing is downloaded that a build would not download.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# What a crate must not link, directly or not.
NOT_BELOW = {
    "ruvector-core": re.compile(r"pyo3|polars|datafusion|duckdb|tonic|tokio|object_store|ruvector-(?!core)"),
    # It is loaded by an engine, and links none.
    "ruvector-duckdb": re.compile(
        r"pyo3|polars|datafusion|(lib)?duckdb|tonic|tokio|ruvector-(?!core|duckdb)"
    ),
    "ruvector-flight": re.compile(
        r"pyo3|polars|datafusion|(lib)?duckdb|rustls|ring$|ruvector-(?!core|lake|flight)"
    ),
    "ruvector-lake": re.compile(r"pyo3|polars|datafusion|duckdb|tonic|ruvector-(?!core|lake)"),
}


def cargo(*arguments: str) -> str:
    """Return what cargo prints."""
    done = subprocess.run(["cargo", *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def permits(expression: str, allowed: set[str]) -> bool:
    """Tell whether an SPDX expression can be met with allowed licences only.

    >>> permits("(MIT OR GPL-3.0) AND Unicode-3.0", {"MIT", "Unicode-3.0"})
    True
    >>> permits("MIT AND GPL-3.0", {"MIT"})
    False
    """
    tokens = re.findall(r"[()]|[\w.+-]+(?: WITH [\w.+-]+)?", expression.replace("/", " OR "))

    def either() -> bool:
        met = both()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            met = both() or met
        return met

    def both() -> bool:
        met = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            met = one() and met
        return met

    def one() -> bool:
        first = tokens.pop(0)
        if first != "(":
            return first in allowed
        met = either()
        tokens.pop(0)  # the closing bracket
        return met

    return bool(tokens) and either()


def complaints(packages: list[dict[str, Any]], rules: dict[str, Any]) -> list[str]:
    """List every crate that breaks a rule of deny.toml."""
    allowed = set(rules["licenses"]["allow"])
    registries = {f"registry+{url}" for url in rules["sources"]["allow-registry"]}
    banned = {entry["crate"] for entry in rules["bans"]["deny"]}
    found: list[str] = []
    for package in packages:
        name = f"{package['name']} {package['version']}"
        licence, source = package["license"] or "", package["source"]
        if not permits(licence, allowed):
            found.append(f"{name}: licence {licence or 'not given'!r} is not in deny.toml")
        if source is not None and source not in registries:
            found.append(f"{name}: comes from {source}")
        if package["name"] in banned:
            found.append(f"{name}: is banned by deny.toml")
    return found


def below(crate: str) -> set[str]:
    """Return the names of the crates that a crate can link, itself included."""
    only_names = ("-e", "normal", "--prefix", "none", "--no-dedupe", "--format", "{p}")
    tree = cargo("tree", "-p", crate, "--all-features", *only_names)
    return {line.split()[0] for line in tree.splitlines()}


def main() -> int:
    """Print every breach; return 1 if there is one."""
    rules = tomllib.loads((ROOT / "deny.toml").read_text(encoding="utf-8"))
    packages = json.loads(cargo("metadata", "--format-version", "1"))["packages"]
    found = complaints(packages, rules)
    counts: list[str] = []
    for crate, forbidden in NOT_BELOW.items():
        linked = below(crate)
        counts.append(f"{len(linked)} below {crate}")
        found += [f"{crate} links {other}" for other in sorted(linked) if forbidden.match(other)]
    for line in found:
        print(line)
    print(f"{len(packages)} crates, {', '.join(counts)}: {len(found)} complaints")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
