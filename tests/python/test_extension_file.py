"""The file of the extension: its footer, its signature, and the command line client that loads it."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pytest

import ruvector as rv
import ruvector.duckdb.extension as shipped

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / ".venv" / "engines" / "duckdb-cli-1.5.6" / "duckdb_cli" / "duckdb"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """The tool that makes the extension."""
    spec = importlib.util.spec_from_file_location("duckdb_extension", ROOT / "tools" / "duckdb_extension.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def signed(tool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The extension, signed with a key of this test, in the place of the one that is shipped."""
    tool.make_key(tmp_path / "keys")
    path = tmp_path / "extensions" / str(tool.this_platform()) / shipped.extension_path().name
    path.parent.mkdir(parents=True)
    path.write_bytes(tool.signed(shipped.extension_path().read_bytes(), tmp_path / "keys" / "private.pem"))
    shutil.copyfile(tmp_path / "keys" / "public.pem", tmp_path / "extensions" / "public.pem")
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "extensions")
    return path


def connect(home: Path) -> duckdb.DuckDBPyConnection:
    """Connect as a careful user does: no unsigned extensions, a home of its own."""
    home.mkdir(exist_ok=True)
    return duckdb.connect(config={"home_directory": str(home), "allow_unsigned_extensions": False})


def test_the_footer_says_what_the_file_needs(tool: Any) -> None:
    data = shipped.extension_path().read_bytes()
    fields = [data[-512:-256][at : at + 32].rstrip(b"\0").decode() for at in range(0, 256, 32)]
    assert fields[3:] == ["C_STRUCT", f"v{rv.__version__}", "v1.2.0", tool.this_platform(), "4"]
    assert data[-534:-512] == tool.SECTION


def test_a_signed_extension_is_installed_and_stays(signed: Path, tmp_path: Path) -> None:
    with connect(tmp_path / "home") as con:
        shipped.install(con)
        assert con.execute("SELECT ruvector_distance([0], [3], 'l2')").fetchall() == [(3.0,)]
        shipped.install(con)
    signed.unlink()
    with connect(tmp_path / "home") as con:
        con.execute("LOAD ruvector FROM ruvector")
        assert con.execute("SELECT ruvector_distance([0], [3], 'l2')").fetchall() == [(3.0,)]


@pytest.mark.parametrize("place", [5000, -100])
def test_a_flipped_byte_is_refused(signed: Path, tmp_path: Path, place: int) -> None:
    data = bytearray(signed.read_bytes())
    data[place] ^= 1
    signed.write_bytes(data)
    with connect(tmp_path / "home") as con:
        with pytest.raises(duckdb.Error, match="signature"):
            shipped.install(con)
        assert con.execute("SELECT 1").fetchall() == [(1,)]


def test_who_allows_nothing_is_told_what_to_allow(signed: Path, tmp_path: Path) -> None:
    with connect(tmp_path / "home") as con:
        con.execute("SET allow_extension_repositories = 'forbidden'")
        with pytest.raises(rv.RuVectorError, match="allow_extension_repositories is 'forbidden'"):
            shipped.install(con)
    (signed.parents[1] / "public.pem").unlink()
    with connect(tmp_path / "home") as con, pytest.raises(rv.RuVectorError, match="is not signed"):
        shipped.install(con)
    signed.unlink()
    with pytest.raises(rv.RuVectorError, match="built without the loadable extension"):
        shipped.extension_path()


def test_a_pair_of_keys_is_never_replaced(tool: Any, tmp_path: Path) -> None:
    tool.make_key(tmp_path)
    with pytest.raises(FileExistsError):
        tool.make_key(tmp_path)


def test_the_command_line_client_loads_it(tmp_path: Path) -> None:
    path = tmp_path / "docs.rbpx"
    rv.build(np.eye(3, dtype=np.float32), ids=["x", "y", "z"]).save(path)
    script = f"""
        .mode csv
        .headers off
        LOAD '{shipped.extension_path()}';
        .read '{ROOT / "sql" / "duckdb" / "extension.sql"}'
        SELECT id FROM ruvector_knn('{path}', [0.0, 0.9, 0.1], k := 2);
        SELECT q.i, n.id FROM (SELECT 1 AS i, [1.0, 0.0, 0.0] AS v) q, ruvector_knn('{path}', q.v, k := 1) n;
        SELECT rows FROM ruvector_build('(SELECT [1.0] AS v)', 'v', '{tmp_path / "one.rbpx"}');
    """
    done = subprocess.run(
        [CLIENT, "-unsigned", "-batch"],
        input=textwrap.dedent(script),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stderr, done.stdout.split()) == ("", ["y", "z", "1,x", "1"])
