//! Python's door to Arrow Flight: a server in this process.

#![allow(
    clippy::needless_pass_by_value,
    clippy::type_complexity,
    reason = "arguments and dicts as Python passes them"
)]

mod server;
mod sql;

pub(crate) use self::{
    server::{PyFlightServer, flight_serve},
    sql::PyTenant,
};
