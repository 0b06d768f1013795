//! A server with one small index, and clients of it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use arrow_array::{
    Array, FixedSizeListArray, Float32Array, Int64Array, RecordBatch, RecordBatchReader, StringArray,
};
use arrow_flight::{
    FlightData, FlightDescriptor,
    decode::FlightRecordBatchStream,
    encode::{DictionaryHandling, FlightDataEncoderBuilder},
    error::FlightError,
    flight_service_client::FlightServiceClient,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use futures::{Stream, StreamExt, TryStreamExt};
use ruvector_core::{Index, Live, Pool, Unwatched, Vectors, ids::Ids, index::BuildParams};
use ruvector_flight::{Catalog, Config, Server, Source};
use ruvector_lake::{
    Backend, BackendOptions, RuLake,
    backend::{Batches, LocalBackend, Pull, State},
};
use tokio::runtime::{Builder, Runtime};
use tonic::{
    Request, Status,
    transport::{Channel, Endpoint},
};

/// Elements per vector.
pub(crate) const DIM: usize = 16;
const ROWS: usize = 300;
/// No test waits longer for what must come.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) type Client = FlightServiceClient<Channel>;

/// Values that look random and are the same in every run.
pub(crate) fn values(rows: usize) -> Vec<f32> {
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
    };
    (0..rows * DIM).map(|_| next()).collect()
}

fn index() -> Arc<Live> {
    static INDEX: OnceLock<Arc<Live>> = OnceLock::new();
    let build = || {
        let vectors = Vectors::from_f32("v", DIM, values(ROWS).into()).unwrap();
        let pool = Pool::new(Some(1)).unwrap();
        let index = Index::build(vectors, None, &BuildParams::default(), &pool, &Unwatched).unwrap();
        Arc::new(Live::new(index))
    };
    Arc::clone(INDEX.get_or_init(build))
}

/// A server of the index `docs` and, by another name, `secret`.
pub(crate) fn serve(config: Config) -> Server {
    start(None, config)
}

fn start(lake: Option<RuLake>, config: Config) -> Server {
    let catalog = Catalog::new(lake, None);
    catalog.put("docs", Source::Index(index()), None).unwrap();
    catalog.put("secret", Source::Index(index()), None).unwrap();
    Server::start(Arc::new(catalog), config).unwrap()
}

pub(crate) fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

pub(crate) fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect_timeout(Duration::from_secs(10))
}

pub(crate) async fn connect(address: SocketAddr) -> Client {
    client(endpoint(address).connect().await.unwrap())
}

pub(crate) fn client(channel: Channel) -> Client {
    FlightServiceClient::new(channel).max_decoding_message_size(1 << 30).max_encoding_message_size(1 << 30)
}

/// The first rows of the index, as queries.
pub(crate) fn queries(rows: usize) -> RecordBatch {
    let child = Arc::new(Field::new_list_field(DataType::Float32, true));
    let vectors = Float32Array::from(values(rows));
    let vectors = FixedSizeListArray::new(child, DIM as i32, Arc::new(vectors), None);
    let names = StringArray::from_iter_values((0..rows).map(|row| format!("query {row}")));
    let fields =
        vec![Field::new("v", vectors.data_type().clone(), true), Field::new("name", DataType::Utf8, true)];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![Arc::new(vectors), Arc::new(names)]).unwrap()
}

pub(crate) const ASK: &str = r#"{"search": {"collection": "docs", "k": 3, "exact": true, "answer": "flat"}}"#;

/// Batches as messages, with the descriptor in the first.
pub(crate) async fn messages(descriptor: FlightDescriptor, batches: Vec<RecordBatch>) -> Vec<FlightData> {
    FlightDataEncoderBuilder::new()
        .with_flight_descriptor(Some(descriptor))
        .with_dictionary_handling(DictionaryHandling::Resend)
        .with_max_flight_data_size(1 << 30)
        .build(futures::stream::iter(batches.into_iter().map(Ok)))
        .try_collect()
        .await
        .unwrap()
}

pub(crate) async fn asking(ask: &str, batches: Vec<RecordBatch>) -> Vec<FlightData> {
    messages(FlightDescriptor::new_cmd(ask.to_owned()), batches).await
}

/// Sends messages and reads the answer to its end.
pub(crate) async fn exchange(
    client: &mut Client,
    messages: Vec<FlightData>,
) -> Result<Vec<RecordBatch>, Status> {
    exchange_with(client, Request::new(futures::stream::iter(messages))).await
}

pub(crate) async fn exchange_with<S>(
    client: &mut Client,
    request: Request<S>,
) -> Result<Vec<RecordBatch>, Status>
where
    S: Stream<Item = FlightData> + Send + 'static,
{
    let answers = tokio::time::timeout(LONG, client.do_exchange(request)).await.unwrap()?.into_inner();
    let answers = answers.map(|answer| answer.map_err(|status| FlightError::Tonic(Box::new(status))));
    let batches = FlightRecordBatchStream::new_from_flight_data(answers).try_collect();
    tokio::time::timeout(LONG, batches).await.unwrap().map_err(|error: FlightError| match error {
        FlightError::Tonic(status) => *status,
        other => panic!("an answer that is none: {other}"),
    })
}

pub(crate) fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

/// Searches for rows of the index, which must find themselves.
pub(crate) async fn search(client: &mut Client, token: Option<&str>) -> Result<(), Status> {
    let messages = futures::stream::iter(asking(ASK, vec![queries(4)]).await);
    let request = match token {
        Some(token) => with_token(messages, token),
        None => Request::new(messages),
    };
    let batches = exchange_with(client, request).await?;
    assert_eq!(batches.len(), 1);
    let ids = batches[0].column_by_name("id").unwrap();
    let ids = ids.as_any().downcast_ref::<Int64Array>().unwrap();
    assert_eq!(ids.len(), 12);
    assert_eq!([ids.value(0), ids.value(3), ids.value(6), ids.value(9)], [0, 1, 2, 3]);
    Ok(())
}

/// A new client gets good hits.
pub(crate) async fn lives(server: &Server) {
    search(&mut connect(server.address()).await, None).await.unwrap();
}

/// Waits until it is true.
pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = tokio::time::Instant::now() + LONG;
    while !done() {
        assert!(tokio::time::Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The page of figures.
pub(crate) async fn page(server: &Server, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(server.metrics_address().unwrap()).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

/// The page of figures once it holds all of them: a call is counted out only after its last message is sent.
pub(crate) async fn figures(server: &Server, expected: &[&str]) -> String {
    let end = tokio::time::Instant::now() + LONG;
    loop {
        let text = page(server, "/metrics").await;
        let missing = expected.iter().find(|figure| !text.contains(**figure));
        let Some(missing) = missing else { return text };
        assert!(tokio::time::Instant::now() < end, "no {missing} in\n{text}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What holds up the pulls of a backend.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<Mutex<(bool, usize)>>);

impl Gate {
    /// How many have come to it.
    pub(crate) fn waiting(&self) -> usize {
        self.0.lock().unwrap().1
    }

    /// Lets all through.
    pub(crate) fn open(&self) {
        self.0.lock().unwrap().0 = true;
    }
}

struct Gated(LocalBackend, Gate);

impl Backend for Gated {
    fn id(&self) -> &str {
        self.0.id()
    }

    fn list_collections(&self) -> ruvector_lake::Result<Vec<String>> {
        self.0.list_collections()
    }

    fn state(&self, collection: &str) -> ruvector_lake::Result<State> {
        self.0.state(collection)
    }

    fn pull(&self, collection: &str, pull: &Pull) -> ruvector_lake::Result<Batches> {
        self.1.0.lock().unwrap().1 += 1;
        let rows = self.0.pull(collection, pull)?;
        Ok(Box::new(Trickle { rows, gate: self.1.clone() }))
    }
}

/// Batches without rows, as long as the gate is closed.
struct Trickle {
    rows: Batches,
    gate: Gate,
}

impl Iterator for Trickle {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.gate.0.lock().unwrap().0 {
            return self.rows.next();
        }
        std::thread::sleep(Duration::from_millis(2));
        Some(Ok(RecordBatch::new_empty(self.rows.schema())))
    }
}

impl RecordBatchReader for Trickle {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }
}

/// A server whose collections `gated/0` and `gated/1` take for ever to be pulled, until the gate is opened.
pub(crate) fn gated(config: Config) -> (Server, Gate) {
    let (rows, gate) = (LocalBackend::new("gated"), Gate::default());
    let vectors = Vectors::from_f32("v", DIM, values(ROWS).into()).unwrap();
    let ids = Ids::Int64((0..ROWS as i64).collect::<Vec<_>>().into());
    for name in ["0", "1"] {
        rows.put_collection(name, &ids, &vectors).unwrap();
    }
    let lake = RuLake::builder().threads(Some(4)).build().unwrap();
    let backend = Arc::new(Gated(rows, gate.clone()));
    lake.register_backend(backend, BackendOptions::default()).unwrap();
    (start(Some(lake), config), gate)
}
