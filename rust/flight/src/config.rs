//! How a server is run.

use std::{fmt, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use crate::{auth::Token, sql::engine::SqlEngine};

/// Where and how a server listens, and what clients may do to it.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What makes it TLS.
    pub tls: Option<Tls>,
    /// Who may call; nobody needs to say who they are if there are none.
    pub tokens: Vec<Token>,
    /// What clients may do to the server.
    pub limits: Limits,
    /// Where Prometheus reads figures over HTTP.
    pub metrics: Option<SocketAddr>,
    /// Threads that speak with clients; searches have threads of their own.
    pub threads: Option<usize>,
    /// Where a line of JSON goes for each call that is over.
    pub log: LogTo,
    /// How long streams that are under way may go on at shutdown.
    pub drain: Duration,
    /// What runs SQL, if anything does.
    pub sql: Option<Engine>,
}

/// An engine that the server asks.
#[derive(Clone)]
pub struct Engine(pub Arc<dyn SqlEngine>);

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, version) = self.0.version();
        write!(f, "{name} {version}")
    }
}

/// Files in PEM.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The server's certificate and those between it and the root.
    pub certificates: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The roots that certificates of clients must come from; with them, clients without one are refused.
    pub client_roots: Option<PathBuf>,
}

/// Where the log goes.
#[derive(Clone, Debug, Default)]
pub enum LogTo {
    /// Nowhere.
    #[default]
    Nowhere,
    /// To the process's standard error.
    Stderr,
    /// To the end of a file.
    File(PathBuf),
}

/// What clients may do to the server.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of one message, either way.
    pub message_bytes: usize,
    /// Bytes of one client's requests that are in memory at once, and of the answers to them as many again.
    pub client_bytes: usize,
    /// How much of what one client uploads is kept from message to message, for indexes to be built of it.
    pub upload_bytes: usize,
    /// Calls of one client at once.
    pub client_calls: usize,
    /// How long any call may take; clients may ask for less.
    pub deadline: Option<Duration>,
    /// Neighbours per query.
    pub k: usize,
    /// Connections of all clients at once; more wait to be accepted.
    pub connections: usize,
    /// How long a connection may take until it speaks HTTP/2.
    pub handshake: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 256 << 20,
            client_bytes: 1 << 30,
            upload_bytes: 4 << 30,
            client_calls: 256,
            deadline: None,
            k: 10_000,
            connections: 1024,
            handshake: Duration::from_secs(10),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls: None,
            tokens: Vec::new(),
            limits: Limits::default(),
            metrics: None,
            threads: None,
            log: LogTo::default(),
            drain: Duration::from_secs(10),
            sql: None,
        }
    }
}
