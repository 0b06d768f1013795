//! Where calls come in: who calls is found out from the headers, before anything of the request is read.
//!
//! Each call has a task of its own, apart from the one that speaks HTTP/2 with the client. So a client that goes away is
//! noticed while its call computes, and the call is told to stop.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
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
    frames::Handed,
    meter::Metered,
    service::{Service, Shared},
    sql::bearing,
};

/// How much later than a call's own look at its deadline the one of the front is. It ends what the call cannot end: one
/// whose request never came, and one that computes and does not notice.
const LENIENCE: Duration = Duration::from_millis(250);

/// Bytes that the transport is given at once. It asks for more as soon as it has room for one byte, and keeps what it has
/// until the client's window takes it: so many, and its send buffer, is what lies there that no quota counts.
pub(crate) const CHUNK: usize = 256 << 10;

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
        let mut late_at =
            watch.call.deadline().and_then(|deadline| deadline.checked_add(LENIENCE)).map(alarm);
        Box::pin(async move {
            // Dropping this future stops the call, until the body takes over.
            let watch = watch;
            let response = tokio::select! {
                biased;
                response = response => response.map_err(|_| panicked()),
                () = rung(&mut late_at) => Err(late()),
            };
            Ok(match response {
                Err(status) => {
                    watch.call.end(Some(&status));
                    status.into_http()
                }
                Ok(response) => response.map(|more| {
                    if !more {
                        return Answer::empty();
                    }
                    Answer::new(Relay {
                        watch,
                        want,
                        frames,
                        late_at,
                        rest: Bytes::new(),
                        asked: true,
                        over: false,
                    })
                }),
            })
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
    let Ok(response) = service.call(request).await;
    if let Some(status) = Status::from_header_map(response.headers()) {
        call.end(Some(&status));
    }
    drop(call);
    let (mut parts, mut body) = response.into_parts();
    if let Some(frames) = parts.extensions.remove::<Handed>().and_then(|handed| handed.body()) {
        body = Answer::new(frames);
    }
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

/// The answer as the transport sees it. A frame is asked for when the one before is handed on but for its last pieces: nothing
/// is made that the client has no use for yet.
struct Relay {
    watch: Watch,
    want: mpsc::Sender<()>,
    frames: mpsc::Receiver<Sent>,
    late_at: Option<Alarm>,
    /// What is left of a long frame.
    rest: Bytes,
    asked: bool,
    over: bool,
}

impl Relay {
    /// The next piece of a long frame. The last pieces are copies, or they would keep all of it in memory for as long as
    /// they wait, when its share is given back already.
    fn piece(&mut self) -> Frame<Bytes> {
        let piece = self.rest.split_to(CHUNK.min(self.rest.len()));
        self.watch.call.sent(piece.len());
        Frame::data(if self.rest.len() < 2 * CHUNK { Bytes::copy_from_slice(&piece) } else { piece })
    }

    /// Ends the answer with a status of its own.
    fn close(&mut self, status: &Status) -> Result<Frame<Bytes>, Status> {
        self.over = true;
        self.watch.call.end(Some(status));
        let mut trailers = HeaderMap::new();
        status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))
    }
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
        if !this.rest.is_empty() {
            return Poll::Ready(Some(Ok(this.piece())));
        }
        if !this.asked {
            // A task that is gone leaves what it sent last, or nothing.
            this.asked = this.want.try_send(()).is_ok();
        }
        let Poll::Ready(sent) = this.frames.poll_recv(context) else {
            let alarm = this.late_at.as_mut();
            if alarm.is_some_and(|alarm| alarm.as_mut().poll(context).is_ready()) {
                return Poll::Ready(Some(this.close(&late())));
            }
            return Poll::Pending;
        };
        this.asked = false;
        match sent {
            Some(Sent::Frame(Ok(frame))) => Poll::Ready(Some(Ok(match frame.into_data() {
                Ok(data) if data.len() > CHUNK => {
                    this.rest = data;
                    this.piece()
                }
                Ok(data) => {
                    this.watch.call.sent(data.len());
                    Frame::data(data)
                }
                Err(trailers) => trailers,
            }))),
            Some(Sent::Frame(Err(status))) => {
                this.over = true;
                this.watch.call.end(Some(&status));
                Poll::Ready(Some(Err(status)))
            }
            Some(Sent::End) => {
                this.over = true;
                Poll::Ready(None)
            }
            None => Poll::Ready(Some(this.close(&panicked()))),
        }
    }
}

/// What rings at a deadline.
type Alarm = Pin<Box<tokio::time::Sleep>>;

fn alarm(at: Instant) -> Alarm {
    Box::pin(tokio::time::sleep_until(at.into()))
}

/// Waits for an alarm; one that is not set never rings.
async fn rung(alarm: &mut Option<Alarm>) {
    match alarm {
        Some(alarm) => alarm.await,
        None => std::future::pending().await,
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
