//! A server that runs on threads of its own, from `start` to `stop`.

use std::{io, net::SocketAddr, sync::Arc, thread, time::Duration};

use arrow_flight::flight_service_server::FlightServiceServer;
use ruvector_core::Pool;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::watch,
    task::JoinHandle,
};
use tonic::transport::server::TcpIncoming;

use crate::{
    auth::Doorkeeper,
    catalog::Catalog,
    config::Config,
    log::Log,
    metrics::Metrics,
    quota::Quotas,
    service::{Service, Shared},
    sql::Sql,
};

/// How much of a stream may be under way before its reader says more: a batch of queries that comes while another one is
/// searched.
const STREAM_WINDOW: u32 = 8 << 20;
/// The same for all streams of a connection.
const CONNECTION_WINDOW: u32 = 32 << 20;
/// Bytes per HTTP/2 frame at most.
const FRAME: u32 = 1 << 20;

/// Why a server does not start.
#[derive(Debug)]
pub struct StartError {
    /// What was tried.
    pub what: String,
    /// What happened.
    pub source: io::Error,
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.what, self.source)
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> StartError {
    let what = what.into();
    move |source| StartError { what, source }
}

/// A server that is running. Dropping it stops it at once; [`Server::stop`] lets streams end first.
pub struct Server {
    runtime: Option<Runtime>,
    address: SocketAddr,
    stopping: watch::Sender<bool>,
    serving: Option<JoinHandle<Result<(), tonic::transport::Error>>>,
    drain: Duration,
    shared: Arc<Shared>,
}

impl Server {
    /// Starts to listen.
    ///
    /// # Errors
    /// [`StartError`] when an address is taken, or a file that is named in `config` cannot be read.
    pub fn start(catalog: Arc<Catalog>, config: Config) -> Result<Self, StartError> {
        let threads =
            config.threads.unwrap_or_else(|| thread::available_parallelism().map_or(2, usize::from).max(2));
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("ruvector-flight")
            .enable_all()
            .build()
            .map_err(failed("threads"))?;
        let pool = Pool::new(None).map_err(|error| failed("threads")(io::Error::other(error.to_string())))?;
        let shared = Arc::new(Shared {
            catalog,
            sql: config.sql.map(|engine| Arc::new(Sql::new(engine.0))),
            doorkeeper: Doorkeeper::new(config.tokens),
            quotas: Quotas::new(&config.limits),
            limits: config.limits,
            metrics: Metrics::default(),
            log: Log::open(&config.log).map_err(failed("log"))?,
            pool,
        });
        let listener = runtime.block_on(TcpListener::bind(config.listen));
        let listener = listener.map_err(failed(format!("listen on {}", config.listen)))?;
        let address = listener.local_addr().map_err(failed("listen"))?;
        let (stopping, mut stopped) = watch::channel(false);
        let most = shared.limits.message_bytes;
        let service = FlightServiceServer::new(Service(Arc::clone(&shared)))
            .max_decoding_message_size(most)
            .max_encoding_message_size(most);
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let serving = runtime.spawn(async move {
            tonic::transport::Server::builder()
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .max_frame_size(FRAME)
                .http2_keepalive_interval(Some(Duration::from_secs(30)))
                .add_service(service)
                .serve_with_incoming_shutdown(incoming, async move {
                    let _told = stopped.wait_for(|&stop| stop).await;
                })
                .await
        });
        Ok(Self {
            runtime: Some(runtime),
            address,
            stopping,
            serving: Some(serving),
            drain: config.drain,
            shared,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it serves.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.shared.catalog
    }

    /// Takes no more calls, waits for those under way, as long as the configuration says, and stops. Whether all of them
    /// came to their end.
    pub fn stop(self) -> bool {
        self.stop_within(None)
    }

    /// The same, with another time for calls that are under way.
    pub fn stop_within(mut self, drain: Option<Duration>) -> bool {
        let drain = drain.unwrap_or(self.drain);
        let (Some(runtime), Some(serving)) = (self.runtime.take(), self.serving.take()) else { return true };
        self.stopping.send_replace(true);
        let drained = runtime.block_on(async { tokio::time::timeout(drain, serving).await.is_ok() });
        runtime.shutdown_timeout(Duration::from_secs(1));
        drained
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
