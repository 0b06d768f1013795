//! The lake as its users see it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

mod cache;
mod federation;
mod folders;
mod forgetting;
mod governance;
mod killed;
mod patience;
#[cfg(feature = "parquet")]
mod payload;
mod sessions;
mod stress;
mod support;
mod upstream;
