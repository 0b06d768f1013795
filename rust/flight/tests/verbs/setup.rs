//! A server, its client, and what they speak of.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, FixedSizeListArray, Float32Array, Int64Array, RecordBatch, cast::AsArray,
};
use arrow_flight::{
    Action, Criteria, FlightData, FlightDescriptor, FlightInfo, PollInfo, PutResult, Ticket,
    decode::FlightRecordBatchStream, encode::FlightDataEncoderBuilder, error::FlightError,
    flight_service_client::FlightServiceClient,
};
use arrow_schema::{DataType, Field, Schema};
use futures::{StreamExt, TryStreamExt, stream};
use ruvector_core::{
    Index, Live, Pool, Unwatched, Vectors, format::Keep, ids::Ids, index::BuildParams, vectors::Element,
};
use ruvector_flight::{Catalog, Config, Server, Source};
use ruvector_lake::RuLake;
use serde_json::{Value, json};
use tonic::{Code, Request, Status, transport::Channel};

pub(crate) const DIM: usize = 8;

/// Numbers that look like vectors: `rows` of them, the same every time.
pub(crate) fn values(rows: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..rows * DIM).map(|_| next()).collect()
}

pub(crate) fn vectors(values: Vec<f32>) -> Vectors {
    Vectors::from_f32("v", DIM, values.into()).unwrap()
}

pub(crate) fn list(values: Vec<f32>) -> ArrayRef {
    let field = Arc::new(Field::new("item", DataType::Float32, true));
    Arc::new(FixedSizeListArray::new(field, DIM as i32, Arc::new(Float32Array::from(values)), None))
}

/// A table with the columns `id` and `v`.
pub(crate) fn table(ids: std::ops::Range<i64>, seed: u64) -> RecordBatch {
    let rows = (ids.end - ids.start) as usize;
    batch(vec![("id", Arc::new(Int64Array::from_iter_values(ids))), ("v", list(values(rows, seed)))])
}

pub(crate) fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// An index of so many rows, with ids from 1000 on, that stores its vectors.
pub(crate) fn index(rows: usize) -> Index {
    let ids = Ids::Int64((1000..1000 + rows as i64).collect::<Vec<_>>().into());
    let pool = Pool::new(Some(2)).unwrap();
    let params = BuildParams::default();
    let built = Index::build(vectors(values(rows, 1)), Some(&ids), &params, &pool, &Unwatched).unwrap();
    Index::from_bytes(built.to_bytes(Keep::AsIs).unwrap(), true).unwrap()
}

/// One that keeps codes only.
pub(crate) fn codes_only(rows: usize) -> Index {
    Index::from_bytes(index(rows).to_bytes(Keep::None).unwrap(), true).unwrap()
}

pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) client: FlightServiceClient<Channel>,
    token: Option<String>,
}

impl World {
    /// A server of these indexes.
    pub(crate) async fn of(indexes: Vec<(&str, Index)>) -> Self {
        Self::with(Catalog::new(None, None), indexes, Config::default()).await
    }

    pub(crate) async fn with_lake(lake: RuLake, indexes: Vec<(&str, Index)>) -> Self {
        Self::with(Catalog::new(Some(lake), None), indexes, Config::default()).await
    }

    pub(crate) async fn with(catalog: Catalog, indexes: Vec<(&str, Index)>, config: Config) -> Self {
        for (name, index) in indexes {
            catalog.put(name, Source::Index(Arc::new(Live::new(index))), None).unwrap();
        }
        // A runtime cannot be started from within another one.
        let catalog = Arc::new(catalog);
        let server = std::thread::spawn(move || Server::start(catalog, config).unwrap()).join().unwrap();
        let channel = Channel::from_shared(format!("http://{}", server.address())).unwrap();
        let client = FlightServiceClient::new(channel.connect().await.unwrap());
        let client = client.max_decoding_message_size(usize::MAX).max_encoding_message_size(usize::MAX);
        Self { server, client, token: None }
    }

    pub(crate) fn with_token(&mut self, secret: &str) {
        self.token = Some(format!("Bearer {secret}"));
    }

    fn request<T>(&self, body: T) -> Request<T> {
        let mut request = Request::new(body);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.parse().unwrap());
        }
        request
    }

    pub(crate) fn live(&self, name: &str) -> Arc<Live> {
        self.server.catalog().live(name).unwrap()
    }

    pub(crate) async fn messages(&self, ticket: &Value) -> Result<Vec<FlightData>, Status> {
        self.messages_of(Ticket::new(ticket.to_string())).await
    }

    pub(crate) async fn messages_of(&self, ticket: Ticket) -> Result<Vec<FlightData>, Status> {
        let stream = self.client.clone().do_get(self.request(ticket)).await?.into_inner();
        stream.try_collect().await
    }

    pub(crate) async fn get(&self, ticket: &Value) -> Result<Vec<RecordBatch>, Status> {
        decoded(self.messages(ticket).await?).await
    }

    pub(crate) async fn get_of(&self, ticket: Ticket) -> Result<Vec<RecordBatch>, Status> {
        decoded(self.messages_of(ticket).await?).await
    }

    pub(crate) async fn info(&self, descriptor: FlightDescriptor) -> Result<FlightInfo, Status> {
        Ok(self.client.clone().get_flight_info(self.request(descriptor)).await?.into_inner())
    }

    pub(crate) async fn poll(&self, descriptor: FlightDescriptor) -> Result<PollInfo, Status> {
        Ok(self.client.clone().poll_flight_info(self.request(descriptor)).await?.into_inner())
    }

    pub(crate) async fn flights(&self, prefix: &str) -> Result<Vec<FlightInfo>, Status> {
        let criteria = Criteria { expression: prefix.to_owned().into() };
        self.client.clone().list_flights(self.request(criteria)).await?.into_inner().try_collect().await
    }

    pub(crate) async fn schema(&self, descriptor: FlightDescriptor) -> Result<Schema, Status> {
        let told = self.client.clone().get_schema(self.request(descriptor)).await?.into_inner();
        Ok(Schema::try_from(told).unwrap())
    }

    pub(crate) async fn act(
        &self,
        name: &str,
        body: impl Into<bytes::Bytes>,
    ) -> Result<Vec<bytes::Bytes>, Status> {
        let action = Action::new(name, body);
        let results = self.client.clone().do_action(self.request(action)).await?.into_inner();
        results.map_ok(|result| result.body).try_collect().await
    }

    /// An action of one result.
    pub(crate) async fn ask(&self, name: &str, body: &Value) -> Result<Value, Status> {
        let results = self.act(name, body.to_string()).await?;
        Ok(serde_json::from_slice(results.last().unwrap()).unwrap())
    }

    pub(crate) async fn put(&self, ask: &Value, batches: Vec<RecordBatch>) -> Result<Vec<Value>, Status> {
        let messages = encoded(ask, batches).await;
        let results = self.client.clone().do_put(self.request(stream::iter(messages))).await?.into_inner();
        let results: Vec<PutResult> = results.try_collect().await?;
        Ok(results.iter().map(|result| serde_json::from_slice(&result.app_metadata).unwrap()).collect())
    }

    pub(crate) async fn exchange(
        &self,
        ask: &Value,
        batches: Vec<RecordBatch>,
    ) -> Result<Vec<RecordBatch>, Status> {
        self.exchange_by(FlightDescriptor::new_cmd(ask.to_string()), batches).await
    }

    pub(crate) async fn exchange_by(
        &self,
        descriptor: FlightDescriptor,
        batches: Vec<RecordBatch>,
    ) -> Result<Vec<RecordBatch>, Status> {
        let messages = encoded_for(descriptor, batches).await;
        let answers = self.client.clone().do_exchange(self.request(stream::iter(messages))).await?;
        decoded(answers.into_inner().try_collect().await?).await
    }
}

pub(crate) async fn encoded(ask: &Value, batches: Vec<RecordBatch>) -> Vec<FlightData> {
    encoded_for(FlightDescriptor::new_cmd(ask.to_string()), batches).await
}

async fn encoded_for(descriptor: FlightDescriptor, batches: Vec<RecordBatch>) -> Vec<FlightData> {
    let schema = batches[0].schema();
    FlightDataEncoderBuilder::new()
        .with_schema(schema)
        .with_flight_descriptor(Some(descriptor))
        .build(stream::iter(batches.into_iter().map(Ok)))
        .try_collect()
        .await
        .unwrap()
}

pub(crate) async fn decoded(messages: Vec<FlightData>) -> Result<Vec<RecordBatch>, Status> {
    let messages = stream::iter(messages.into_iter().map(Ok::<_, FlightError>));
    let batches = FlightRecordBatchStream::new_from_flight_data(messages).try_collect().await;
    batches.map_err(|error| Status::internal(error.to_string()))
}

pub(crate) fn path(name: &str) -> FlightDescriptor {
    FlightDescriptor::new_path(name.split('/').map(str::to_owned).collect())
}

pub(crate) fn cmd(ask: &Value) -> FlightDescriptor {
    FlightDescriptor::new_cmd(ask.to_string())
}

/// Queries for a ticket.
pub(crate) fn queries(values: &[f32]) -> Value {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    json!({"dim": DIM, "f32": STANDARD.encode(bytes)})
}

/// The name of the error's class, and its code.
pub(crate) fn kind(status: &Status) -> (Code, String) {
    let class = status.metadata().get("ruvector-error").map(|class| class.to_str().unwrap().to_owned());
    (status.code(), class.unwrap_or_default())
}

/// The ids of a column of numbers, over all batches.
pub(crate) fn ids(batches: &[RecordBatch], name: &str) -> Vec<i64> {
    let column = |batch: &RecordBatch| {
        let column = batch.column_by_name(name).unwrap().as_primitive::<arrow_array::types::Int64Type>();
        column.values().to_vec()
    };
    batches.iter().flat_map(column).collect()
}

/// The ids of nested hits; `None` for a query without an answer.
pub(crate) fn hits(batches: &[RecordBatch]) -> Vec<Option<Vec<i64>>> {
    let mut all = Vec::new();
    for batch in batches {
        let lists = batch.column_by_name("hits").unwrap().as_list::<i64>();
        for row in 0..lists.len() {
            let ids = lists.is_valid(row).then(|| {
                let hits = lists.value(row);
                let ids = hits.as_struct().column_by_name("id").unwrap();
                ids.as_primitive::<arrow_array::types::Int64Type>().values().to_vec()
            });
            all.push(ids);
        }
    }
    all
}

/// Reads all endpoints of an info at the same time, and puts them together in their order.
pub(crate) async fn all_of(world: &World, info: &FlightInfo) -> Vec<RecordBatch> {
    let parts = info.endpoint.iter().map(|endpoint| world.get_of(endpoint.ticket.clone().unwrap()));
    let parts = futures::future::join_all(parts).await;
    parts.into_iter().flat_map(Result::unwrap).collect()
}
