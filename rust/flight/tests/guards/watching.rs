//! What the server tells of itself: figures and the log.

use ruvector_flight::{Config, config::LogTo};
use serde_json::Value;

use crate::support::{ASK, asking, connect, exchange, page, queries, runtime, search, serve};

#[test]
fn figures_are_read_over_http() {
    let server = serve(Config { metrics: Some(([127, 0, 0, 1], 0).into()), ..Config::default() });
    runtime().block_on(async {
        let mut client = connect(server.address()).await;
        search(&mut client, None).await.unwrap();
        let ask = ASK.replace("docs", "absent");
        exchange(&mut client, asking(&ask, vec![queries(1)]).await).await.unwrap_err();
        drop(client);
        let over = ["ruvector_flight_connections 0\n", "ruvector_flight_calls_under_way 0\n"];
        let text = crate::support::figures(&server, &over).await;
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(text.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{text}");
        for line in [
            r#"ruvector_flight_calls_total{method="DoExchange",code="OK"} 1"#,
            r#"ruvector_flight_calls_total{method="DoExchange",code="NOT_FOUND"} 1"#,
            r#"ruvector_flight_call_seconds_count{method="DoExchange"} 2"#,
            "ruvector_flight_connections_total 1",
            r#"ruvector_index_rows{collection="docs"} 300"#,
            r#"ruvector_flight_quota_bytes{kind="answers"} 0"#,
            "ruvector_flight_log_lines_dropped_total 0",
        ] {
            assert!(text.lines().any(|found| found == line), "no line {line} in\n{text}");
        }
        let bytes = |family: &str| {
            let line = text.lines().find(|line| line.starts_with(family)).unwrap();
            line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
        };
        // Four queries of 16 floats, and twelve hits.
        assert!(bytes("ruvector_flight_received_bytes_total{") > 256.0);
        assert!(bytes("ruvector_flight_sent_bytes_total{") > 240.0);
        assert!(page(&server, "/healthz").await.ends_with("\r\n\r\nok\n"));
        assert!(page(&server, "/other").await.starts_with("HTTP/1.1 404"));
    });
    assert!(server.stop());
}

#[test]
fn each_call_is_a_line_of_json() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let server = serve(Config { log: LogTo::File(path.clone()), ..Config::default() });
    runtime().block_on(async {
        let mut client = connect(server.address()).await;
        search(&mut client, None).await.unwrap();
        let ask = ASK.replace("docs", "no\\n\\\"such");
        exchange(&mut client, asking(&ask, vec![queries(1)]).await).await.unwrap_err();
        let long = ASK.replace("docs", &"x".repeat(50_000));
        exchange(&mut client, asking(&long, vec![queries(1)]).await).await.unwrap_err();
    });
    assert!(server.stop());
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["event"], "start");
    assert_eq!(lines.last().unwrap()["event"], "stop");
    let calls: Vec<&Value> = lines.iter().filter(|line| line.get("method").is_some()).collect();
    assert_eq!(calls.len(), 3, "{text}");
    let good = calls.iter().find(|line| line["code"] == "OK").unwrap();
    assert_eq!((&good["method"], &good["collection"]), (&"DoExchange".into(), &"docs".into()));
    assert_eq!(good["peer"], "127.0.0.1");
    assert!(good["bytes_in"].as_u64().unwrap() > 256 && good["bytes_out"].as_u64().unwrap() > 240);
    assert!(calls.iter().any(|line| line["collection"] == "no\n\"such"), "{text}");
    assert!(text.lines().all(|line| line.len() < 4096));
}
