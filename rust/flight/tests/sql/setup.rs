//! A server that runs SQL, and clients of it.

use std::{sync::Arc, thread};

use arrow_array::{cast::AsArray, types::Int64Type};
use arrow_flight::{FlightInfo, error::FlightError, sql::client::FlightSqlServiceClient};
use futures::TryStreamExt;
use ruvector_core::{Index, Live, Pool, Unwatched, Vectors, index::BuildParams};
use ruvector_flight::{
    Catalog, Config, Server, Source,
    auth::{Token, Verb},
    config::Engine,
};
use tonic::{Code, Status, transport::Channel};

use crate::engine::Numbers;

pub(crate) type Client = FlightSqlServiceClient<Channel>;
pub(crate) type Result<T> = std::result::Result<T, FlightError>;

pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) engine: Arc<Numbers>,
}

impl World {
    /// A server for these tokens, with an index named `docs`.
    pub(crate) fn of(tokens: Vec<Token>) -> Self {
        let engine = Arc::new(Numbers::default());
        let config = Config { tokens, sql: Some(Engine(Arc::clone(&engine) as _)), ..Config::default() };
        let catalog = Arc::new(Catalog::new(None, None));
        let vectors = Vectors::from_f32("v", 2, vec![0.0; 8].into()).unwrap();
        let pool = Pool::new(Some(1)).unwrap();
        let index = Index::build(vectors, None, &BuildParams::default(), &pool, &Unwatched).unwrap();
        catalog.put("docs", Source::Index(Arc::new(Live::new(index))), None).unwrap();
        // A runtime cannot be started from within another one.
        let server = thread::spawn(move || Server::start(catalog, config).unwrap()).join().unwrap();
        Self { server, engine }
    }

    pub(crate) async fn client(&self) -> Client {
        let channel = Channel::from_shared(format!("http://{}", self.server.address())).unwrap();
        Client::new(channel.connect().await.unwrap())
    }

    pub(crate) async fn bearing(&self, secret: &str) -> Client {
        let mut client = self.client().await;
        client.set_token(secret.to_owned());
        client
    }
}

pub(crate) fn token(who: &str, verbs: Vec<Verb>) -> Token {
    Token { secret: format!("secret-of-{who}"), principal: who.into(), collections: None, verbs }
}

/// All numbers of an answer.
pub(crate) async fn read(client: &mut Client, info: FlightInfo) -> Result<Vec<i64>> {
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let batches: Vec<_> = client.do_get(ticket).await?.try_collect().await?;
    Ok(batches
        .iter()
        .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec())
        .collect())
}

pub(crate) async fn query(client: &mut Client, sql: &str) -> Result<Vec<i64>> {
    let info = client.execute(sql.to_owned(), None).await?;
    read(client, info).await
}

/// What a client was refused.
pub(crate) fn refused<T: std::fmt::Debug>(answer: Result<T>) -> (Code, String) {
    match answer.unwrap_err() {
        FlightError::Tonic(status) => (status.code(), Status::message(&status).to_owned()),
        other => panic!("{other:?}"),
    }
}
