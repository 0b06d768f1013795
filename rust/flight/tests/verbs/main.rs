//! Every verb, by a client of Arrow's own, against a server on the loopback interface.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod actions;
mod exchange;
mod get;
mod lake;
mod put;
mod setup;
mod states;
mod tokens;
