//! Flight SQL by Arrow's own client, against an engine of a few statements.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod engine;
mod setup;
mod statements;
mod tenants;
