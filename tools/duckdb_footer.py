"""Make a loadable DuckDB extension of a library: append the footer that DuckDB reads before it loads the file.

The footer is 534 bytes: the header of a WebAssembly custom section, eight fields of 32 bytes, last to first, and room for
a signature of 256 bytes, which stays empty here (see tools/duckdb_sign.py).
"""

from __future__ import annotations

import argparse
from pathlib import Path

API = "v1.2.0"
ABI = "C_STRUCT"
FIELD, SIGNATURE = 32, 256
SECTION = b"\x00\x93\x04\x10duckdb_signature\x80\x04"


def footer(platform: str, version: str) -> bytes:
    """Return the footer of an unsigned extension.

    >>> len(footer("linux_amd64", "v0.1.0"))
    534
    """
    fields = ["", "", "", ABI, version, API, platform, "4"]
    encoded = [field.encode().ljust(FIELD, b"\0") for field in fields]
    if any(len(field) > FIELD for field in encoded):
        raise ValueError(f"a field of the footer has at most {FIELD} bytes: {fields}")
    return SECTION + b"".join(encoded) + bytes(SIGNATURE)


def main() -> None:
    """Write the extension."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", type=Path)
    parser.add_argument("extension", type=Path)
    parser.add_argument("--platform", required=True, help="as DuckDB says it: PRAGMA platform")
    parser.add_argument("--version", required=True, help="of the extension")
    given = parser.parse_args()
    given.extension.parent.mkdir(parents=True, exist_ok=True)
    given.extension.write_bytes(given.library.read_bytes() + footer(given.platform, given.version))


if __name__ == "__main__":
    main()
