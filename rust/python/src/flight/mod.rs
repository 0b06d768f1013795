//! Python's door to Arrow Flight: a server in this process, and a client.

#![allow(
    clippy::needless_pass_by_value,
    clippy::type_complexity,
    reason = "arguments and dicts as Python passes them"
)]

mod client;
mod connection;
mod raised;
mod remote;
mod server;
mod sql;

pub(crate) use self::{
    client::{PyFlightClient, flight_connect},
    raised::exception,
    remote::{PyRemote, Remote},
    server::{PyFlightServer, flight_serve},
    sql::PyTenant,
};
