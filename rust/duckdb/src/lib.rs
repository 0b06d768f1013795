//! The loadable DuckDB extension `ruvector`: the core as SQL functions.
//!
//! One file loads into every DuckDB from 1.4 on, because it is made for the stable C API 1.2.0 (`capi`). The functions
//! of `sql/contract.md` are in `functions`, one file per subject; `registry` knows which index a name means, and
//! `statements` which state of it a running statement sees.

#[expect(unsafe_code, reason = "the one border to DuckDB, which is C")]
mod capi;
mod filter;
mod functions;
mod hits;
mod ids;
mod jobs;
mod lock;
mod options;
mod refusal;
mod registry;
mod spool;
mod statements;
mod vectors;
