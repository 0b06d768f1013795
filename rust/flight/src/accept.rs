//! Connections: from the listener to HTTP/2.
//!
//! Whoever connects has a task of its own, and a limited time until it speaks HTTP/2. So many may be on their way there;
//! when one more comes, the one that has been at it for longest makes place: clients that connect and say nothing keep
//! nobody out. What fails here is counted and logged, and ends nothing but its connection.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use arrow_flight::flight_service_server::FlightServiceServer;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use openssl::ssl::{Ssl, SslAcceptor};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::AbortHandle,
};
use tokio_openssl::SslStream;

use crate::{
    front::{CHUNK, Front, Peer},
    service::{Service, Shared},
    tls::identity,
};

/// How much of a request may lie unread before its call reads more: a batch of queries that comes while another one is
/// searched. So many calls of a client times this is what HTTP/2 holds of its requests at most.
const STREAM_WINDOW: u32 = 4 << 20;
/// Calls of one connection at once; clients open more connections or wait.
const STREAMS: u32 = 128;
/// All streams of a connection together: as much as each of them may have. With less, calls that wait for their client's
/// quota would keep the bytes out that another call needs to give some of it back.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS;
/// Bytes per frame of HTTP/2 at most.
const FRAME: u32 = 1 << 20;
/// Bytes of an answer that wait for the client's window, beside the piece that is under way.
const SEND_BUFFER: usize = CHUNK;
/// Bytes of the headers of a call.
const HEADERS: u32 = 16 << 10;
/// A connection that does not answer for so long, twice, is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Connections that may be on their way to HTTP/2.
const HANDSHAKES: usize = 256;
/// What a connection of HTTP/2 begins with.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// All that a connection needs.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) shared: Arc<Shared>,
    pub(crate) service: FlightServiceServer<Service>,
    pub(crate) tls: Option<SslAcceptor>,
    /// The right to be a connection.
    pub(crate) slots: Arc<Semaphore>,
    /// True when the server stops.
    pub(crate) stopping: watch::Receiver<bool>,
}

/// Takes connections until the server stops.
pub(crate) async fn accept(listener: TcpListener, door: Door) {
    let mut stopping = door.stopping.clone();
    let mut under_way: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            _ = stopping.wait_for(|&stop| stop) => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of files, most often: they come back.
                door.refuse(None, "accept", &error.to_string());
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if under_way.len() >= HANDSHAKES {
            under_way.retain(|task| !task.is_finished());
        }
        if under_way.len() >= HANDSHAKES
            && let Some(oldest) = under_way.pop_front()
        {
            oldest.abort();
            door.refuse(None, "handshakes", "others came while it said nothing");
        }
        under_way.push_back(tokio::spawn(door.clone().welcome(stream, address)).abort_handle());
    }
}

impl Door {
    /// Gets a connection to HTTP/2, and leaves it to a task of its own.
    async fn welcome(self, stream: TcpStream, address: SocketAddr) {
        let limit = self.shared.limits.handshake;
        let mut stopping = self.stopping.clone();
        let opened = tokio::select! {
            _ = stopping.wait_for(|&stop| stop) => return,
            opened = tokio::time::timeout(limit, self.open(stream, address)) => opened,
        };
        match opened {
            Ok(Ok((opened, peer, slot))) => {
                tokio::spawn(self.serve(opened, peer, slot));
            }
            Ok(Err((why, error))) => self.refuse(Some(address), why, &error),
            Err(_) => self.refuse(Some(address), "timeout", "it took too long to speak HTTP/2"),
        }
    }

    async fn open(
        &self,
        stream: TcpStream,
        address: SocketAddr,
    ) -> Result<(Opened, Peer, OwnedSemaphorePermit), (&'static str, String)> {
        let _set = stream.set_nodelay(true);
        let mut certified = None;
        let mut wire = match &self.tls {
            None => Wire::Plain(stream),
            Some(acceptor) => {
                let ssl = Ssl::new(acceptor.context()).map_err(|error| ("tls", error.to_string()))?;
                let mut stream = SslStream::new(ssl, stream).map_err(|error| ("tls", error.to_string()))?;
                Pin::new(&mut stream).accept().await.map_err(|error| ("tls", error.to_string()))?;
                certified = identity(stream.ssl()).map_err(|error| ("certificate", error.to_owned()))?;
                Wire::Tls(Box::new(stream))
            }
        };
        let mut preface = [0; PREFACE.len()];
        wire.read_exact(&mut preface).await.map_err(|error| ("preface", error.to_string()))?;
        if preface != *PREFACE {
            return Err(("preface", "expected HTTP/2, got something else".into()));
        }
        let slot =
            Arc::clone(&self.slots).acquire_owned().await.map_err(|error| ("stop", error.to_string()))?;
        let peer = Peer { address: address.ip().to_string().into(), certified };
        Ok((Opened { wire, read: 0 }, peer, slot))
    }

    async fn serve(self, opened: Opened, peer: Peer, slot: OwnedSemaphorePermit) {
        let Self { shared, service, mut stopping, .. } = self;
        let open = Open::new(&shared, slot);
        let front = Front::new(shared, service, peer);
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(STREAMS)
            .max_pending_accept_reset_streams(STREAMS as usize)
            .max_frame_size(FRAME)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(HEADERS)
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE);
        let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(opened), front));
        tokio::select! {
            _ended = &mut connection => return,
            _ = stopping.wait_for(|&stop| stop) => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ended = connection.await;
        drop(open);
    }

    fn refuse(&self, peer: Option<SocketAddr>, why: &'static str, error: &str) {
        self.shared.metrics.refuse(why);
        let peer = peer.map(|peer| peer.ip().to_string());
        self.shared.log.event(
            "connection refused",
            &[("peer", peer.into()), ("reason", why.into()), ("message", crate::log::short(error).into())],
        );
    }
}

/// A connection that is counted as long as it is open.
struct Open(Arc<Shared>, #[expect(dead_code, reason = "given back when it is dropped")] OwnedSemaphorePermit);

impl Open {
    fn new(shared: &Arc<Shared>, slot: OwnedSemaphorePermit) -> Self {
        shared.metrics.connection_begins();
        Self(Arc::clone(shared), slot)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.metrics.connection_ends();
    }
}

/// What bytes go through.
enum Wire {
    Plain(TcpStream),
    Tls(Box<SslStream<TcpStream>>),
}

/// A connection whose preface was read: it is read once more.
struct Opened {
    wire: Wire,
    read: usize,
}

macro_rules! on {
    ($wire:expr, $method:ident, $($argument:expr),*) => {
        match $wire {
            Wire::Plain(stream) => Pin::new(stream).$method($($argument),*),
            Wire::Tls(stream) => Pin::new(stream.as_mut()).$method($($argument),*),
        }
    };
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on!(self.get_mut(), poll_read, context, buffer)
    }
}

impl AsyncRead for Opened {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let rest = &PREFACE[this.read..];
        if rest.is_empty() {
            return on!(&mut this.wire, poll_read, context, buffer);
        }
        let part = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..part]);
        this.read += part;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Opened {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        on!(&mut self.get_mut().wire, poll_write, context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on!(&mut self.get_mut().wire, poll_flush, context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on!(&mut self.get_mut().wire, poll_shutdown, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on!(&mut self.get_mut().wire, poll_write_vectored, context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.wire {
            Wire::Plain(stream) => stream.is_write_vectored(),
            Wire::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
