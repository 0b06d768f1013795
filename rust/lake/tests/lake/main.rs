//! The lake as its users see it.

mod cache;
mod federation;
mod folders;
mod support;
mod upstream;
