//! The lake as its users see it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

mod cache;
mod federation;
mod folders;
mod support;
mod upstream;
