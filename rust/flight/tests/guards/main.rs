//! The guards of the server, tried by clients that mean harm, over the wire.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod auth;
mod certificates;
mod fuzz;
mod hostile;
mod limits;
mod stop;
mod support;
mod tls;
mod watching;
