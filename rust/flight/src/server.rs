//! A server that runs on threads of its own, from `start` to `stop`.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use arrow_flight::flight_service_server::FlightServiceServer;
use ruvector_core::Pool;
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::{Semaphore, watch},
};

use crate::{
    accept::{Door, accept},
    auth::Doorkeeper,
    catalog::Catalog,
    config::Config,
    figures,
    jobs::Jobs,
    log::Log,
    metrics::Metrics,
    pins::Pins,
    quota::Quotas,
    service::{Service, Shared},
    sql::Sql,
    tls,
};

/// How long connections have to say goodbye when their calls are over, and computations to notice that they are cut.
const GOODBYE: Duration = Duration::from_secs(1);
/// How often a stop looks whether calls are over.
const LOOK: Duration = Duration::from_millis(5);

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

/// A server that is running. Dropping it stops it at once; [`Server::stop`] lets streams end first. Both can be done on any
/// thread, also on one of another runtime.
pub struct Server {
    runtime: Option<Runtime>,
    address: SocketAddr,
    metrics: Option<SocketAddr>,
    stopping: watch::Sender<bool>,
    drain: Duration,
    shared: Arc<Shared>,
}

impl Server {
    /// Starts to listen.
    ///
    /// # Errors
    /// [`StartError`] when an address is taken, a file that is named in `config` cannot be read, or two tokens have the
    /// same secret.
    pub fn start(catalog: Arc<Catalog>, config: Config) -> Result<Self, StartError> {
        let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidInput, text);
        let doorkeeper = Doorkeeper::new(config.tokens).map_err(|error| failed("tokens")(invalid(error)))?;
        let acceptor = config.tls.as_ref().map(tls::acceptor).transpose()?;
        let threads =
            config.threads.unwrap_or_else(|| thread::available_parallelism().map_or(2, usize::from)).max(2);
        let (listener, address) = listen(config.listen)?;
        let metrics = config.metrics.map(listen).transpose()?;
        let pool = Pool::new(None).map_err(|error| failed("threads")(io::Error::other(error.to_string())))?;
        let shared = Arc::new(Shared {
            catalog,
            sql: config.sql.map(|engine| Arc::new(Sql::new(engine.0))),
            doorkeeper,
            quotas: Quotas::new(&config.limits),
            limits: config.limits,
            metrics: Metrics::default(),
            log: Log::open(&config.log).map_err(failed("log"))?,
            pool,
            pins: Pins::default(),
            jobs: Jobs::default(),
            stopping: AtomicBool::new(false),
            cut: AtomicBool::new(false),
        });
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("ruvector-flight")
            .enable_all()
            .build()
            .map_err(failed("threads"))?;
        figures::register(&shared);
        let (stopping, stopped) = watch::channel(false);
        let most = shared.limits.message_bytes;
        let service = FlightServiceServer::new(Service(Arc::clone(&shared)))
            .max_decoding_message_size(most)
            .max_encoding_message_size(most);
        let door = Door {
            shared: Arc::clone(&shared),
            service,
            tls: acceptor,
            slots: Arc::new(Semaphore::new(shared.limits.connections.min(Semaphore::MAX_PERMITS))),
            stopping: stopped,
        };
        let entered = runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener).map_err(failed("listen"))?;
        runtime.spawn(accept(listener, door));
        let metrics = match metrics {
            None => None,
            Some((listener, address)) => {
                let listener = tokio::net::TcpListener::from_std(listener).map_err(failed("listen"))?;
                runtime.spawn(figures::serve(listener, Arc::clone(&shared)));
                Some(address)
            }
        };
        drop(entered);
        let fields = [
            ("address", address.to_string().into()),
            ("metrics", metrics.map(|address| address.to_string()).into()),
            ("tls", config.tls.is_some().into()),
        ];
        shared.log.event("start", &fields);
        Ok(Self { runtime: Some(runtime), address, metrics, stopping, drain: config.drain, shared })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its figures are read.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics
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
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.stopping.send_replace(true);
        self.shared.jobs.stop_all();
        let under_way = || self.shared.metrics.under_way();
        let ended = wait(drain, || under_way() == 0);
        let left = under_way();
        if ended {
            // The last bytes of their answers are still on the way.
            wait(GOODBYE.min(drain), || self.shared.metrics.connections() == 0);
        }
        self.shared.cut.store(true, Ordering::Relaxed);
        if let Some(runtime) = self.runtime.take() {
            shut(runtime);
        }
        self.shared.log.event("stop", &[("cut", left.into())]);
        self.shared.log.flush(GOODBYE);
        ended
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What computes stops at its next look.
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.shared.cut.store(true, Ordering::Relaxed);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Waits for the threads of a runtime; the thread of another runtime must not, and leaves it to one of its own.
fn shut(runtime: Runtime) {
    if Handle::try_current().is_err() {
        runtime.shutdown_timeout(GOODBYE);
        return;
    }
    thread::scope(|scope| {
        scope.spawn(move || runtime.shutdown_timeout(GOODBYE));
    });
}

/// Whether it became true in time. A plain sleep: the thread may be one of another runtime, where nothing can be awaited.
fn wait(longest: Duration, done: impl Fn() -> bool) -> bool {
    let end = Instant::now().checked_add(longest);
    while !done() {
        if end.is_some_and(|end| Instant::now() >= end) {
            return false;
        }
        thread::sleep(LOOK);
    }
    true
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let listen = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    listen().map_err(failed(format!("listen on {address}")))
}
