"""Every backend inside a lake: what is searched is what lies there now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

import ruvector as rv
from ruvector.lake import LakeHits
from ruvector.lake.conditions import normal_form
from tests.lake.native import NATIVE
from tests.lake.places import KINDS
from tests.lake.rows import DIM, allowed, make, nearest, plain

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lake.places import Place

ALL = [*NATIVE, *KINDS]
QUERIES = np.random.default_rng(11).standard_normal((4, DIM)).astype(np.float32)

everywhere = pytest.mark.parametrize("place", ALL, indirect=True)


def lake_over(*places: Place) -> rv.RuLake:
    lake = rv.RuLake.builder().build()
    for place in places:
        lake.register_backend(place.backend)
    return lake


def key(place: Place) -> tuple[str, str]:
    return place.backend.id, place.collection


def found(lake: rv.RuLake, place: Place, query: Any, k: int = 5, **options: Any) -> list[int | str]:
    return [hit.id for hit in lake.search_one(key(place), query, k=k, exact=True, **options)]


@everywhere
def test_a_fresh_search_sees_every_write(place: Place) -> None:
    lake = lake_over(place)
    table = make(150, nulls=False)
    place.replace(table)
    assert found(lake, place, QUERIES[0]) == nearest(table, QUERIES[0], 5)
    more = make(60, first=150, nulls=False)
    place.append(more)
    table = pa.concat_tables([table, more])
    assert found(lake, place, QUERIES[1]) == nearest(table, QUERIES[1], 5)
    gone = nearest(table, QUERIES[2], 1)[0]
    place.delete(gone)
    table = table.filter(pa.compute.not_equal(table.column("id"), gone))
    assert found(lake, place, QUERIES[2]) == nearest(table, QUERIES[2], 5)
    other = make(90, seed=3, nulls=False)
    place.replace(other)
    assert found(lake, place, QUERIES[3]) == nearest(other, QUERIES[3], 5)


@everywhere
def test_what_does_not_change_is_pulled_once(place: Place) -> None:
    lake = lake_over(place)
    place.replace(make(80, nulls=False))
    for query in QUERIES:
        found(lake, place, query)
    stats = lake.cache_stats()
    assert (stats.primes, stats.hits, stats.misses) == (1, 3, 1)


@everywhere
def test_distances_are_those_of_the_rows(place: Place) -> None:
    table = make(80, nulls=False)
    place.replace(table)
    vectors = dict(zip(table.column("id").to_pylist(), table.column("vector").to_pylist(), strict=True))
    for hit in lake_over(place).search_one(key(place), QUERIES[0], k=20):
        exact = ((np.array(vectors[hit.id], np.float32) - QUERIES[0]) ** 2).sum()
        assert hit.score == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("place", [kind for kind in ALL if kind not in {"memory", "files"}], indirect=True)
def test_rows_without_a_vector_are_left_out(place: Place) -> None:
    table = make(100)
    place.replace(table)
    assert found(lake_over(place), place, QUERIES[0], k=200) == nearest(table, QUERIES[0], 200)


@everywhere
def test_appended_rows_alone_are_coded_where_pieces_are_told(place: Place) -> None:
    lake = lake_over(place)
    place.replace(make(100, nulls=False))
    found(lake, place, QUERIES[0])
    place.append(make(50, first=100, nulls=False))
    found(lake, place, QUERIES[0])
    stats = lake.cache_stats()
    appended = place.appends_in_pieces or place.backend.id == "memory"
    assert (stats.primes, stats.extensions) == ((1, 1) if appended else (2, 0))


@pytest.mark.parametrize("place", KINDS, indirect=True)
def test_a_change_between_question_and_pull_is_noticed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.replace(make(50, nulls=False))
    more = make(20, first=50, nulls=False)
    pulls: list[Any] = []
    pull = place.backend.pull

    def late(collection: str, request: Any) -> Any:
        if not pulls:
            place.append(more)
        pulls.append(request)
        return pull(collection, request)

    monkeypatch.setattr(place.backend, "pull", late)
    lake = lake_over(place)
    table = pa.concat_tables([make(50, nulls=False), more])
    assert found(lake, place, QUERIES[0], k=70) == nearest(table, QUERIES[0], 70)
    assert len(pulls) == 2
    bundle = lake.bundle_of(key(place))
    assert bundle is not None
    assert bundle.generation == place.backend.generation(place.collection)


FILTERS: list[Any] = [
    [("lang", "=", "en")],
    [("lang", "!=", "it's"), ("year", ">=", 2010)],
    [[("id", "<", 20)], [("lang", "in", ["de", "ß"]), ("score", ">", 12.5)]],
    [("year", "not in", [2001, 2002]), ("weight", "<=", 5.5)],
]

with_payload = pytest.mark.parametrize(
    "place", [kind for kind in ALL if kind not in {"memory", "files", "sqlite"}], indirect=True
)


@with_payload
@pytest.mark.parametrize("filter", FILTERS, ids=str)
def test_a_filtered_search_is_one_over_the_rows_that_are_allowed(place: Place, filter: Any) -> None:
    table = make(120)
    place.replace(table)
    lake = lake_over(place)
    for query in QUERIES:
        assert found(lake, place, query, k=6, filter=filter) == nearest(table, query, 6, normal_form(filter))


@with_payload
def test_a_scan_gives_what_is_asked_for(place: Place) -> None:
    table = make(90)
    place.replace(table)
    lake = lake_over(place)
    rows = pa.table(lake.scan(key(place), columns=["lang", "id"], filter=FILTERS[1]))
    asked = normal_form(FILTERS[1])
    wanted = [row for row in table.to_pylist() if allowed(row, asked)]
    assert rows.column_names == ["lang", "id"]
    assert plain(rows) == [{"id": row["id"], "lang": row["lang"]} for row in wanted]
    assert plain(pa.table(lake.scan(key(place))).select(table.column_names)) == plain(table)


@everywhere
def test_what_is_not_there_is_unknown_to_the_lake(place: Place) -> None:
    place.replace(make(5, nulls=False))
    with pytest.raises(rv.errors.UnknownCollection):
        lake_over(place).search_one((place.backend.id, "no such"), QUERIES[0])


def test_several_kinds_answer_as_one(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    kinds = ["delta", "postgres", "flight", "parquet"]
    made = {**NATIVE, **KINDS}
    places, tables = [], []
    for number, kind in enumerate(kinds):
        (tmp_path / kind).mkdir()
        places.append(made[kind](tmp_path / kind, request.getfixturevalue))
        tables.append(make(70, first=number * 1000, nulls=False))
        places[-1].replace(tables[-1])
    lake = lake_over(*places)
    whole = pa.concat_tables(tables)
    for query in QUERIES:
        hits = lake.search_federated(query=query, targets=[key(place) for place in places], k=12)
        assert isinstance(hits, LakeHits)
        assert [hit.id for hit in hits] == nearest(whole, query, 12)
        assert all(hit.backend == kinds[int(hit.id) // 1000] for hit in hits)
    named = lake.search_federated("docs", QUERIES[0], k=12)
    assert isinstance(named, LakeHits)
    assert [hit.id for hit in named] == nearest(whole, QUERIES[0], 12)
    assert [shard.status for shard in named.shards] == ["answered"] * 4
    for place in places:
        place.close()


def test_what_fails_in_a_backend_is_its_error(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    place = KINDS["delta"](tmp_path, request.getfixturevalue)
    place.replace(make(20))
    lake = lake_over(place)
    for file in (tmp_path / "docs").glob("*.parquet"):
        file.unlink()
    with pytest.raises(rv.errors.BackendError) as caught:
        found(lake, place, QUERIES[0])
    assert caught.value.backend == "delta"
    assert isinstance(caught.value.__cause__, OSError)
    place.replace(make(20))
    assert len(found(lake, place, QUERIES[0])) == 5
