use ruvector_flight::{
    Catalog, Config,
    auth::{Token, Verb},
};
use serde_json::json;
use tonic::Code;

use crate::setup::{World, cmd, index, kind, path, queries, table, values};

async fn world() -> World {
    let token = |who: &str, collections: Option<Vec<String>>, verbs: Vec<Verb>| Token {
        secret: format!("secret-of-{who}"),
        principal: who.into(),
        collections,
        verbs,
    };
    let tokens = vec![
        token("reader", Some(vec!["docs".into(), "my*".into()]), vec![Verb::Search, Verb::Read]),
        token("writer", Some(vec!["docs".into()]), vec![Verb::Write]),
        token("root", None, Verb::ALL.to_vec()),
        token("other", None, Verb::ALL.to_vec()),
    ];
    let config = Config { tokens, ..Config::default() };
    let indexes = vec![("docs", index(50)), ("myown", index(50)), ("secret", index(50))];
    World::with(Catalog::new(None, None), indexes, config).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_must_not_know_of_is_what_there_is_not() {
    let mut world = world().await;
    world.with_token("secret-of-reader");
    let some = queries(&values(1, 1));
    let asks = |name: &str| {
        vec![
            json!({"search": {"collection": name, "queries": some}}),
            json!({"scan": {"collection": name}}),
            json!({"index": {"collection": name}}),
            json!({"neighbours": {"collection": name}}),
            json!({"scan": {"collection": name, "generation": "x"}}),
        ]
    };
    for (there, not) in asks("secret").iter().zip(asks("nothere")) {
        let (one, two) = (world.get(there).await.unwrap_err(), world.get(&not).await.unwrap_err());
        assert_eq!(kind(&one), (Code::NotFound, "UnknownCollection".into()));
        assert_eq!(one.message().replace("secret", "nothere"), two.message());
        assert_eq!(kind(&world.info(cmd(there)).await.unwrap_err()), kind(&one));
    }
    let refused =
        world.put(&json!({"append": {"collection": "secret"}}), vec![table(0..1, 1)]).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let refused = world.ask("stats", &json!({"collection": "secret"})).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let listed = world.flights("").await.unwrap();
    let names: Vec<_> =
        listed.into_iter().map(|info| info.flight_descriptor.unwrap().path.join("/")).collect();
    assert_eq!(names, ["docs", "myown"]);
    assert_eq!(world.ask("list", &json!({})).await.unwrap(), json!({"collections": ["docs", "myown"]}));
    let stats = world.ask("stats", &json!({})).await.unwrap();
    assert_eq!(stats["collections"].as_object().unwrap().len(), 2);
    assert_eq!(world.ask("health", &json!({})).await.unwrap()["indexes"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn verbs_that_are_not_allowed_are_refused() {
    let mut world = world().await;
    let denied = (Code::PermissionDenied, "PolicyDenied".to_owned());
    world.with_token("secret-of-reader");
    for verb in ["append", "upsert", "delete"] {
        let refused = world.put(&json!({verb: {"collection": "docs"}}), vec![table(0..1, 1)]).await;
        assert_eq!(kind(&refused.unwrap_err()), denied);
    }
    let refused = world.put(&json!({"build": {"collection": "mynew"}}), vec![table(0..50, 1)]).await;
    assert_eq!(kind(&refused.unwrap_err()), denied);
    for (action, body) in [
        ("compact", json!({"collection": "docs"})),
        ("drop", json!({"collection": "docs"})),
        ("build", json!({"collection": "mynew", "from": "docs"})),
    ] {
        assert_eq!(kind(&world.ask(action, &body).await.unwrap_err()), denied, "{action}");
    }
    let ask = json!({"build": {"collection": "mynew", "from": "docs"}});
    assert_eq!(kind(&world.poll(cmd(&ask)).await.unwrap_err()), denied);
    world.with_token("secret-of-writer");
    world.put(&json!({"append": {"collection": "docs"}}), vec![table(0..1, 1)]).await.unwrap();
    for ask in [
        json!({"scan": {"collection": "docs"}}),
        json!({"index": {"collection": "docs"}}),
        json!({"neighbours": {"collection": "docs"}}),
    ] {
        assert_eq!(kind(&world.get(&ask).await.unwrap_err()), denied);
    }
    assert_eq!(kind(&world.info(path("docs")).await.unwrap_err()), denied);
    assert_eq!(kind(&world.flights("").await.unwrap_err()), denied);
    for (action, body) in
        [("list", json!({})), ("stats", json!({})), ("recall", json!({"collection": "docs"}))]
    {
        assert_eq!(kind(&world.ask(action, &body).await.unwrap_err()), denied, "{action}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_known_to_who_began_them_only() {
    let mut world = world().await;
    world.with_token("secret-of-root");
    let results = world.act("build", json!({"collection": "new", "from": "docs"}).to_string()).await.unwrap();
    let begun: serde_json::Value = serde_json::from_slice(&results[0]).unwrap();
    assert_eq!(world.ask("job", &begun).await.unwrap()["state"], "done");
    world.with_token("secret-of-other");
    assert_eq!(kind(&world.ask("job", &begun).await.unwrap_err()).0, Code::NotFound);
    assert_eq!(kind(&world.poll(cmd(&begun)).await.unwrap_err()).0, Code::NotFound);
    world.with_token("wrong");
    assert_eq!(world.ask("job", &begun).await.unwrap_err().code(), Code::Unauthenticated);
}
