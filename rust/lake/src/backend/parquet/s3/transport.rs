//! How requests leave: through whoever uses the lake.

use std::{future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
        HttpService,
    },
};

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `HEAD` and the like.
    pub method: String,
    /// The whole address.
    pub url: String,
    /// Names and values, which are bytes.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body; mostly empty.
    pub body: Bytes,
}

/// A response, of whatever status.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Bytes,
}

/// Why there is no response. All but the last may be tried again.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SendError {
    /// The server cannot be reached.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The response did not come in time.
    #[error("timed out: {0}")]
    Timeout(String),
    /// The connection ended before the response did.
    #[error("interrupted: {0}")]
    Interrupted(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// Sends requests, each on a thread that may wait for it. Called from several threads at once.
pub trait Transport: std::fmt::Debug + Send + Sync {
    /// Sends a request and waits for its response.
    ///
    /// # Errors
    /// [`SendError`] when there is none; a response that says no is one.
    fn send(&self, request: Request) -> Result<Response, SendError>;
}

/// Makes clients that send through a transport.
#[derive(Clone, Debug)]
pub(super) struct Connector(Arc<dyn Transport>);

impl Connector {
    pub(super) fn new(transport: Arc<dyn Transport>) -> Self {
        Self(transport)
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

impl HttpService for Connector {
    fn call<'a, 'b>(
        &'a self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        let transport = Arc::clone(&self.0);
        Box::pin(async move {
            let request = outgoing(request);
            let sent = tokio::task::spawn_blocking(move || transport.send(request)).await;
            let sent = sent.unwrap_or_else(|error| Err(SendError::Other(error.to_string())));
            sent.map_err(failed).and_then(incoming)
        })
    }
}

fn outgoing(request: HttpRequest) -> Request {
    let (parts, body) = request.into_parts();
    let headers = parts.headers.iter();
    Request {
        method: parts.method.to_string(),
        url: parts.uri.to_string(),
        headers: headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect(),
        body: body.as_bytes().cloned().unwrap_or_default(),
    }
}

fn incoming(response: Response) -> Result<HttpResponse, HttpError> {
    let refused = |reason: String| HttpError::new(HttpErrorKind::Decode, SendError::Other(reason));
    let mut made = HttpResponse::new(HttpResponseBody::from(response.body));
    *made.status_mut() = StatusCode::from_u16(response.status).map_err(|error| refused(error.to_string()))?;
    for (name, value) in response.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| refused(error.to_string()))?;
        let value = HeaderValue::from_bytes(&value).map_err(|error| refused(error.to_string()))?;
        made.headers_mut().append(name, value);
    }
    Ok(made)
}

fn failed(error: SendError) -> HttpError {
    let kind = match &error {
        SendError::Connect(_) => HttpErrorKind::Connect,
        SendError::Timeout(_) => HttpErrorKind::Timeout,
        SendError::Interrupted(_) => HttpErrorKind::Interrupted,
        SendError::Other(_) => HttpErrorKind::Unknown,
    };
    HttpError::new(kind, error)
}
