"""The command: ``ruvector serve``."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

import ruvector as rv
from ruvector.cli import main
from ruvector.flight import connect
from ruvector.flight.config import read_lake, read_tokens

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    path = tmp_path / "docs.rbpx"
    rv.build([[0.0, 0.0], [3.0, 4.0]], ids=[7, 8]).save(path)
    return path


def started(*arguments: str) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "ruvector", "serve", "--listen", "grpc://127.0.0.1:0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    said = process.stdout.readline()
    assert said.startswith("listening on grpc://"), process.communicate()
    return process, said.split()[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(docs: Path, number: signal.Signals) -> None:
    process, url = started("--index", f"docs={docs}")
    with process:
        assert connect(url).collection("docs").search([3.0, 3.0], k=1).to_polars()["id"].to_list() == [8]
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def test_a_lake_and_tokens_come_from_files(tmp_path: Path) -> None:
    rows = {"id": [1, 2], "v": [[0.0, 1.0], [1.0, 0.0]]}
    pl.DataFrame(rows, schema_overrides={"v": pl.Array(pl.Float32, 2)}).write_parquet(
        tmp_path / "rows.parquet"
    )
    lake = f"""
[lake]
max_cache_bytes = 1_000_000
consistency = "eventual"
ttl = 60.0

[[backends]]
name = "files"
kind = "parquet"
root = "{tmp_path}"
deadline = 10.0

[backends.collections.docs]
path = "rows.parquet"
vector = "v"
id = "id"
"""
    (tmp_path / "lake.toml").write_text(lake)
    tokens = '[[tokens]]\nsecret = "%s"\nprincipal = "reader"\ncollections = ["files/*"]\n' % ("s" * 32)
    (tmp_path / "tokens.toml").write_text(tokens)
    process, url = started("--lake", str(tmp_path / "lake.toml"), "--tokens", str(tmp_path / "tokens.toml"))
    with process:
        found = connect(url, token="s" * 32).collection("files/docs").search([0.0, 1.0], k=1)
        assert found.to_polars()["id"].to_list() == [1]
        with pytest.raises(rv.PolicyDenied):
            connect(url).list()
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("told", "key"),
    [
        ("[lake]\nmax_cache_byte = 1", "lake.max_cache_byte"),
        ("[lakes]", "lakes"),
        ("[lake]\nconsistency = 'always'", "lake.consistency"),
        ("[lake]\nttl = 1.0", "lake.ttl"),
        ("[[backends]]\nname = 'a'", "backends[0].kind"),
        ("[[backends]]\nname = 'a'\nkind = 'tape'", "backends[0].kind"),
        ("[[backends]]\nname = 'a'\nkind = 'parquet'", "backends[0].root"),
        ("[[backends]]\nname = 'a'\nkind = 'parquet'\nroot = '.'\nrot = 1", "backends[0].rot"),
        ("[[backends]]\nname = 'a'\nkind = 'adbc'\nuri_env = 'NOT_SET'", "backends[0].uri_env"),
        ("[[backends]]\nname = 'a'\nkind = 'adbc'\nuri_env = 'SET'\nuri = 'b'", "backends[0].uri_env"),
        (
            "[[backends]]\nname = 'a'\nkind = 'parquet'\nroot = '.'\n[backends.collections.docs]\nid = 'id'",
            "backends[0].collections.docs.path",
        ),
        (
            "[[backends]]\nname = 'a'\nkind = 'fs'\nroot = '.'\n[backends.collections.docs]\npath = 'id'",
            "backends[0].collections.docs.path",
        ),
    ],
)
def test_keys_that_nobody_knows_are_named(tmp_path: Path, told: str, key: str) -> None:
    (tmp_path / "lake.toml").write_text(told)
    with pytest.raises(rv.InvalidParameter) as refused:
        read_lake(tmp_path / "lake.toml", {"SET": "value"})
    assert refused.value.name == key


def test_secrets_come_from_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "tokens.toml"
    path.write_text('[[tokens]]\nsecret_env = "SECRET"\nprincipal = "reader"\nverbs = ["search"]\n')
    (token,) = read_tokens(path, {"SECRET": "s" * 32})
    assert (token.secret, token.principal, token.collections, token.verbs) == (
        "s" * 32,
        "reader",
        None,
        ("search",),
    )
    path.write_text("")
    with pytest.raises(rv.InvalidParameter, match="at least one"):
        read_tokens(path)
    with pytest.raises(rv.InvalidParameter, match="toml"):
        read_tokens(tmp_path / "nothing.toml")


def test_what_cannot_be_meant_ends_with_two(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for arguments in (
        ["--index", "docs"],
        ["--index", "a=b", "--index", "a=c"],
        ["--tls-cert", "c.pem"],
        ["--fly"],
    ):
        with pytest.raises(SystemExit) as ended:
            main(["serve", *arguments])
        assert ended.value.code == 2
    assert main(["serve", "--index", f"docs={tmp_path / 'nothing.rbpx'}"]) == 2
    assert "nothing.rbpx" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--help"])
    assert ended.value.code == 0
    assert "exit codes" in capsys.readouterr().out


def test_an_iceberg_catalog_can_be_described(tmp_path: Path) -> None:
    catalog = pytest.importorskip("pyiceberg.catalog")
    properties = {"type": "sql", "uri": f"sqlite:///{tmp_path}/catalog.db", "warehouse": f"file://{tmp_path}"}
    loaded = catalog.load_catalog("test", **properties)
    loaded.create_namespace("docs")
    import pyarrow as pa

    rows = pa.table({"id": [1, 2], "v": [[0.0, 1.0], [1.0, 0.0]]})
    rows = rows.set_column(1, "v", rows["v"].cast(pa.list_(pa.float32())))
    loaded.create_table("docs.rows", rows.schema).append(rows)
    told = f"""
[[backends]]
name = "ice"
kind = "iceberg"
catalog = "test"

[backends.properties]
type = "sql"
uri = "{properties["uri"]}"
warehouse = "{properties["warehouse"]}"

[backends.collections.rows]
identifier = "docs.rows"
"""
    (tmp_path / "lake.toml").write_text(told)
    lake = read_lake(tmp_path / "lake.toml")
    assert [hit.id for hit in lake.search_one("rows", np.array([0.0, 1.0], dtype=np.float32), k=1)] == [1]
