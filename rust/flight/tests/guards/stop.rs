//! How a server ends.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, channel::mpsc, stream};
use ruvector_flight::{Config, config::LogTo};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tonic::{Code, Request};

use crate::support::{
    ASK, LONG, asking, connect, endpoint, gated, lives, queries, runtime, search, serve, until,
};

#[test]
fn streams_under_way_come_to_their_end_and_others_do_not_begin() {
    let server = serve(Config { drain: LONG, ..Config::default() });
    let address = server.address();
    runtime().block_on(async {
        let mut client = connect(address).await;
        let messages = asking(ASK, vec![queries(4), queries(4)]).await;
        let (say, said) = mpsc::unbounded();
        for message in &messages[..2] {
            say.unbounded_send(message.clone()).unwrap();
        }
        let mut answers = client.do_exchange(said).await.unwrap().into_inner();
        answers.message().await.unwrap().unwrap();
        answers.message().await.unwrap().unwrap();
        // Connections without calls hold nothing up.
        let mut silent = TcpStream::connect(address).await.unwrap();
        silent.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let stop = tokio::task::spawn_blocking(move || server.stop());
        let end = Instant::now() + LONG;
        loop {
            match search(&mut client.clone(), None).await {
                Err(status) if status.code() == Code::Unavailable => break,
                other => assert!(Instant::now() < end, "{other:?}"),
            }
        }
        assert!(endpoint(address).connect().await.is_err());
        assert!(!stop.is_finished());
        say.unbounded_send(messages[2].clone()).unwrap();
        let hits = answers.message().await.unwrap().unwrap();
        assert!(!hits.data_body.is_empty());
        drop(say);
        assert!(answers.message().await.unwrap().is_none());
        assert!(stop.await.unwrap(), "all of them ended");
        drop(silent);
    });
}

#[test]
fn what_does_not_end_in_time_is_cut() {
    let server = serve(Config { drain: Duration::from_millis(100), ..Config::default() });
    runtime().block_on(async {
        let mut client = connect(server.address()).await;
        let messages = stream::iter(asking(ASK, vec![queries(4)]).await).chain(stream::pending());
        let mut answers = client.do_exchange(Request::new(messages)).await.unwrap().into_inner();
        answers.message().await.unwrap().unwrap();
        let stopped = tokio::task::spawn_blocking(move || server.stop()).await.unwrap();
        assert!(!stopped);
        let rest = tokio::time::timeout(LONG, async { while let Ok(Some(_)) = answers.message().await {} });
        rest.await.expect("the stream is cut");
    });
}

#[test]
fn what_computes_is_cut_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let config =
        Config { drain: Duration::from_millis(50), log: LogTo::File(log.clone()), ..Config::default() };
    let (server, gate) = gated(config);
    runtime().block_on(async {
        let mut client = connect(server.address()).await;
        let messages = asking(&ASK.replace("docs", "gated/0"), vec![queries(1)]).await;
        let call = tokio::spawn(async move { crate::support::exchange(&mut client, messages).await });
        until("it computes", || gate.waiting() > 0).await;
        assert!(!tokio::task::spawn_blocking(move || server.stop()).await.unwrap());
        assert!(call.await.unwrap().is_err());
    });
    gate.open();
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.lines().last().unwrap().contains(r#""event":"stop""#), "{log}");
    assert!(log.contains(r#""cut":1"#), "{log}");
}

#[test]
fn servers_stop_and_are_dropped_on_threads_of_other_runtimes() {
    runtime().block_on(async {
        let server = serve(Config::default());
        lives(&server).await;
        assert!(server.stop());
        let server = serve(Config::default());
        lives(&server).await;
        let address = server.address();
        drop(server);
        let end = Instant::now() + LONG;
        while endpoint(address).connect().await.is_ok() {
            assert!(Instant::now() < end, "it still listens");
        }
    });
}

/// Runs alone in a process of its own: others would be counted.
#[test]
fn nothing_is_left_of_servers_that_ended() {
    const ALONE: &str = "RUVECTOR_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let name = "stop::nothing_is_left_of_servers_that_ended";
        let this = std::env::current_exe().unwrap();
        let done = std::process::Command::new(this).args(["--exact", name]).env(ALONE, "1").output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
        return;
    }
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let folder = tempfile::tempdir().unwrap();
    let round = |drops: bool| {
        let config = Config {
            log: LogTo::File(folder.path().join("log")),
            metrics: Some(([127, 0, 0, 1], 0).into()),
            ..Config::default()
        };
        let server = serve(config);
        let catalog = Arc::downgrade(server.catalog());
        let runtime = runtime();
        let client = runtime.block_on(async {
            let mut client = connect(server.address()).await;
            search(&mut client, None).await.unwrap();
            client
        });
        if drops {
            drop(server);
        } else {
            assert!(server.stop());
        }
        drop(client);
        drop(runtime);
        let end = Instant::now() + LONG;
        while catalog.strong_count() > 0 {
            assert!(Instant::now() < end, "what was served is still there");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    round(true);
    let (before, open) = (threads(), files());
    for at in 0..10 {
        round(at % 2 == 0);
    }
    let end = Instant::now() + LONG;
    while threads() > before || files() > open {
        let (threads, files) = (threads(), files());
        assert!(Instant::now() < end, "{threads} threads and {files} files, {before} and {open} before");
        std::thread::sleep(Duration::from_millis(20));
    }
}
