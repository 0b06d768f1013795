//! Arrow Flight over indexes and lakes: query batches in, hits out, tables and indexes as they lie.
//!
//! A [`Catalog`] says what there is under which name; a [`Server`] answers for it, on threads of its own. What clients may
//! ask for is JSON, in [`ask`]. Whoever asks is known by [`auth`], and bounded by [`config::Limits`].
//!
//! [`client::Client`] is the other end: it asks any such server, and can be asked like an index.
//!
//! The way of one call: `accept` takes the connection and `tls` decrypts it, `front` finds out who calls and gives the call a
//! task of its own, `meter` reads the request as fast as its client's `quota` lets it, `service` knows which verb it is,
//! one module per verb (`exchange`, `get`, `put`, `action`, `info`) does it, `wire`, `encode` and `decode` turn batches into messages
//! and back, `call` watches over all of it: the deadline, the client that goes away, the log, the figures.

mod accept;
mod action;
pub mod ask;
pub mod auth;
mod builds;
mod call;
pub mod catalog;
pub mod client;
pub mod config;
mod decode;
mod details;
mod encode;
mod exchange;
mod figures;
mod frames;
mod front;
#[doc(hidden)]
pub mod fuzzing;
mod get;
mod info;
mod jobs;
mod log;
mod meter;
mod metrics;
mod parts;
mod pins;
mod place;
mod poll;
mod put;
mod question;
mod quota;
mod scan;
mod server;
mod service;
pub mod sql;
mod status;
mod tls;
mod wire;

pub use catalog::{Catalog, Source};
pub use client::Client;
pub use config::Config;
pub use server::{Server, StartError};
