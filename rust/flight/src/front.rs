//! Where calls come in: who calls is found out from the headers, before anything of the request is read.
//!
//! Each call has a task of its own, apart from the one that speaks HTTP/2 with the client. So a client that goes away is
//! noticed while its call computes, and the call is told to stop.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use arrow_flight::flight_service_server::FlightServiceServer;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use tokio::{
    sync::{mpsc, oneshot},
    task::AbortHandle,
};
use tonic::{Status, body::Body as Answer, codegen::Service as _};

use crate::{
    call::{Call, late, panicked},
    meter::Metered,
    service::{Service, Shared},
    sql::bearing,
};

/// How much later than a call's own look at its deadline the one of the front is: for calls that never began.
const LENIENCE: Duration = Duration::from_millis(250);

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Its address, without the port.
    pub(crate) address: Arc<str>,
    /// Who its certificate was made for.
    pub(crate) certified: Option<Arc<str>>,
}

/// The service as one connection sees it.
#[derive(Clone)]
pub(crate) struct Front {
    shared: Arc<Shared>,
    service: FlightServiceServer<Service>,
    peer: Peer,
}

impl Front {
    pub(crate) fn new(shared: Arc<Shared>, service: FlightServiceServer<Service>, peer: Peer) -> Self {
        Self { shared, service, peer }
    }
}

impl<B> hyper::service::Service<Request<B>> for Front
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, mut request: Request<B>) -> Self::Future {
        let method = method(request.uri().path());
        bearing(request.headers_mut());
        let call = match Call::admit(&self.shared, method, request.headers(), &self.peer) {
            Ok(call) => call,
            Err(status) => return Box::pin(std::future::ready(Ok(status.into_http()))),
        };
        request.extensions_mut().insert(call.clone());
        let request = request.map(|body| Answer::new(Metered::new(body, call.clone())));
        let (head, response) = oneshot::channel();
        let (want, wanted) = mpsc::channel(1);
        let (frame, frames) = mpsc::channel(1);
        let service = self.service.clone();
        let task = tokio::spawn(run(service, request, call.clone(), head, wanted, frame));
        let watch = Watch { call, task: task.abort_handle() };
        Box::pin(async move {
            // Dropping this future stops the call, until the body takes over.
            let watch = watch;
            let Ok(response) = response.await else {
                let status = panicked();
                watch.call.end(Some(&status));
                return Ok(status.into_http());
            };
            Ok(response.map(|more| {
                if more {
                    Answer::new(Relay { watch, want, frames, asked: true, over: false })
                } else {
                    Answer::empty()
                }
            }))
        })
    }
}

/// The task of a call: answers it, and sends one frame of the answer whenever one is wanted. The first one always is.
async fn run(
    mut service: FlightServiceServer<Service>,
    request: Request<Answer>,
    call: Call,
    head: oneshot::Sender<Response<bool>>,
    mut wanted: mpsc::Receiver<()>,
    frames: mpsc::Sender<Sent>,
) {
    let answer = service.call(request);
    let response = match call.deadline() {
        None => answer.await,
        Some(deadline) => match tokio::time::timeout_at((deadline + LENIENCE).into(), answer).await {
            Ok(response) => response,
            Err(_) => Ok(late().into_http()),
        },
    };
    let Ok(response) = response;
    if let Some(status) = Status::from_header_map(response.headers()) {
        call.end(Some(&status));
    }
    drop(call);
    let (parts, mut body) = response.into_parts();
    if body.is_end_stream() {
        let _gone = head.send(Response::from_parts(parts, false));
        return;
    }
    if head.send(Response::from_parts(parts, true)).is_err() {
        return;
    }
    loop {
        let next = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        let sent = next.map_or(Sent::End, Sent::Frame);
        let over = !matches!(sent, Sent::Frame(Ok(_)));
        if frames.send(sent).await.is_err() || over || wanted.recv().await.is_none() {
            return;
        }
    }
}

enum Sent {
    Frame(Result<Frame<Bytes>, Status>),
    End,
}

/// Stops a call when the transport lets go of it.
struct Watch {
    call: Call,
    task: AbortHandle,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.call.stop();
        self.task.abort();
    }
}

/// The answer as the transport sees it. A frame is asked for when the one before is on its way, not earlier: nothing is
/// made that the client's window has no room for.
struct Relay {
    watch: Watch,
    want: mpsc::Sender<()>,
    frames: mpsc::Receiver<Sent>,
    asked: bool,
    over: bool,
}

impl Body for Relay {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(None);
        }
        if !this.asked {
            // A task that is gone leaves what it sent last, or nothing.
            this.asked = this.want.try_send(()).is_ok();
        }
        let sent = ready!(this.frames.poll_recv(context));
        this.asked = false;
        match sent {
            Some(Sent::Frame(Ok(frame))) => {
                this.watch.call.sent(frame.data_ref().map_or(0, Bytes::len));
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Sent::Frame(Err(status))) => {
                this.over = true;
                this.watch.call.end(Some(&status));
                Poll::Ready(Some(Err(status)))
            }
            Some(Sent::End) => {
                this.over = true;
                Poll::Ready(None)
            }
            None => {
                this.over = true;
                let status = panicked();
                this.watch.call.end(Some(&status));
                let mut trailers = HeaderMap::new();
                Poll::Ready(match status.add_header(&mut trailers) {
                    Ok(()) => Some(Ok(Frame::trailers(trailers))),
                    Err(status) => Some(Err(status)),
                })
            }
        }
    }
}

/// The method of a path, as the log and the figures call it.
fn method(path: &str) -> &'static str {
    const METHODS: [&str; 10] = [
        "Handshake",
        "ListFlights",
        "GetFlightInfo",
        "PollFlightInfo",
        "GetSchema",
        "DoGet",
        "DoPut",
        "DoExchange",
        "DoAction",
        "ListActions",
    ];
    let name = path.strip_prefix("/arrow.flight.protocol.FlightService/").unwrap_or_default();
    METHODS.into_iter().find(|&known| known == name).unwrap_or("unknown")
}
