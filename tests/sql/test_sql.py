"""Every logic test on every engine: one contract, whatever answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from tests.sql.engines import ENGINES, Engine
from tests.sql.script import Record, read

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
LETTERS: dict[str, Callable[[pa.DataType], bool]] = {
    "I": pa.types.is_integer,
    "R": pa.types.is_floating,
    "B": pa.types.is_boolean,
    "T": lambda _: True,
}


def cases() -> list[Any]:
    """Give each file for each engine: files in a folder belong to the family of engines of its name."""
    paths = [path for path in sorted(HERE.rglob("*.slt")) if path.stem != "setup"]
    return [
        pytest.param(path, make, id=f"{path.relative_to(HERE).with_suffix('')}-{name}")
        for path in paths
        for name, make in ENGINES.items()
        if path.parent == HERE or name.startswith(path.parent.name)
    ]


@pytest.mark.parametrize(("path", "make"), cases())
def test_an_engine_keeps_the_contract(path: Path, make: Callable[[], Engine], tmp_path: Path) -> None:
    engine = make()
    for record in read(path):
        if record.applies_to(engine.labels):
            run(engine, record, str(tmp_path))


def run(engine: Engine, record: Record, folder: str) -> None:
    """Run one record and compare."""
    sql = record.sql.replace("$DIR", folder)
    expected = [line.replace("$DIR", folder) for line in record.expected]
    where = f"{record.place}\n{sql}"
    if record.kind == "error":
        with pytest.raises(Exception) as caught:  # noqa: PT011 - each engine has a type of its own
            engine.run(sql)
        missing = [line for line in expected if line not in str(caught.value)]
        assert not missing, f"{where}\nsaid: {caught.value}"
        return
    try:
        answer = engine.run(sql)
    except Exception as error:  # noqa: BLE001 - told with the statement
        pytest.fail(f"{where}\nsaid: {error}")
    if record.kind == "query":
        assert answer is not None, where
        compare(record, answer, expected, where)


def compare(record: Record, answer: pa.Table, expected: list[str], where: str) -> None:
    """Compare types and rows."""
    assert len(record.types) == answer.num_columns, where
    for letter, column in zip(record.types, answer.schema, strict=True):
        assert LETTERS[letter](column.type), f"{where}\n{letter} for {column}"
    columns = [[text(value) for value in column.to_pylist()] for column in answer.columns]
    found = [" ".join(" ".join(row).split()) for row in zip(*columns, strict=True)]
    wanted = [" ".join(row.split()) for row in expected]
    if record.rowsort:
        found, wanted = sorted(found), sorted(wanted)
    assert found == wanted, where


def text(value: Any) -> str:
    """Show a value. Floats by the fewest digits that tell them apart as float32."""
    match value:
        case None | "":
            shown = "(empty)" if value == "" else "NULL"
        case bool():
            shown = str(value).lower()
        case float():
            shown = str(np.float32(value)).removesuffix(".0")
        case bytes():
            shown = value.hex()
        case list():
            shown = f"[{', '.join(map(text, value))}]"
        case dict():
            shown = f"{{{', '.join(f'{name}: {text(part)}' for name, part in value.items())}}}"
        case _:
            shown = str(value)
    return shown
