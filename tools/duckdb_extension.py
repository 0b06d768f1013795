"""Make the loadable DuckDB extension: build the library, append DuckDB's footer, sign.

    python tools/duckdb_extension.py build           # into the package, for this machine
    python tools/duckdb_extension.py key FOLDER      # private.pem and public.pem of whoever releases

With RUVECTOR_DUCKDB_KEY=FOLDER in the environment `build` signs, and puts the public key beside the
extension. Without it the extension is unsigned, which DuckDB loads only where that is allowed. A key is
never part of the repository.

The footer is 534 bytes: the header of a WebAssembly custom section, eight fields of 32 bytes, last to
first, and a signature of 256 bytes, zeros if there is none.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "python" / "ruvector" / "duckdb" / "extensions"
NAME = "ruvector.duckdb_extension"
API = "v1.2.0"
ABI = "C_STRUCT"
FIELD, SIGNATURE, CHUNK = 32, 256, 1 << 20
SECTION = b"\x00\x93\x04\x10duckdb_signature\x80\x04"


def footer(system: str, version: str) -> bytes:
    """Return the footer of an unsigned extension.

    >>> len(footer("linux_amd64", "v0.1.0"))
    534
    """
    fields = ["", "", "", ABI, version, API, system, "4"]
    encoded = [field.encode().ljust(FIELD, b"\0") for field in fields]
    if any(len(field) > FIELD for field in encoded):
        raise ValueError(f"a field of the footer has at most {FIELD} bytes: {fields}")
    return SECTION + b"".join(encoded) + bytes(SIGNATURE)


def digest(body: bytes) -> bytes:
    """Return what is signed: the hash of the hashes of each mebibyte before the signature."""
    chunks = (body[start : start + CHUNK] for start in range(0, len(body), CHUNK))
    return hashlib.sha256(b"".join(hashlib.sha256(chunk).digest() for chunk in chunks)).digest()


def signed(extension: bytes, private_key: Path) -> bytes:
    """Return the extension with a signature: RSA of 2048 bits, PKCS #1 v1.5 over SHA-256."""
    body = extension[:-SIGNATURE]
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "digest"
        data.write_bytes(digest(body))
        command = ["openssl", "pkeyutl", "-sign", "-in", str(data), "-inkey", str(private_key)]
        done = subprocess.run([*command, "-pkeyopt", "digest:sha256"], check=True, stdout=subprocess.PIPE)
    if len(done.stdout) != SIGNATURE:
        raise ValueError(f"{private_key}: expected an RSA key of 2048 bits")
    return body + done.stdout


def make_key(folder: Path) -> None:
    """Write a new pair of keys into a folder that has none."""
    folder.mkdir(parents=True, exist_ok=True)
    private, public = folder / "private.pem", folder / "public.pem"
    if private.exists():
        raise FileExistsError(private)
    options = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]
    subprocess.run(["openssl", "genpkey", *options, "-quiet", "-out", str(private)], check=True)
    subprocess.run(["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public)], check=True)


def this_platform() -> str:
    """Return the name that DuckDB gives to machines like this one."""
    systems = {"Linux": "linux", "Darwin": "osx", "Windows": "windows"}
    machines = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
    return f"{systems[platform.system()]}_{machines[platform.machine()]}"


def build() -> Path:
    """Build the library, make an extension of it and put it where the wheel is made from."""
    # With the Python module, which is wanted next: both then ask for the same features of what they share,
    # and a hundred crates are compiled once.
    packages = ["-p", "ruvector-duckdb", "-p", "ruvector-python"]
    subprocess.run(["cargo", "build", "--release", *packages], cwd=ROOT, check=True)
    names = {"Linux": "libruvector_duckdb.so", "Darwin": "libruvector_duckdb.dylib"}
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    library = target / "release" / names.get(platform.system(), "ruvector_duckdb.dll")
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))
    version = manifest["workspace"]["package"]["version"]
    extension = library.read_bytes() + footer(this_platform(), f"v{version}")
    shutil.rmtree(PACKAGE, ignore_errors=True)
    path = PACKAGE / this_platform() / NAME
    path.parent.mkdir(parents=True)
    if keys := os.environ.get("RUVECTOR_DUCKDB_KEY"):
        extension = signed(extension, Path(keys) / "private.pem")
        shutil.copyfile(Path(keys) / "public.pem", PACKAGE / "public.pem")
    path.write_bytes(extension)
    return path


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build")
    commands.add_parser("key").add_argument("folder", type=Path)
    given = parser.parse_args()
    if given.command == "key":
        make_key(given.folder)
    else:
        path = build()
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
