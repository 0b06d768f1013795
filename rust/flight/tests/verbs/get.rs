use arrow_array::{cast::AsArray, types::Float32Type};
use ruvector_core::{
    Index, Pool, Unwatched,
    format::Keep,
    index::{Effort, SearchParams},
};
use ruvector_flight::{Catalog, Config};
use serde_json::json;
use tonic::Code;

use crate::setup::{
    DIM, World, all_of, cmd, codes_only, decoded, hits, ids, index, kind, path, queries, values, vectors,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_index_comes_as_it_lies_in_its_file() {
    let index = index(500);
    let file = index.to_bytes(Keep::AsIs).unwrap();
    let world = World::of(vec![("docs", index)]).await;
    let messages = world.messages(&json!({"index": {"collection": "docs"}})).await.unwrap();
    // What was sent is found in the file, byte for byte.
    for message in &messages {
        for part in [&message.data_header, &message.data_body] {
            assert!(part.is_empty() || file.windows(part.len()).any(|window| window == &part[..]));
        }
    }
    let digest = String::from_utf8(messages[0].app_metadata.to_vec()).unwrap();
    let batches = decoded(messages).await.unwrap();
    let read = Index::from_batches(&batches).unwrap();
    let before = world.live("docs").snapshot();
    assert_eq!(read.digest(), before.index().digest());
    assert_eq!(read.to_bytes(Keep::AsIs).unwrap(), file);
    assert_eq!(Some(digest), before.index().file_digest());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_comes_without_its_vectors_if_asked() {
    let world = World::of(vec![("docs", index(300))]).await;
    for (keep, column) in [("none", None), ("f16", Some(())), ("f32", Some(()))] {
        let ask = json!({"index": {"collection": "docs", "keep": keep}});
        let batches = world.get(&ask).await.unwrap();
        assert_eq!(batches[0].column_by_name("vectors").map(|_| ()), column, "{keep}");
        assert_eq!(Index::from_batches(&batches).unwrap().len(), 300);
    }
    let world = World::of(vec![("codes", codes_only(300))]).await;
    let refused = world.get(&json!({"index": {"collection": "codes", "keep": "f32"}})).await.unwrap_err();
    assert_eq!(kind(&refused), (Code::InvalidArgument, "InvalidParameter".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_coded_and_deleted_rows_are_gone_in_what_is_sent() {
    let world = World::of(vec![("docs", index(300))]).await;
    let live = world.live("docs");
    let pool = Pool::new(Some(1)).unwrap();
    let new = ruvector_core::ids::Ids::Int64(vec![1, 2].into());
    live.upsert(&new, &vectors(values(2, 9)), &pool, &Unwatched).unwrap();
    live.delete(&ruvector_core::ids::Ids::Int64(vec![1000, 1001, 1002].into())).unwrap();
    let batches = world.get(&json!({"index": {"collection": "docs"}})).await.unwrap();
    let read = ruvector_core::Live::new(Index::from_batches(&batches).unwrap()).snapshot();
    assert_eq!(read.len(), 299);
    assert!(
        read.contains(ruvector_core::ids::Id::Int64(2))
            && !read.contains(ruvector_core::ids::Id::Int64(1001))
    );
    // The index itself was left alone.
    assert!(!live.snapshot().is_sealed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_no_message_holds_is_refused_by_name() {
    let mut config = Config::default();
    config.limits.message_bytes = 4096;
    let world = World::with(Catalog::new(None, None), vec![("docs", index(1000))], config).await;
    let refused = world.get(&json!({"index": {"collection": "docs"}})).await.unwrap_err();
    assert_eq!(kind(&refused), (Code::ResourceExhausted, "TooLarge".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_with_their_ids_in_as_many_parts_as_asked() {
    let world = World::of(vec![("docs", index(1000))]).await;
    let whole = world.get(&json!({"scan": {"collection": "docs"}})).await.unwrap();
    let mut all = ids(&whole, "id");
    for parts in [1, 2, 3, 7] {
        let ask = json!({"scan": {"collection": "docs", "parts": parts}});
        let info = world.info(cmd(&ask)).await.unwrap();
        assert_eq!((info.endpoint.len(), info.total_records, info.ordered), (parts, 1000, true));
        assert_eq!(ids(&all_of(&world, &info).await, "id"), all);
    }
    // Each row has the vector that it was given.
    let given = values(1000, 1);
    for batch in &whole {
        let (numbers, vectors) =
            (ids(std::slice::from_ref(batch), "id"), batch.column(1).as_fixed_size_list());
        for (row, id) in numbers.iter().enumerate() {
            let vector = vectors.value(row);
            let at = (id - 1000) as usize * DIM;
            assert_eq!(vector.as_primitive::<Float32Type>().values()[..], given[at..at + DIM]);
        }
    }
    all.sort_unstable();
    assert_eq!(all, (1000..2000).collect::<Vec<_>>());
    for parts in [0, 5000] {
        let ask = json!({"scan": {"collection": "docs", "parts": parts}});
        assert_eq!(world.info(cmd(&ask)).await.unwrap_err().code(), Code::InvalidArgument);
    }
    let beyond = json!({"scan": {"collection": "docs", "part": 2, "parts": 2}});
    assert_eq!(world.get(&beyond).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_and_columns_choose_rows() {
    let world = World::of(vec![("docs", index(100))]).await;
    let ask = json!({"scan": {"collection": "docs", "columns": ["id"],
        "where": [[["id", ">=", 1090], ["id", "!=", 1095]], [["id", "in", [1001, 1002]]]]}});
    let rows = world.get(&ask).await.unwrap();
    let mut found = ids(&rows, "id");
    found.sort_unstable();
    assert_eq!(found, [1001, 1002, 1090, 1091, 1092, 1093, 1094, 1096, 1097, 1098, 1099]);
    assert_eq!(rows[0].num_columns(), 1);
    let info = world.info(cmd(&ask)).await.unwrap();
    assert_eq!(info.total_records, -1);
    for wrong in [
        json!([[["id", "like", "x"]]]),
        json!([[["other", "==", 1]]]),
        json!([[["id", "in", 1]]]),
        json!([[["id", "==", null]]]),
    ] {
        let ask = json!({"scan": {"collection": "docs", "where": wrong}});
        assert_eq!(kind(&world.get(&ask).await.unwrap_err()).1, "InvalidParameter", "{ask}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_only_have_no_rows_to_read() {
    let world = World::of(vec![("codes", codes_only(100))]).await;
    for ask in [json!({"scan": {"collection": "codes"}}), json!({"neighbours": {"collection": "codes"}})] {
        let refused = world.get(&ask).await.unwrap_err();
        assert_eq!(kind(&refused), (Code::InvalidArgument, "InvalidParameter".into()), "{refused:?}");
        assert!(refused.message().contains("codes only"), "{refused:?}");
    }
    // It is listed all the same.
    let listed = world.flights("").await.unwrap();
    assert_eq!((listed.len(), listed[0].total_records), (1, 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_in_a_ticket_find_what_a_search_finds() {
    let world = World::of(vec![("docs", index(1000))]).await;
    let asked = values(5, 3);
    let pool = Pool::new(Some(1)).unwrap();
    let params = SearchParams { k: 7, effort: Effort::Exact, ..SearchParams::default() };
    let truth = world.live("docs").search(&vectors(asked.clone()), &params, &pool, &Unwatched).unwrap();
    let expected: Vec<Option<Vec<i64>>> = (0..5)
        .map(|query| {
            let ids = truth.of_query(query).map(|at| match truth.ids().get(at) {
                ruvector_core::ids::Id::Int64(id) => id,
                other => panic!("{other}"),
            });
            Some(ids.collect())
        })
        .collect();
    let ask = json!({"search": {"collection": "docs", "k": 7, "exact": true, "queries": queries(&asked)}});
    let found = world.get(&ask).await.unwrap();
    assert_eq!(hits(&found), expected);
    // The same by the tickets of an info, whose schema it has.
    let info = world.info(cmd(&ask)).await.unwrap();
    let again = all_of(&world, &info).await;
    assert_eq!(again, found);
    assert_eq!(info.try_decode_schema().unwrap(), *found[0].schema());
    // One row for each hit.
    let ask = json!({"search": {"collection": "docs", "k": 7, "exact": true, "answer": "flat",
        "queries": queries(&asked)}});
    let flat = world.get(&ask).await.unwrap();
    let flat: Vec<i64> = ids(&flat, "id");
    assert_eq!(flat, expected.into_iter().flatten().flatten().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_too_long_for_one_batch_come_in_several() {
    let world = World::of(vec![("docs", index(3000))]).await;
    let ask = json!({"search": {"collection": "docs", "k": 3000, "exact": true, "queries": queries(&values(900, 3))}});
    let found = world.get(&ask).await.unwrap();
    assert!(found.len() > 2, "{}", found.len());
    let found = hits(&found);
    assert_eq!(found.len(), 900);
    assert!(found.iter().all(|hits| hits.as_ref().is_some_and(|hits| hits.len() == 3000)));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_within_a_radius_and_the_neighbours_of_all_rows() {
    let world = World::of(vec![("docs", index(400))]).await;
    let asked = values(2, 3);
    let pool = Pool::new(Some(1)).unwrap();
    let near = world.live("docs").snapshot();
    let near = near.within(&vectors(asked.clone()), 0.4, Effort::Exact, None, &pool, &Unwatched).unwrap();
    let ask =
        json!({"within": {"collection": "docs", "radius": 0.4, "exact": true, "queries": queries(&asked)}});
    let found: Vec<i64> = hits(&world.get(&ask).await.unwrap()).into_iter().flatten().flatten().collect();
    assert!(!found.is_empty());
    assert_eq!(found.len(), near.len());

    let ask = json!({"neighbours": {"collection": "docs", "k": 3, "exact": true}});
    let rows = world.get(&ask).await.unwrap();
    let (own, found) = (ids(&rows, "query_id"), hits(&rows));
    assert_eq!((own.len(), found.len()), (400, 400));
    for (own, found) in own.iter().zip(found) {
        let found = found.unwrap();
        assert!(found.len() == 3 && !found.contains(own));
    }
    assert_eq!(world.schema(cmd(&ask)).await.unwrap(), *rows[0].schema());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_meant_is_refused_by_name() {
    let world = World::of(vec![("docs", index(100))]).await;
    let some = queries(&values(1, 3));
    for (ask, code, class) in [
        (json!({"search": {"collection": "docs"}}), Code::InvalidArgument, "InvalidParameter"),
        (json!({"search": {"collection": "nope", "queries": some}}), Code::NotFound, "UnknownCollection"),
        (
            json!({"search": {"collection": "docs", "queries": some, "radius": 1.0}}),
            Code::InvalidArgument,
            "InvalidParameter",
        ),
        (
            json!({"within": {"collection": "docs", "queries": some}}),
            Code::InvalidArgument,
            "InvalidParameter",
        ),
        (
            json!({"search": {"collection": "docs", "queries": some, "k": 0}}),
            Code::InvalidArgument,
            "InvalidParameter",
        ),
        (
            json!({"search": {"collection": "docs", "queries": some, "k": 1_000_000}}),
            Code::InvalidArgument,
            "InvalidParameter",
        ),
        (
            json!({"search": {"collection": "docs", "queries": some, "recall": 0.9, "exact": true}}),
            Code::InvalidArgument,
            "InvalidParameter",
        ),
        (
            json!({"search": {"collection": "docs", "queries": {"dim": 3, "f32": "AAAAAAAAAAAAAAAA"}}}),
            Code::InvalidArgument,
            "DimensionMismatch",
        ),
        (
            json!({"search": {"collection": "docs", "queries": {"dim": 8, "f32": "!!"}}}),
            Code::InvalidArgument,
            "InvalidParameter",
        ),
        (
            json!({"search": {"collection": "docs", "queries": {"dim": 0, "f32": ""}}}),
            Code::InvalidArgument,
            "InvalidParameter",
        ),
        (
            json!({"search": {"collection": "docs", "queries": queries(&[f32::NAN; 8])}}),
            Code::InvalidArgument,
            "InvalidVector",
        ),
        (
            json!({"neighbours": {"collection": "docs", "queries": some}}),
            Code::InvalidArgument,
            "InvalidParameter",
        ),
        (json!({"neighbours": {"collection": "docs", "k": 0}}), Code::InvalidArgument, "InvalidParameter"),
        (
            json!({"scan": {"collection": "docs", "columns": ["nope"]}}),
            Code::InvalidArgument,
            "InvalidParameter",
        ),
        (json!({"scan": {"collection": "docs", "colums": []}}), Code::InvalidArgument, "InvalidParameter"),
        (json!({"scan": {"collection": "../docs"}}), Code::NotFound, "UnknownCollection"),
        (json!({"scan": {"collection": "docs", "generation": "other"}}), Code::Aborted, "Superseded"),
        (json!({"dump": {"collection": "docs"}}), Code::InvalidArgument, "InvalidParameter"),
        (json!([1, 2]), Code::InvalidArgument, "InvalidParameter"),
    ] {
        let refused = world.get(&ask).await.unwrap_err();
        assert_eq!(kind(&refused), (code, class.to_owned()), "{ask}: {refused:?}");
    }
    assert_eq!(kind(&world.info(path("nope")).await.unwrap_err()).1, "UnknownCollection");
}
