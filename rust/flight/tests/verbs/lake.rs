use std::sync::Arc;

use ruvector_core::ids::Ids;
use ruvector_lake::{
    BackendOptions, Predicate, Result, RuLake,
    backend::LocalBackend,
    policy::{Decision, Policy, Request as Asked},
};
use serde_json::json;
use tonic::Code;

use crate::setup::{World, all_of, cmd, hits, ids, index, kind, path, queries, table, values, vectors};

fn backend() -> LocalBackend {
    let local = LocalBackend::new("memory");
    let ids = Ids::Int64((0..300).collect::<Vec<_>>().into());
    local.put_collection("docs", &ids, &vectors(values(300, 1))).unwrap();
    local
}

async fn world() -> (LocalBackend, World) {
    let local = backend();
    let lake = RuLake::builder().build().unwrap();
    lake.register_backend(Arc::new(local.clone()), BackendOptions::default()).unwrap();
    (local, World::with_lake(lake, vec![("own", index(10))]).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn collections_of_a_lake_are_searched_scanned_and_listed() {
    let (_, world) = world().await;
    let ask = json!({"search": {"collection": "memory/docs", "k": 1, "exact": true, "queries": queries(&values(2, 1))}});
    assert_eq!(hits(&world.get(&ask).await.unwrap()), [Some(vec![0]), Some(vec![1])]);
    let ask = json!({"within": {"collection": "memory/docs", "radius": 0.0, "exact": true, "queries": queries(&values(1, 1))}});
    assert_eq!(hits(&world.get(&ask).await.unwrap()), [Some(vec![0])]);
    let ask = json!({"scan": {"collection": "memory/docs", "columns": ["id"], "where": [[["id", "<", 5]]]}});
    assert_eq!(ids(&world.get(&ask).await.unwrap(), "id"), [0, 1, 2, 3, 4]);
    let listed = world.flights("").await.unwrap();
    let names: Vec<_> =
        listed.into_iter().map(|info| info.flight_descriptor.unwrap().path.join("/")).collect();
    assert_eq!(names, ["memory/docs", "own"]);
    let batches = world.get(&json!({"index": {"collection": "memory/docs"}})).await.unwrap();
    assert_eq!(ruvector_core::Index::from_batches(&batches).unwrap().len(), 300);
    let stats = world.ask("stats", &json!({"collection": "memory/docs"})).await.unwrap();
    assert_eq!(stats["rows"], 300);
    assert_eq!(world.ask("stats", &json!({})).await.unwrap()["lake"]["entries"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_state_that_is_gone_are_not_those_of_another() {
    let (local, world) = world().await;
    let info = world.info(path("memory/docs")).await.unwrap();
    assert_eq!(info.total_records, 300);
    assert_eq!(ids(&all_of(&world, &info).await, "id").len(), 300);
    local.delete("docs", &Ids::Int64(vec![7].into())).unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    assert_eq!(kind(&world.get_of(ticket).await.unwrap_err()), (Code::Aborted, "Superseded".into()));
    let now = world.info(path("memory/docs")).await.unwrap();
    assert_ne!(now.app_metadata, info.app_metadata);
    assert_eq!(now.total_records, 299);
    // Answers come from the index of the state that was told of.
    let ask = json!({"search": {"collection": "memory/docs", "k": 1, "exact": true, "queries": queries(&values(1, 1))}});
    let info = world.info(cmd(&ask)).await.unwrap();
    local.delete("docs", &Ids::Int64(vec![0].into())).unwrap();
    assert_eq!(hits(&all_of(&world, &info).await), [Some(vec![0])]);
    assert_ne!(hits(&world.get(&ask).await.unwrap()), [Some(vec![0])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_is_not_written_to() {
    let (_, world) = world().await;
    for verb in ["append", "upsert", "delete"] {
        let refused =
            world.put(&json!({verb: {"collection": "memory/docs"}}), vec![table(900..910, 1)]).await;
        assert_eq!(kind(&refused.unwrap_err()), (Code::InvalidArgument, "InvalidParameter".into()));
    }
    for verb in ["compact", "drop"] {
        let refused = world.ask(verb, &json!({"collection": "memory/docs"})).await.unwrap_err();
        assert_eq!(kind(&refused).1, "InvalidParameter");
    }
    let results = world.act("build", json!({"collection": "copy", "from": "memory/docs"}).to_string()).await;
    assert_eq!(results.unwrap().len(), 2);
    assert_eq!(world.live("copy").len(), 300);
    for name in ["memory/nope", "nope/docs"] {
        let refused = world.info(path(name)).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound, "{refused:?}");
    }
}

/// Everybody sees the rows below a number of their own.
struct Below;

impl Policy for Below {
    fn decide(&self, request: &Asked<'_>) -> Result<Decision> {
        use ruvector_lake::predicate::{Comparison, Condition, Value};
        let most = if request.principal == Some("anna") { 10 } else { 20 };
        let rows = Predicate::all([Condition::compare("id", Comparison::Less, Value::Integer(most))]);
        Ok(Decision { rows, ..Decision::allowed() })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_sees_what_the_policy_lets_them_see() {
    use ruvector_flight::{
        Catalog, Config,
        auth::{Token, Verb},
    };
    let lake = RuLake::builder().policy(Arc::new(Below)).build().unwrap();
    lake.register_backend(Arc::new(backend()), BackendOptions::default()).unwrap();
    let token = |who: &str| Token {
        secret: format!("secret-of-{who}"),
        principal: who.into(),
        collections: None,
        verbs: Verb::ALL.to_vec(),
    };
    let config = Config { tokens: vec![token("anna"), token("ben")], ..Config::default() };
    let mut world = World::with(Catalog::new(Some(lake), None), Vec::new(), config).await;
    let mut seen = Vec::new();
    for who in ["anna", "ben", "anna"] {
        world.with_token(&format!("secret-of-{who}"));
        let info = world.info(path("memory/docs")).await.unwrap();
        let rows = ids(&all_of(&world, &info).await, "id").len();
        let batches = world.get(&json!({"index": {"collection": "memory/docs"}})).await.unwrap();
        let sent = ruvector_core::Index::from_batches(&batches).unwrap().len();
        let all = json!({"search": {"collection": "memory/docs", "k": 300, "exact": true, "queries": queries(&values(1, 1))}});
        let found = hits(&world.get(&all).await.unwrap())[0].as_ref().unwrap().len();
        seen.push((info.total_records, rows, sent, found));
    }
    assert_eq!(seen, [(10, 10, 10, 10), (20, 20, 20, 20), (10, 10, 10, 10)]);
}
