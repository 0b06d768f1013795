use std::time::Duration;

use arrow_flight::{CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, Empty, FlightInfo};
use futures::TryStreamExt;
use prost::Message;
use ruvector_core::Index;
use ruvector_flight::{Catalog, Config};
use serde_json::{Value, json};
use tonic::{Code, Request};

use crate::setup::{World, cmd, index, kind, queries, table, values};

#[tokio::test(flavor = "multi_thread")]
async fn every_action_is_described_and_others_are_refused() {
    let world = World::of(vec![("docs", index(100))]).await;
    let types: Vec<_> = world
        .client
        .clone()
        .list_actions(Request::new(Empty {}))
        .await
        .unwrap()
        .into_inner()
        .try_collect()
        .await
        .unwrap();
    for action in &types {
        assert!(!action.description.is_empty());
        // Each of them is there: with a body that says nothing it works, or says what is missing.
        if let Err(refused) = world.act(&action.r#type, "").await {
            assert!(!refused.message().starts_with("action:"), "{refused:?}");
        }
    }
    assert_eq!(
        kind(&world.act("explode", "").await.unwrap_err()),
        (Code::InvalidArgument, "InvalidParameter".into())
    );
    for (name, body) in [("list", "{"), ("stats", r#"{"name": 1}"#), ("health", "[1]"), ("recall", "{}")] {
        assert_eq!(kind(&world.act(name, body).await.unwrap_err()).1, "InvalidParameter", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_told() {
    let world = World::of(vec![("docs", index(100)), ("more", index(50))]).await;
    let health = world.ask("health", &json!({})).await.unwrap();
    assert_eq!((&health["status"], &health["indexes"]), (&json!("ok"), &json!(2)));
    let listed = world.ask("list", &json!({"prefix": "d"})).await.unwrap();
    assert_eq!(listed, json!({"collections": ["docs"]}));
    let stats = world.ask("stats", &json!({"collection": "docs"})).await.unwrap();
    assert_eq!(
        (&stats["rows"], &stats["dim"], &stats["bits"], &stats["metric"], &stats["vectors"]),
        (&json!(100), &json!(8), &json!(1), &json!("l2sq"), &json!(true))
    );
    let all = world.ask("stats", &json!({})).await.unwrap();
    assert_eq!(all["collections"]["docs"], stats);
    assert_eq!(all["collections"]["more"]["rows"], 50);
    assert_eq!(
        kind(&world.ask("stats", &json!({"collection": "nope"})).await.unwrap_err()).0,
        Code::NotFound
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn recall_is_measured_on_rows_or_on_queries() {
    let world = World::of(vec![("docs", index(2000))]).await;
    let told = world.ask("recall", &json!({"collection": "docs", "n": 50, "recall": 0.9})).await.unwrap();
    assert_eq!(told["queries"], 50);
    assert!(told["recall"].as_f64().unwrap() > 0.7, "{told}");
    let ask = json!({"collection": "docs", "k": 5, "recall": 1.0, "queries": queries(&values(7, 5))});
    let told = world.ask("recall", &ask).await.unwrap();
    assert_eq!((&told["queries"], &told["recall"]), (&json!(7), &json!(1.0)));
    for n in [0, 1_000_000] {
        let ask = json!({"collection": "docs", "n": n});
        assert_eq!(kind(&world.ask("recall", &ask).await.unwrap_err()).1, "InvalidParameter");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_compacted_saved_and_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = Catalog::new(None, Some(folder.path().to_owned()));
    let world = World::with(catalog, vec![("memory", index(50))], Config::default()).await;
    world.put(&json!({"build": {"collection": "docs"}}), vec![table(0..200, 1)]).await.unwrap();
    world.put(&json!({"append": {"collection": "docs"}}), vec![table(500..510, 2)]).await.unwrap();
    let file = folder.path().join("docs.rbpx");
    assert_eq!(Index::open(&file, true).unwrap().len(), 200);
    let told = world.ask("compact", &json!({"collection": "docs", "save": true})).await.unwrap();
    assert_eq!((&told["rows"], &told["saved"]), (&json!(210), &json!(true)));
    assert_eq!(Index::open(&file, true).unwrap().len(), 210);
    let refused = world.ask("compact", &json!({"collection": "memory", "save": true})).await.unwrap_err();
    assert_eq!(kind(&refused).1, "InvalidParameter");
    for name in ["docs", "memory"] {
        assert_eq!(world.ask("drop", &json!({"collection": name})).await.unwrap(), json!({"dropped": true}));
        assert_eq!(
            kind(&world.ask("drop", &json!({"collection": name})).await.unwrap_err()).0,
            Code::NotFound
        );
    }
    assert!(!file.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_built_of_another_one() {
    let world = World::of(vec![("docs", index(500))]).await;
    let ask = json!({"collection": "again", "from": "docs", "metric": "ip", "bits": 3});
    let results = world.act("build", ask.to_string()).await.unwrap();
    assert_eq!(results.len(), 2);
    let begun: Value = serde_json::from_slice(&results[0]).unwrap();
    let job = world.ask("job", &begun).await.unwrap();
    assert_eq!(
        (&job["state"], &job["progress"], &job["outcome"]["rows"]),
        (&json!("done"), &json!(1.0), &json!(500))
    );
    let snapshot = world.live("again").snapshot();
    assert_eq!((snapshot.len(), snapshot.index().bits()), (500, 3));
    assert!(snapshot.contains(ruvector_core::ids::Id::Int64(1000)));
    for ask in [
        json!({"collection": "again", "from": "docs"}),
        json!({"collection": "x"}),
        json!({"collection": "x", "from": "nope"}),
        json!({"collection": "x", "from": "docs", "column": "v"}),
        json!({"collection": "../x", "from": "docs"}),
    ] {
        assert!(world.act("build", ask.to_string()).await.is_err(), "{ask}");
    }
    assert_eq!(kind(&world.ask("job", &json!({"job": "99"})).await.unwrap_err()).0, Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_build_is_polled_to_its_end() {
    let world = World::of(vec![("docs", index(20_000))]).await;
    let ask = json!({"build": {"collection": "again", "from": "docs"}});
    let mut polled = world.poll(cmd(&ask)).await.unwrap();
    let mut before = 0;
    while let Some(descriptor) = polled.flight_descriptor.clone() {
        assert!(polled.expiration_time.is_some());
        assert!((0.0..=1.0).contains(&polled.progress.unwrap()));
        tokio::time::sleep(Duration::from_millis(50)).await;
        polled = world.poll(descriptor).await.unwrap();
        before += 1;
        assert!(before < 600);
    }
    assert!(before > 0);
    let info = polled.info.unwrap();
    assert_eq!((polled.progress, info.total_records), (Some(1.0), 20_000));
    assert_eq!(world.live("again").len(), 20_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_is_cancelled_and_leaves_nothing() {
    let world = World::of(vec![("docs", index(60_000))]).await;
    let ask = json!({"build": {"collection": "again", "from": "docs", "nlist": 2000}});
    let polled = world.poll(cmd(&ask)).await.unwrap();
    let descriptor = polled.flight_descriptor.unwrap();
    let info = FlightInfo::new().with_descriptor(descriptor.clone());
    let told =
        world.act("CancelFlightInfo", CancelFlightInfoRequest::new(info).encode_to_vec()).await.unwrap();
    let told = CancelFlightInfoResult::decode(told[0].clone()).unwrap();
    assert_eq!(told.status, CancelStatus::Cancelling as i32);
    for _ in 0..200 {
        match world.poll(descriptor.clone()).await {
            Ok(polled) => assert!(polled.flight_descriptor.is_some()),
            Err(refused) => {
                assert_eq!(refused.code(), Code::Cancelled);
                assert_eq!(world.server.catalog().names(), ["docs"]);
                return;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the build goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_are_few_at_once() {
    let world = World::of(vec![("docs", index(60_000))]).await;
    let mut refused = None;
    for at in 0..8 {
        let ask = json!({"build": {"collection": format!("again{at}"), "from": "docs", "nlist": 2000}});
        match world.poll(cmd(&ask)).await {
            Ok(_) => {}
            Err(status) => refused = Some(status),
        }
    }
    assert_eq!(kind(&refused.unwrap()), (Code::ResourceExhausted, "TooLarge".into()));
    for job in 0..4 {
        world.ask("job", &json!({"job": job.to_string(), "stop": true})).await.unwrap();
    }
}
