use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use futures::{StreamExt, stream};
use ruvector_core::{Index, ids::Id};
use ruvector_flight::{Catalog, Config};
use serde_json::json;
use tonic::{Code, Request};

use crate::setup::{World, all_of, batch, encoded, hits, ids, index, kind, list, path, table, values};

async fn empty() -> World {
    World::of(Vec::new()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_built_of_what_comes_and_answers_then() {
    let world = empty().await;
    let ask = json!({"build": {"collection": "new", "metric": "cosine", "bits": 2, "keep": "f32"}});
    let told = world.put(&ask, vec![table(0..300, 1), table(300..500, 2)]).await.unwrap();
    assert_eq!((told.len(), told[0]["rows"].as_u64()), (1, Some(500)));
    let snapshot = world.live("new").snapshot();
    let index = snapshot.index();
    assert_eq!((index.len(), index.bits(), index.metric().name()), (500, 2, "cosine"));
    let search = json!({"search": {"collection": "new", "k": 1, "exact": true}});
    let found = world.exchange(&search, vec![table(0..3, 2)]).await.unwrap();
    assert_eq!(hits(&found), [Some(vec![300]), Some(vec![301]), Some(vec![302])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_into_a_folder_is_a_file_and_replaces_only_with_leave() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = Catalog::new(None, Some(folder.path().to_owned()));
    let world = World::with(catalog, Vec::new(), Config::default()).await;
    let ask = json!({"build": {"collection": "new"}});
    world.put(&ask, vec![table(0..100, 1)]).await.unwrap();
    let file = folder.path().join("new.rbpx");
    assert_eq!(Index::open(&file, true).unwrap().len(), 100);
    let before = std::fs::read(&file).unwrap();
    let info = world.info(path("new")).await.unwrap();

    let refused = world.put(&ask, vec![table(0..50, 1)]).await.unwrap_err();
    assert_eq!(kind(&refused), (Code::AlreadyExists, "InvalidParameter".into()));
    // A build that fails half way leaves everything as it was.
    let replace = json!({"build": {"collection": "new", "replace": true}});
    let mut bad = values(20, 3);
    bad[77] = f32::NAN;
    let bad = batch(vec![("id", Arc::new(Int64Array::from_iter_values(50..70))), ("v", list(bad))]);
    let refused = world.put(&replace, vec![table(0..50, 1), bad]).await.unwrap_err();
    assert_eq!(kind(&refused).1, "InvalidVector");
    assert!(refused.message().contains("row 59"), "{refused:?}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
    assert_eq!(world.live("new").len(), 100);

    world.put(&replace, vec![table(0..50, 1)]).await.unwrap();
    assert_eq!(Index::open(&file, true).unwrap().len(), 50);
    let after = world.info(path("new")).await.unwrap();
    assert_ne!(after.app_metadata, info.app_metadata);
    // The tickets of the old one still give the old one.
    assert_eq!(ids(&all_of(&world, &info).await, "id").len(), 100);
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 1, "temporary files are left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_whose_client_goes_away_leaves_nothing() {
    let world = empty().await;
    let ask = json!({"build": {"collection": "new"}});
    let messages = encoded(&ask, vec![table(0..100, 1)]).await;
    // A stream that never ends.
    let endless = stream::iter(messages).chain(stream::pending());
    let mut client = world.client.clone();
    let call = tokio::spawn(async move { client.do_put(Request::new(endless)).await.map(|_| ()) });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    call.abort();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(world.server.catalog().names().is_empty());
    // The server goes on.
    world.put(&ask, vec![table(0..100, 1)]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_added_replaced_and_deleted_batch_by_batch() {
    let world = World::of(vec![("docs", index(100))]).await;
    let told = world
        .put(&json!({"append": {"collection": "docs"}}), vec![table(0..10, 5), table(10..15, 6)])
        .await
        .unwrap();
    assert_eq!(told, [json!({"rows": 10, "replaced": 0}), json!({"rows": 15, "replaced": 0})]);
    assert_eq!(world.live("docs").len(), 115);

    let told = world.put(&json!({"upsert": {"collection": "docs"}}), vec![table(12..18, 7)]).await.unwrap();
    assert_eq!(told, [json!({"rows": 6, "replaced": 3})]);
    assert_eq!(world.live("docs").len(), 118);

    let gone = batch(vec![("key", Arc::new(Int64Array::from(vec![1000, 1001, 5, 77])) as ArrayRef)]);
    let told = world.put(&json!({"delete": {"collection": "docs", "id": "key"}}), vec![gone]).await.unwrap();
    assert_eq!(told, [json!({"rows": 4, "deleted": 3})]);
    let snapshot = world.live("docs").snapshot();
    assert_eq!(snapshot.len(), 115);
    assert!(!snapshot.contains(Id::Int64(1000)) && !snapshot.contains(Id::Int64(5)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_refused_leaves_those_before_it() {
    let world = World::of(vec![("docs", index(100))]).await;
    // The second batch has an id that the first one had.
    let batches = vec![table(0..10, 5), table(9..12, 6), table(20..30, 7)];
    let refused = world.put(&json!({"append": {"collection": "docs"}}), batches).await.unwrap_err();
    assert_eq!(kind(&refused), (Code::AlreadyExists, "DuplicateId".into()));
    assert!(refused.message().contains("10 rows before were taken"), "{refused:?}");
    assert_eq!(world.live("docs").len(), 110);
    let mut bad = values(4, 3);
    bad[9] = f32::INFINITY;
    let bad = batch(vec![("id", Arc::new(Int64Array::from_iter_values(200..204))), ("v", list(bad))]);
    let batches = vec![table(100..110, 5), bad];
    let refused = world.put(&json!({"upsert": {"collection": "docs"}}), batches).await.unwrap_err();
    assert!(refused.message().contains("row 11"), "{refused:?}");
    assert_eq!(world.live("docs").len(), 120);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_numbered_get_numbers() {
    let world = empty().await;
    let plain = |rows: usize, seed| batch(vec![("v", list(values(rows, seed)))]);
    world.put(&json!({"build": {"collection": "plain"}}), vec![plain(50, 1)]).await.unwrap();
    world.put(&json!({"append": {"collection": "plain"}}), vec![plain(5, 2)]).await.unwrap();
    // A column called id is no reason to refuse rows that need none.
    world.put(&json!({"append": {"collection": "plain"}}), vec![table(0..5, 3)]).await.unwrap();
    let snapshot = world.live("plain").snapshot();
    assert!(snapshot.len() == 60 && snapshot.contains(Id::Int64(59)));
    let named = json!({"append": {"collection": "plain", "id": "id"}});
    assert_eq!(kind(&world.put(&named, vec![table(0..5, 3)]).await.unwrap_err()).1, "InvalidParameter");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_put_is_refused_by_name() {
    let world = World::of(vec![("docs", index(100))]).await;
    let words: RecordBatch =
        batch(vec![("id", Arc::new(StringArray::from(vec!["a"])) as ArrayRef), ("v", list(values(1, 1)))]);
    let bare = batch(vec![("v", list(values(1, 1)))]);
    for (ask, batch, class) in [
        (json!({"build": {"collection": "../x"}}), table(0..9, 1), "InvalidParameter"),
        (json!({"build": {"collection": "a/b"}}), table(0..9, 1), "InvalidParameter"),
        (json!({"build": {"collection": ""}}), table(0..9, 1), "InvalidParameter"),
        (json!({"build": {"collection": "x", "metric": "taxi"}}), table(0..9, 1), "InvalidParameter"),
        (json!({"build": {"collection": "x", "bits": 77}}), table(0..9, 1), "InvalidParameter"),
        (json!({"build": {"collection": "x", "from": "docs"}}), table(0..9, 1), "InvalidParameter"),
        (json!({"build": {"collection": "x", "id": "nope"}}), table(0..9, 1), "InvalidParameter"),
        (json!({"build": {"collection": "x"}}), table(0..0, 1), "EmptyIndex"),
        (json!({"append": {"collection": "nope"}}), table(0..9, 1), "UnknownCollection"),
        (json!({"append": {"collection": "docs"}}), bare.clone(), "InvalidParameter"),
        (json!({"append": {"collection": "docs"}}), words, "InvalidType"),
        (json!({"delete": {"collection": "docs"}}), bare, "InvalidParameter"),
        (json!({"delete": {"collection": "docs", "column": "v"}}), table(0..9, 1), "InvalidParameter"),
        (json!({"insert": {"collection": "docs"}}), table(0..9, 1), "InvalidParameter"),
    ] {
        let refused = world.put(&ask, vec![batch]).await.unwrap_err();
        let found = kind(&refused).1;
        assert!(
            found == class || (class == "InvalidType" && found == "InvalidVectorType"),
            "{ask}: {refused:?}"
        );
    }
    assert_eq!(world.server.catalog().names(), ["docs"]);
    assert_eq!(world.live("docs").len(), 100);
}
