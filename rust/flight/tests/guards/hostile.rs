//! Streams and connections that are not what they say.

use std::sync::Arc;

use arrow_array::{
    Array, DictionaryArray, FixedSizeListArray, Int32Array, RecordBatch, RecordBatchOptions, StringArray,
    types::Int8Type,
};
use arrow_flight::{FlightData, FlightDescriptor};
use arrow_ipc::{
    CompressionType,
    writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions},
};
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use ruvector_flight::{Config, Server};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::{Code, Status};

use crate::support::{ASK, Client, DIM, asking, connect, exchange, lives, queries, runtime, search, serve};

/// Memory that this process has taken from the system, in KiB.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// What it costs to be refused: a code, and a server that answers the next one.
async fn refused(server: &Server, what: &str, messages: Vec<FlightData>) -> Status {
    let mut client = connect(server.address()).await;
    let status = exchange(&mut client, messages).await.map(|_| ()).expect_err(what);
    search(&mut client, None).await.unwrap_or_else(|status| panic!("after {what}: {status}"));
    status
}

#[test]
fn streams_that_break_the_protocol_are_refused() {
    let server = serve(Config::default());
    runtime().block_on(async {
        let good = asking(ASK, vec![queries(4)]).await;
        let [schema, batch] = &good[..] else { panic!("a schema and a batch") };
        let bare = |message: &FlightData| FlightData { flight_descriptor: None, ..message.clone() };
        let described = |message: &FlightData| FlightData {
            flight_descriptor: schema.flight_descriptor.clone(),
            ..message.clone()
        };
        let header =
            |message: &FlightData, header: Bytes| FlightData { data_header: header, ..message.clone() };
        let of_type = |kind: i32| {
            let descriptor = FlightDescriptor { r#type: kind, ..FlightDescriptor::new_cmd(ASK) };
            FlightData { flight_descriptor: Some(descriptor), ..bare(schema) }
        };
        let body = |bytes: usize| FlightData { data_body: batch.data_body.slice(..bytes), ..batch.clone() };
        let lone = described(&FlightData::default());
        for (what, messages) in [
            ("nothing", vec![]),
            ("no descriptor", vec![bare(schema), batch.clone()]),
            ("an unknown kind of descriptor", vec![of_type(0), batch.clone()]),
            ("a kind of descriptor that is none", vec![of_type(77), batch.clone()]),
            ("a descriptor alone", vec![lone.clone()]),
            ("many messages of nothing", vec![lone; 1000]),
            ("a batch before the schema", vec![described(batch), batch.clone()]),
            ("a second schema", vec![schema.clone(), batch.clone(), bare(schema)]),
            ("a header that is cut", vec![schema.clone(), header(batch, batch.data_header.slice(..20))]),
            ("a header of zeros", vec![schema.clone(), header(batch, vec![0; 64].into())]),
            ("a header of ones", vec![schema.clone(), header(batch, vec![0xff; 64].into())]),
            ("a body without a header", vec![schema.clone(), header(batch, Bytes::new())]),
            ("a body that is cut", vec![schema.clone(), body(100)]),
            ("no body", vec![schema.clone(), body(0)]),
            ("a schema that is cut", vec![header(schema, schema.data_header.slice(..40)), batch.clone()]),
        ] {
            let status = refused(&server, what, messages).await;
            assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status}");
            assert_eq!(status.metadata().get("ruvector-error").unwrap(), "InvalidParameter", "{what}");
        }
        // A message of nothing between others is none of these.
        let mut padded = vec![described(&FlightData::default()), bare(schema), FlightData::default()];
        padded.push(batch.clone());
        let answer = exchange(&mut connect(server.address()).await, padded).await.unwrap();
        assert_eq!(answer[0].num_rows(), 12);
    });
    assert!(server.stop());
}

#[test]
fn descriptors_that_ask_for_what_there_is_not_are_refused() {
    let server = serve(Config::default());
    runtime().block_on(async {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for (ask, code) in [
            ("", Code::InvalidArgument),
            ("nonsense", Code::InvalidArgument),
            ("{}", Code::InvalidArgument),
            (r#"{"destroy": {}}"#, Code::InvalidArgument),
            (r#"{"search": {"collection": "docs", "surprise": 1}}"#, Code::InvalidArgument),
            (r#"{"search": {"collection": "docs", "k": -1}}"#, Code::InvalidArgument),
            (r#"{"search": {"collection": "docs", "k": 1e300}}"#, Code::InvalidArgument),
            (r#"{"search": {"collection": "docs", "k": 18446744073709551615}}"#, Code::InvalidArgument),
            (r#"{"search": {"collection": "docs", "recall": 2}}"#, Code::InvalidArgument),
            (r#"{"search": {"collection": "docs", "recall": 0.9, "exact": true}}"#, Code::InvalidArgument),
            (r#"{"search": {"collection": "docs", "ids": [1, "two"]}}"#, Code::InvalidArgument),
            (r#"{"search": {"collection": "docs", "column": "absent"}}"#, Code::InvalidArgument),
            (r#"{"search": {"collection": "docs", "column": "name"}}"#, Code::InvalidArgument),
            (r#"{"search": {"collection": "other"}}"#, Code::NotFound),
            (r#"{"search": {}}"#, Code::NotFound),
            (&deep, Code::InvalidArgument),
            ("\u{0}\u{1}\u{2}", Code::InvalidArgument),
        ] {
            let status = refused(&server, ask, asking(ask, vec![queries(2)]).await).await;
            let shown: String = ask.chars().take(80).collect();
            assert_eq!(status.code(), code, "{shown}: {status}");
        }
    });
    assert!(server.stop());
}

#[test]
fn queries_that_are_none_are_refused() {
    let server = serve(Config::default());
    runtime().block_on(async {
        let of = |fields: Vec<Field>, columns: Vec<Arc<dyn Array>>| {
            let options = RecordBatchOptions::new().with_row_count(Some(2));
            RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options).unwrap()
        };
        let vectors = |size: i32, dim: usize, values: Vec<f32>| {
            let child = Arc::new(Field::new_list_field(DataType::Float32, true));
            let list = FixedSizeListArray::try_new_with_length(
                child,
                size,
                Arc::new(arrow_array::Float32Array::from(values)),
                None,
                2,
            );
            let list = list.unwrap();
            assert_eq!(list.value_length() as usize, dim);
            of(vec![Field::new("v", list.data_type().clone(), true)], vec![Arc::new(list)])
        };
        let mut nan = vec![0.5; 2 * DIM];
        nan[3] = f32::NAN;
        let numbers =
            of(vec![Field::new("v", DataType::Int32, true)], vec![Arc::new(Int32Array::from(vec![1, 2]))]);
        for (what, batch) in [
            ("no columns", of(vec![], vec![])),
            ("numbers", numbers),
            ("too few elements", vectors(3, 3, vec![0.5; 6])),
            ("no elements", vectors(0, 0, vec![])),
            ("not a number", vectors(DIM as i32, DIM, nan)),
        ] {
            let status = refused(&server, what, asking(ASK, vec![batch]).await).await;
            assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status}");
        }
    });
    assert!(server.stop());
}

/// All places of a header where this number of 64 bits stands.
fn places(header: &[u8], number: i64) -> Vec<usize> {
    let bytes = number.to_le_bytes();
    (0..header.len().saturating_sub(7)).filter(|&at| header[at..at + 8] == bytes).collect()
}

#[test]
fn claims_of_what_does_not_come_allocate_nothing() {
    let server = serve(Config::default());
    runtime().block_on(async {
        lives(&server).await;
        let good = asking(ASK, vec![queries(4)]).await;
        let before = peak();
        let header = &good[1].data_header;
        // Rows, bytes of vectors, rows of the child.
        let mut claimed = 0;
        for number in [4, (4 * DIM * 4) as i64, (4 * DIM) as i64] {
            for at in places(header, number) {
                for claim in [1_i64 << 40, 1 << 62, i64::MAX, -1, i64::MIN] {
                    let mut forged = header.to_vec();
                    forged[at..at + 8].copy_from_slice(&claim.to_le_bytes());
                    let forged = FlightData { data_header: forged.into(), ..good[1].clone() };
                    let status = refused(&server, "a claim", vec![good[0].clone(), forged]).await;
                    assert_eq!(status.code(), Code::InvalidArgument, "{number} at {at} as {claim}: {status}");
                    claimed += 1;
                }
            }
        }
        assert!(claimed >= 20, "{claimed}");
        // Lists of nothing need no bytes: their number is a claim as well.
        let child = Arc::new(Field::new_list_field(DataType::Float32, true));
        let none = Arc::new(arrow_array::Float32Array::from(Vec::<f32>::new()));
        let lists = FixedSizeListArray::try_new_with_length(child, 0, none, None, 1 << 40).unwrap();
        let fields = Schema::new(vec![Field::new("v", lists.data_type().clone(), true)]);
        let batch = RecordBatch::try_new(Arc::new(fields), vec![Arc::new(lists)]).unwrap();
        let status = refused(&server, "a row for each", asking(ASK, vec![batch]).await).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        // The kernel gathers the counts of threads now and then: its peak can read lower than before.
        let grown = peak().saturating_sub(before);
        assert!(grown < 256 << 10, "{grown} KiB");
    });
    assert!(server.stop());
}

#[test]
fn compressed_bodies_are_refused_whatever_they_claim() {
    let server = serve(Config::default());
    runtime().block_on(async {
        for kind in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
            let options = IpcWriteOptions::default().try_with_compression(Some(kind)).unwrap();
            let vectors = queries(4).project(&[0]).unwrap();
            let good = asking(ASK, vec![vectors.clone()]).await;
            // Without rows nothing needs to be compressed: the header says that it was.
            let none = vectors.slice(0, 0);
            let mut tracker = DictionaryTracker::new(false);
            let mut context = IpcWriteContext::default();
            let (_, encoded) =
                IpcDataGenerator::default().encode(&none, &mut tracker, &options, &mut context).unwrap();
            let messages = vec![good[0].clone(), FlightData::from(encoded)];
            let mut bomb = messages.clone();
            let mut body = (1_i64 << 40).to_le_bytes().to_vec();
            body.extend_from_slice(&[0; 120]);
            bomb.last_mut().unwrap().data_body = body.into();
            for messages in [messages, bomb] {
                let status = refused(&server, "a compressed body", messages).await;
                assert_eq!(status.code(), Code::InvalidArgument);
                assert!(status.message().contains("compressed"), "{status}");
            }
        }
    });
    assert!(server.stop());
}

fn with_dictionary(values: Vec<&str>) -> RecordBatch {
    let batch = queries(4);
    let keys: DictionaryArray<Int8Type> =
        DictionaryArray::new(vec![0_i8, 1, 2, 2].into(), Arc::new(StringArray::from(values)));
    let fields = vec![batch.schema().field(0).clone(), Field::new("kind", keys.data_type().clone(), true)];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![Arc::clone(batch.column(0)), Arc::new(keys)])
        .unwrap()
}

#[test]
fn dictionaries_that_do_not_fit_are_refused_and_others_stay_what_they_are() {
    let server = serve(Config::default());
    runtime().block_on(async {
        let good = asking(ASK, vec![with_dictionary(vec!["a", "b", "c"])]).await;
        let [schema, dictionary, batch] = &good[..] else { panic!("{}", good.len()) };
        let short = asking(ASK, vec![queries(4)]).await;
        let mut few = dictionary.clone();
        for at in places(&dictionary.data_header, 3) {
            let mut header = few.data_header.to_vec();
            header[at..at + 8].copy_from_slice(&1_i64.to_le_bytes());
            few.data_header = header.into();
        }
        let first = FlightData { flight_descriptor: schema.flight_descriptor.clone(), ..dictionary.clone() };
        for (what, messages) in [
            ("too few values", vec![schema.clone(), few, batch.clone()]),
            ("before the schema", vec![first, schema.clone(), batch.clone()]),
            ("of another schema", vec![short[0].clone(), dictionary.clone(), short[1].clone()]),
        ] {
            let status = refused(&server, what, messages).await;
            assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status}");
        }
        // One long value is not written out once per hit.
        let long = "x".repeat(1 << 20);
        let batch = with_dictionary(vec![&long, "b", "c"]);
        let answer =
            exchange(&mut connect(server.address()).await, asking(ASK, vec![batch]).await).await.unwrap();
        let column = answer[0].column_by_name("kind").unwrap();
        assert!(matches!(column.data_type(), DataType::Dictionary(..)));
        assert_eq!(column.len(), 12);
        assert!(column.get_array_memory_size() < 3 << 20, "{}", column.get_array_memory_size());
    });
    assert!(server.stop());
}

#[test]
fn dictionaries_count_against_what_a_client_may_keep() {
    let mut config = Config::default();
    config.limits.upload_bytes = 1 << 20;
    let server = serve(config);
    runtime().block_on(async {
        let long = "x".repeat(400 << 10);
        let good = asking(ASK, vec![with_dictionary(vec![&long, "b", "c"])]).await;
        let [schema, dictionary, batch] = &good[..] else { panic!("{}", good.len()) };
        let mut again = vec![schema.clone()];
        again.extend((0..10).flat_map(|_| [dictionary.clone(), batch.clone()]));
        // The same one again takes the place of the one before.
        assert_eq!(exchange(&mut connect(server.address()).await, again).await.unwrap().len(), 10);
        let longer = "x".repeat(2 << 20);
        let messages = asking(ASK, vec![with_dictionary(vec![&longer, "b", "c"])]).await;
        let status = refused(&server, "a long dictionary", messages).await;
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    });
    assert!(server.stop());
}

#[test]
fn any_byte_of_a_message_may_be_wrong() {
    let server = serve(Config::default());
    runtime().block_on(async {
        let good = asking(ASK, vec![with_dictionary(vec!["a", "b", "c"])]).await;
        let mut client = connect(server.address()).await;
        let mut refused = 0;
        for at in 0..good.len() {
            for byte in 0..good[at].data_header.len() {
                for flip in [0x01, 0x80, 0xff] {
                    let mut header = good[at].data_header.to_vec();
                    header[byte] ^= flip;
                    let mut messages = good.clone();
                    messages[at].data_header = header.into();
                    if let Err(status) = exchange(&mut client, messages).await {
                        let typed = matches!(status.code(), Code::InvalidArgument | Code::ResourceExhausted);
                        assert!(typed, "message {at}, byte {byte}, {flip:#x}: {status}");
                        refused += 1;
                    }
                }
            }
        }
        assert!(refused > 100, "{refused}");
        search(&mut client, None).await.unwrap();
    });
    assert!(server.stop());
}

#[test]
fn connections_that_speak_something_else_are_closed() {
    let mut config = Config { metrics: Some(([127, 0, 0, 1], 0).into()), ..Config::default() };
    config.limits.handshake = std::time::Duration::from_millis(300);
    let server = serve(config);
    runtime().block_on(async {
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let huge_frame = [&preface[..], &[0xff; 64]].concat();
        let garbage: Vec<u8> = (0..4096_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[0x5a; 300]].concat();
        for bytes in
            [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &hello, &garbage, &huge_frame, b"PRI * HTTP/2.0\r\n"]
        {
            let mut stream = TcpStream::connect(server.address()).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            let mut answer = Vec::new();
            let read = tokio::time::timeout(crate::support::LONG, stream.read_to_end(&mut answer));
            let _end = read.await.expect("it is closed");
            lives(&server).await;
        }
        let refused = [
            r#"connections_refused_total{reason="preface"} 3"#,
            r#"connections_refused_total{reason="timeout"} 1"#,
        ];
        crate::support::figures(&server, &refused).await;
    });
    assert!(server.stop());
}

#[test]
fn two_hundred_connections_and_as_many_that_say_nothing() {
    let server = serve(Config::default());
    runtime().block_on(async {
        let mut silent = Vec::new();
        for at in 0..400 {
            let mut stream = TcpStream::connect(server.address()).await.unwrap();
            if at % 2 == 0 {
                stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
            }
            silent.push(stream);
        }
        let mut clients: Vec<Client> = Vec::new();
        for _ in 0..200 {
            clients.push(connect(server.address()).await);
        }
        let searches = clients.iter_mut().map(|client| search(client, None));
        for done in futures::future::join_all(searches).await {
            done.unwrap();
        }
        drop(silent);
        lives(&server).await;
    });
    assert!(server.stop());
}
