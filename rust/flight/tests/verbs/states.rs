//! Streams and tickets stay in the state that they began in.

use std::sync::Arc;

use arrow_flight::{RenewFlightEndpointRequest, Ticket};
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use ruvector_core::{Live, ids::Ids};
use ruvector_flight::Source;
use serde_json::json;
use tonic::{Code, Request};

use crate::setup::{World, all_of, cmd, decoded, hits, ids, index, kind, path, queries, table, values};

#[tokio::test(flavor = "multi_thread")]
async fn the_generation_changes_when_rows_do_and_only_then() {
    let world = World::of(vec![("docs", index(100)), ("other", index(100))]).await;
    let generation = async |name| world.info(path(name)).await.unwrap().app_metadata;
    let first = generation("docs").await;
    assert_eq!(first, generation("docs").await);
    world.put(&json!({"append": {"collection": "other"}}), vec![table(0..1, 1)]).await.unwrap();
    assert_eq!(first, generation("docs").await);
    let mut seen = vec![first];
    for ask in [
        json!({"append": {"collection": "docs"}}),
        json!({"upsert": {"collection": "docs"}}),
        json!({"delete": {"collection": "docs"}}),
    ] {
        world.put(&ask, vec![table(0..2, 1)]).await.unwrap();
        let now = generation("docs").await;
        assert!(!seen.contains(&now), "{ask}");
        seen.push(now);
    }
    // Another index under the same name is another state, were it the same size at the same address.
    for _ in 0..5 {
        let pool = ruvector_core::Pool::new(Some(1)).unwrap();
        let vectors = crate::setup::vectors(values(50, 1));
        let built = ruvector_core::Index::build(
            vectors,
            None,
            &ruvector_core::index::BuildParams::default(),
            &pool,
            &ruvector_core::Unwatched,
        );
        let source = Source::Index(Arc::new(Live::new(built.unwrap())));
        world.server.catalog().put("docs", source, None).unwrap();
        let now = generation("docs").await;
        assert!(!seen.contains(&now));
        seen.push(now);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_of_one_info_are_of_one_state_whatever_happens_then() {
    for what in ["changed", "replaced", "dropped"] {
        let world = World::of(vec![("docs", index(300))]).await;
        let scan = json!({"scan": {"collection": "docs", "parts": 2}});
        let search = json!({"search": {"collection": "docs", "k": 1, "exact": true, "queries": queries(&values(1, 1))}});
        let index_ask = json!({"index": {"collection": "docs", "keep": "none"}});
        let rows = world.info(cmd(&scan)).await.unwrap();
        let found = world.info(cmd(&search)).await.unwrap();
        let file = world.info(cmd(&index_ask)).await.unwrap();
        match what {
            "changed" => {
                world.live("docs").delete(&Ids::Int64((1000..1200).collect::<Vec<_>>().into())).unwrap();
            }
            "replaced" => {
                let other = Source::Index(Arc::new(Live::new(index(10))));
                world.server.catalog().put("docs", other, None).unwrap();
            }
            _ => assert!(world.server.catalog().remove("docs")),
        }
        assert_eq!(ids(&all_of(&world, &rows).await, "id").len(), 300, "{what}");
        assert_eq!(hits(&all_of(&world, &found).await), [Some(vec![1000])], "{what}");
        let batches = all_of(&world, &file).await;
        assert_eq!(ruvector_core::Index::from_batches(&batches).unwrap().len(), 300, "{what}");
        // Who asks anew gets the present state.
        match world.info(cmd(&scan)).await {
            Ok(now) => assert_ne!(now.app_metadata, rows.app_metadata),
            Err(refused) => assert_eq!((what, refused.code()), ("dropped", Code::NotFound)),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_under_way_keeps_its_state() {
    let world = World::of(vec![("docs", index(40_000))]).await;
    let ticket = Ticket::new(json!({"scan": {"collection": "docs"}}).to_string());
    let mut stream = world.client.clone().do_get(Request::new(ticket)).await.unwrap().into_inner();
    let first = vec![stream.next().await.unwrap().unwrap()];
    world.live("docs").delete(&Ids::Int64((1000..30_000).collect::<Vec<_>>().into())).unwrap();
    assert!(world.server.catalog().remove("docs"));
    let rest: Vec<_> = stream.try_collect().await.unwrap();
    let rows = decoded(first.into_iter().chain(rest).collect()).await.unwrap();
    assert_eq!(ids(&rows, "id").len(), 40_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_nobody_holds_is_superseded_and_one_that_is_held_can_be_held_longer() {
    let world = World::of(vec![("docs", index(100))]).await;
    let info = world.info(path("docs")).await.unwrap();
    let endpoint = info.endpoint[0].clone();
    let request = RenewFlightEndpointRequest { endpoint: Some(endpoint.clone()) }.encode_to_vec();
    let told = world.act("RenewFlightEndpoint", request).await.unwrap();
    let renewed = arrow_flight::FlightEndpoint::decode(told[0].clone()).unwrap();
    assert_eq!(renewed.ticket, endpoint.ticket);
    let seconds = |endpoint: &arrow_flight::FlightEndpoint| endpoint.expiration_time.unwrap().seconds;
    assert!(seconds(&renewed) >= seconds(&endpoint));
    let ask = json!({"scan": {"collection": "docs", "generation": "of-long-ago"}});
    assert_eq!(kind(&world.get(&ask).await.unwrap_err()), (Code::Aborted, "Superseded".into()));
    let refused = world.act("RenewFlightEndpoint", vec![1, 2, 3]).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn flights_are_listed_by_the_beginning_of_their_names() {
    let world = World::of(vec![("docs", index(10)), ("docs2", index(20)), ("x", index(30))]).await;
    let listed = world.flights("docs").await.unwrap();
    let found: Vec<_> = listed
        .iter()
        .map(|info| (info.flight_descriptor.clone().unwrap().path.join("/"), info.total_records))
        .collect();
    assert_eq!(found, [("docs".into(), 10), ("docs2".into(), 20)]);
    assert_eq!(world.flights("").await.unwrap().len(), 3);
    let schema = world.schema(path("docs")).await.unwrap();
    assert_eq!(schema, listed[0].clone().try_decode_schema().unwrap());
}
