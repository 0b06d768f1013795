//! What one client may take of the server, and that it takes it from nobody else.

use std::{sync::Arc, time::Duration};

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_flight::FlightData;
use bytes::Bytes;
use futures::{StreamExt, channel::mpsc, stream};
use ruvector_flight::{
    Config,
    auth::{Token, Verb},
};
use tonic::{Code, Request, Status};

use crate::support::{
    ASK, Client, LONG, asking, connect, exchange, exchange_with, figures, gated, lives, queries, runtime,
    search, serve, until, with_token,
};

fn config() -> Config {
    Config { metrics: Some(([127, 0, 0, 1], 0).into()), ..Config::default() }
}

fn two_clients() -> Vec<Token> {
    let token = |name: &str| Token {
        secret: format!("secret-{name}"),
        principal: name.into(),
        collections: None,
        verbs: Verb::ALL.into(),
    };
    vec![token("ann"), token("bob")]
}

type Say = mpsc::UnboundedSender<FlightData>;

/// Messages, and then nothing until the other half is dropped.
fn held(messages: Vec<FlightData>) -> (Say, mpsc::UnboundedReceiver<FlightData>) {
    let (say, said) = mpsc::unbounded();
    for message in messages {
        say.unbounded_send(message).unwrap();
    }
    (say, said)
}

/// Messages, and then nothing, as long as the call lasts.
fn and_waits(messages: Vec<FlightData>) -> impl futures::Stream<Item = FlightData> + Send + 'static {
    stream::iter(messages).chain(stream::pending())
}

#[test]
fn messages_that_are_too_long_are_refused_both_ways() {
    let mut config = config();
    config.limits.message_bytes = 64 << 10;
    let server = serve(config);
    runtime().block_on(async {
        let mut client = connect(server.address()).await;
        let status = exchange(&mut client, asking(ASK, vec![queries(2000)]).await).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        assert_eq!(status.metadata().get("ruvector-error").unwrap(), "TooLarge");
        assert!(status.message().contains("expected at most 65536 bytes"), "{status}");
        // The second message, when the answer is under way.
        let messages = asking(ASK, vec![queries(2), queries(2000)]).await;
        let status = exchange(&mut client, messages).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        // A request of one message.
        let ticket = arrow_flight::Ticket { ticket: vec![b'x'; 100_000].into() };
        let status = client.do_get(ticket).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        search(&mut client, None).await.unwrap();
    });
    assert!(server.stop());
    let mut config = self::config();
    config.limits.message_bytes = 2 << 10;
    let server = serve(config);
    runtime().block_on(async {
        let ask = r#"{"search": {"collection": "docs", "k": 300, "exact": true}}"#;
        let messages = asking(ask, vec![queries(1)]).await;
        let status = exchange(&mut connect(server.address()).await, messages).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        lives(&server).await;
    });
    assert!(server.stop());
}

#[test]
fn calls_of_one_client_are_limited_and_given_back() {
    let mut config = Config { tokens: two_clients(), ..config() };
    config.limits.client_calls = 2;
    let server = serve(config);
    runtime().block_on(async {
        let mut client = connect(server.address()).await;
        let mut open = Vec::new();
        for _ in 0..2 {
            let (say, messages) = held(asking(ASK, vec![queries(1)]).await);
            let call = client.do_exchange(with_token(messages, "secret-ann")).await;
            let mut answers = call.unwrap().into_inner();
            answers.message().await.unwrap().unwrap();
            open.push((say, answers));
        }
        let status = search(&mut client, Some("secret-ann")).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.message().contains("at most 2"), "{status}");
        search(&mut client, Some("secret-bob")).await.unwrap();
        drop(open);
        let end = tokio::time::Instant::now() + LONG;
        while let Err(status) = search(&mut client, Some("secret-ann")).await {
            assert_eq!(status.code(), Code::ResourceExhausted);
            assert!(tokio::time::Instant::now() < end, "calls that were dropped are still counted");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(server.stop());
}

#[test]
fn calls_of_a_client_with_little_room_do_not_starve_each_other() {
    let mut config = config();
    // Two requests fit, or two answers.
    config.limits.client_bytes = 400 << 10;
    let server = serve(config);
    runtime().block_on(async {
        let client = connect(server.address()).await;
        let messages = asking(ASK, vec![queries(2000); 4]).await;
        let calls = (0..24).map(|_| {
            let (mut client, messages) = (client.clone(), messages.clone());
            tokio::spawn(async move { exchange(&mut client, messages).await })
        });
        for answer in futures::future::join_all(calls).await {
            let batches = answer.unwrap().unwrap();
            assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 4 * 2000 * 3);
        }
        let given_back = [
            "ruvector_flight_quota_bytes{kind=\"requests\"} 0\n",
            "ruvector_flight_quota_bytes{kind=\"answers\"} 0\n",
            "ruvector_flight_quota_bytes{kind=\"uploads\"} 0\n",
        ];
        figures(&server, &given_back).await;
    });
    assert!(server.stop());
}

/// Asks for more than fits into the window of HTTP/2, and reads nothing of it.
async fn slow_reader(client: &mut Client, token: &str) -> (Say, tonic::Streaming<FlightData>) {
    let ask = r#"{"search": {"collection": "docs", "k": 100, "exact": true}}"#;
    let (say, messages) = held(asking(ask, vec![queries(2000); 3]).await);
    let answers = client.do_exchange(with_token(messages, token)).await.unwrap().into_inner();
    tokio::time::sleep(Duration::from_millis(500)).await;
    (say, answers)
}

#[test]
fn who_reads_slowly_waits_alone() {
    let mut config = Config { tokens: two_clients(), ..config() };
    config.limits.client_bytes = 1 << 20;
    let server = serve(config);
    runtime().block_on(async {
        let mut client = connect(server.address()).await;
        let slow = slow_reader(&mut client, "secret-ann").await;
        let mut other = connect(server.address()).await;
        search(&mut other, Some("secret-bob")).await.unwrap();
        // The same client's next call has no room for its answer, and ends in time.
        let messages = futures::stream::iter(asking(ASK, vec![queries(4)]).await);
        let mut request = with_token(messages, "secret-ann");
        request.set_timeout(Duration::from_millis(700));
        let status = exchange_with(&mut other, request).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
        assert_eq!(status.metadata().get("ruvector-error").unwrap(), "DeadlineExceeded");
        drop(slow);
        search(&mut other, Some("secret-ann")).await.unwrap();
    });
    assert!(server.stop());
}

#[test]
fn deadlines_end_calls_that_wait_for_anything() {
    let mut config = config();
    config.limits.deadline = Some(Duration::from_millis(300));
    let server = serve(config);
    runtime().block_on(async {
        let mut client = connect(server.address()).await;
        let schema = asking(ASK, vec![queries(1)]).await.remove(0);
        for (what, messages) in [
            ("for the first message", vec![]),
            ("for the schema", vec![FlightData { data_header: Bytes::new(), ..schema.clone() }]),
            ("for a batch", vec![schema]),
            ("for the next batch", asking(ASK, vec![queries(1)]).await),
        ] {
            let status = exchange_with(&mut client, Request::new(and_waits(messages))).await.unwrap_err();
            assert_eq!(status.code(), Code::DeadlineExceeded, "{what}: {status}");
        }
        // A client that never stops to send is stopped as well.
        let batches = asking(ASK, vec![queries(50)]).await;
        let endless = stream::iter(batches.clone()).chain(stream::repeat(batches[1].clone()));
        let status: Status = exchange_with(&mut client, Request::new(endless)).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
        search(&mut client, None).await.unwrap();
    });
    assert!(server.stop());
}

#[test]
fn a_deadline_that_cannot_be_read_is_refused() {
    let server = serve(config());
    runtime().block_on(async {
        let mut client = connect(server.address()).await;
        for said in ["", "S", "123456789S", "1x", "-1S", "1.5S"] {
            let mut request = Request::new(stream::iter(asking(ASK, vec![queries(1)]).await));
            request.metadata_mut().insert("grpc-timeout", said.parse().unwrap());
            let status = exchange_with(&mut client, request).await.unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{said}: {status}");
        }
    });
    assert!(server.stop());
}

#[test]
fn a_call_whose_client_goes_away_stops_what_it_computes() {
    let (server, gate) = gated(config());
    runtime().block_on(async {
        // Both ways to go: a call that is cancelled, and a connection that is closed.
        for at in 0..2 {
            let mut client = connect(server.address()).await;
            let mut keeps = client.clone();
            let ask = ASK.replace("docs", &format!("gated/{at}"));
            let messages = asking(&ask, vec![queries(1)]).await;
            let call = tokio::spawn(async move { exchange(&mut client, messages).await });
            until("it computes", || gate.waiting() > at).await;
            call.abort();
            if at == 0 {
                search(&mut keeps, None).await.unwrap();
            } else {
                drop(keeps);
            }
            figures(&server, &["ruvector_flight_calls_under_way 0\n"]).await;
        }
        figures(&server, &[r#"calls_total{method="DoExchange",code="CANCELLED"} 2"#]).await;
    });
    gate.open();
    assert!(server.stop());
}

#[test]
fn long_texts_are_not_repeated_for_every_hit() {
    let mut config = config();
    config.limits.client_bytes = 64 << 20;
    let server = serve(config);
    runtime().block_on(async {
        let batch = queries(1);
        let long: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(4 << 20)]));
        let batch = RecordBatch::try_new(batch.schema(), vec![Arc::clone(batch.column(0)), long]).unwrap();
        let ask = |k: usize| ASK.replace("\"k\": 3", &format!("\"k\": {k}"));
        let mut client = connect(server.address()).await;
        let status = exchange(&mut client, asking(&ask(300), vec![batch.clone()]).await).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        let answer = exchange(&mut client, asking(&ask(4), vec![batch]).await).await.unwrap();
        assert_eq!(answer.iter().map(RecordBatch::num_rows).sum::<usize>(), 4);
    });
    assert!(server.stop());
}
