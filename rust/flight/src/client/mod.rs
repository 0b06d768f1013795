//! The other end: a client that keeps its connection and its streams, and asks again where that is safe.
//!
//! A search goes through a stream that stays open when it is answered, for the next one with the same options: a
//! question then costs one message each way. Such a stream asks for the state of each batch and not of its beginning.

mod connect;
mod describe;
mod refused;
mod retry;
mod search;
mod streams;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use arrow_flight::{Action, flight_service_client::FlightServiceClient};
use futures::TryStreamExt;
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

pub use describe::Description;
pub use refused::Refused;
use streams::Streams;

/// Bytes of one message at most, either way.
const MESSAGE: usize = 1 << 30;

/// How a client reaches a server.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The bearer token.
    pub token: Option<String>,
    /// The roots, in PEM, that the server's certificate must come from.
    pub roots: Option<PathBuf>,
    /// The client's own certificate and its key, in PEM.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// How long a call may take.
    pub timeout: Option<Duration>,
    /// How often a call that changes nothing is repeated when the server cannot be reached.
    pub retries: u32,
}

/// A client. Cheap to clone; clones share connection and streams.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    location: String,
    service: FlightServiceClient<Channel>,
    token: Option<MetadataValue<Ascii>>,
    timeout: Option<Duration>,
    retries: u32,
    streams: Mutex<Streams>,
}

impl Client {
    /// A client of the server at `grpc://host:port` or `grpc+tls://host:port`. Nothing is sent before something is
    /// asked. Must be called within a runtime, which the connection lives on.
    ///
    /// # Errors
    /// [`Refused`] if something cannot be meant, or a file cannot be read.
    pub fn new(location: &str, options: &Options) -> Result<Self, Refused> {
        let channel = connect::channel(location, options)?;
        let token = options.token.as_ref().map(|token| {
            let value = MetadataValue::try_from(format!("Bearer {token}"));
            let wrong = |_| Refused::invalid("token", "letters, digits and signs of ascii", "something else");
            value.map_err(wrong).map(|mut value| {
                value.set_sensitive(true);
                value
            })
        });
        let service = FlightServiceClient::new(channel)
            .max_decoding_message_size(MESSAGE)
            .max_encoding_message_size(MESSAGE);
        Ok(Self(Arc::new(Inner {
            location: location.to_owned(),
            service,
            token: token.transpose()?,
            timeout: options.timeout,
            retries: options.retries,
            streams: Mutex::default(),
        })))
    }

    /// The server.
    pub fn location(&self) -> &str {
        &self.0.location
    }

    /// The same server and connection, with another time for each call.
    #[must_use]
    pub fn with_timeout(&self, timeout: Option<Duration>) -> Self {
        let Inner { location, service, token, retries, .. } = &*self.0;
        Self(Arc::new(Inner {
            location: location.clone(),
            service: service.clone(),
            token: token.clone(),
            timeout,
            retries: *retries,
            streams: Mutex::default(),
        }))
    }

    fn service(&self) -> FlightServiceClient<Channel> {
        self.0.service.clone()
    }

    /// A request with what all requests carry.
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.0.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        request
    }

    /// Asks for an action and collects its answers. One that changes nothing may be asked for again.
    ///
    /// # Errors
    /// [`Refused`], as the server says.
    pub async fn action(&self, kind: &str, body: &str, again: bool) -> Result<Vec<String>, Refused> {
        self.repeated(again, || async {
            let action = Action { r#type: kind.into(), body: body.to_owned().into() };
            let answers = self.service().do_action(self.request(action)).await;
            let answers = answers.map_err(|status| self.refused(&status))?.into_inner();
            let bodies = answers.map_ok(|answer| String::from_utf8_lossy(&answer.body).into_owned());
            bodies.try_collect().await.map_err(|status| self.refused(&status))
        })
        .await
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Client").field(&self.0.location).finish()
    }
}
