"""What every adapter does, on a real table of its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

import ruvector as rv
from ruvector.lake import PullRequest
from ruvector.lake.conditions import Condition, normal_form
from tests.lake.places import KINDS
from tests.lake.rows import DIM, allowed, make, plain

if TYPE_CHECKING:
    from tests.lake.places import Place


def pulled(place: Place, **request: Any) -> pa.Table:
    return pa.Table.from_batches(list(place.backend.pull(place.collection, PullRequest(**request))))


def test_tables_are_listed(place: Place) -> None:
    place.replace(make(3))
    assert place.collection in list(place.backend.list_collections())


def test_rows_come_as_they_were_written(place: Place) -> None:
    table = make(300)
    place.replace(table)
    found = pulled(place)
    assert plain(found.select(table.column_names)) == plain(table)
    assert found.schema.field("vector").type.list_size == DIM
    assert found.schema.field("vector").type.value_type == pa.float32()


def test_layout_tells_columns_and_width(place: Place) -> None:
    place.replace(make(30))
    layout = place.backend.layout(place.collection)
    assert (layout.vector, layout.id, layout.dim) == ("vector", "id", DIM)


def test_generation_changes_with_every_write_and_only_then(place: Place) -> None:
    place.replace(make(20))
    generations = [place.backend.generation(place.collection)]

    def changed() -> bool:
        assert place.backend.generation(place.collection) == place.backend.generation(place.collection)
        generations.append(place.backend.generation(place.collection))
        return len(set(generations)) == len(generations)

    place.append(make(5, first=20))
    assert changed()
    place.delete(7)
    assert changed()
    place.replace(make(24, seed=1))
    assert changed()
    pulled(place)
    place.backend.layout(place.collection)
    list(place.backend.list_collections())
    assert not changed()


def test_columns_come_in_the_order_they_are_asked_for(place: Place) -> None:
    table = make(20)
    place.replace(table)
    for columns in (("vector", "id"), ("id", "vector"), ("lang",), ("year", "id", "lang")):
        found = pulled(place, columns=columns)
        assert found.column_names == list(columns)
        assert found.num_rows == table.num_rows


def test_rows_are_skipped_at_the_beginning(place: Place) -> None:
    place.replace(make(40))
    place.append(make(30, first=40))
    whole = pulled(place, columns=("id", "vector")).to_pylist()
    for skipped in (1, 40, 55, 70):
        found = pulled(place, columns=("id", "vector"), skip_rows=skipped).to_pylist()
        assert len(found) == 70 - skipped
        assert all(row in whole for row in found)


def test_pieces_grow_at_their_end(place: Place) -> None:
    place.replace(make(40))
    place.backend.generation(place.collection)
    before = place.backend.layout(place.collection).pieces
    place.append(make(30, first=40))
    place.backend.generation(place.collection)
    after = place.backend.layout(place.collection).pieces
    assert bool(before) == place.appends_in_pieces
    if before:
        assert after[: len(before)] == before
        assert sum(piece.rows for piece in after) == 70
        new = pulled(place, columns=("id",), skip_rows=40)
        assert sorted(new.column("id").to_pylist()) == list(range(40, 70))
        place.delete(3)
        place.backend.generation(place.collection)
        left = place.backend.layout(place.collection).pieces
        assert left[: len(before)] != before
        assert sum(piece.rows for piece in left) in {0, 69}


ENGLISH: list[Condition] = [("lang", "=", "en")]

FILTERS: list[Any] = [
    [("lang", "=", "en")],
    [("lang", "=", "it's")],
    [("lang", "!=", "en")],
    [("lang", "<", "a")],
    [("lang", ">=", "de"), ("year", "<", 2010)],
    [("year", "in", [2003, 2004, 2019])],
    [("year", "not in", [2003, 2004])],
    [("lang", "in", ["en", "Fr", "no such"])],
    [("lang", "in", [])],
    [("lang", "not in", [])],
    [("score", ">", 3.25), ("score", "<=", 7)],
    [("weight", ">", 0.3)],
    [("open", "=", True)],
    [("open", "!=", True), ("id", ">", 20)],
    [[("id", "<", 3)], [("id", ">=", 25), ("lang", "!=", "ß")]],
    [("id", ">", 2.5)],
    [("year", "=", 2**63)],
]


@pytest.mark.parametrize("filter", FILTERS, ids=str)
def test_no_row_that_a_filter_allows_is_left_out(place: Place, filter: Any) -> None:
    table = make(60)
    place.replace(table)
    asked = normal_form(filter)
    found = pulled(place, columns=tuple(table.column_names), filter=asked).to_pylist()
    wanted = [row for row in table.to_pylist() if allowed(row, asked)]
    kept = [row for row in found if allowed(row, asked)]
    assert sorted(row["id"] for row in kept) == [row["id"] for row in wanted]


def test_filters_are_pushed_down(place: Place) -> None:
    place.replace(make(60))
    found = pulled(place, columns=("id",), filter=normal_form(ENGLISH))
    assert found.num_rows == (60 if place.backend.id == "flight" else 10)


def test_rows_are_skipped_before_they_are_filtered(place: Place) -> None:
    table = make(40)
    place.replace(table)
    asked = normal_form(ENGLISH)
    found = pulled(place, columns=("id", "lang"), filter=asked, skip_rows=20).to_pylist()
    kept = [row["id"] for row in found if allowed(row, asked)]
    assert sorted(kept) == [row for row in range(20, 40) if row % 6 == 0]


def test_what_is_not_there_is_unknown(place: Place) -> None:
    place.replace(make(3))
    for name in ("nope", "library.nope", "no.such.place", 'a"b', "a'b; DROP TABLE docs"):
        for ask in (place.backend.generation, place.backend.layout, lambda name: pulled_from(place, name)):
            with pytest.raises(rv.errors.UnknownCollection, match="has no collection") as caught:
                ask(name)
            assert (caught.value.backend, caught.value.collection) == (place.backend.id, name)
    assert pulled(place).num_rows == 3


def pulled_from(place: Place, collection: str) -> Any:
    return list(place.backend.pull(collection, PullRequest()))


def test_an_empty_table_has_its_columns(place: Place) -> None:
    place.replace(make(5))
    for row in range(5):
        place.delete(row)
    found = pulled(place, columns=("id", "lang"))
    assert (found.num_rows, found.column_names) == (0, ["id", "lang"])


def test_columns_can_be_named(place: Place) -> None:
    names = {"id": "score", "vector": "vector"}
    place.replace(make(10))
    place.register("other", names)
    layout = place.backend.layout("other")
    assert (layout.vector, layout.id) == ("vector", "score")
    assert {"other", place.collection} <= set(place.backend.list_collections())


# A file of DuckDB that is read cannot be written to.
@pytest.mark.parametrize("place", [kind for kind in KINDS if kind != "duckdb-file"], indirect=True)
def test_rows_that_were_there_for_a_moment_are_noticed(place: Place) -> None:
    place.replace(make(10))
    told = place.backend.generation(place.collection)
    place.append(make(1, first=10))
    rows = iter(place.backend.pull(place.collection, PullRequest()))
    next(rows)
    place.delete(10)
    if place.counts_changes:
        assert place.backend.generation(place.collection) != told
    else:
        assert place.backend.generation(place.collection) == told
        with pytest.raises(rv.errors.BackendError, match="for a moment") as caught:
            list(rows)
        assert caught.value.retryable
