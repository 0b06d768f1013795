//! Why a call was refused.

use std::error::Error;

/// Words for the user. DuckDB puts its own before them.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) String);

impl<E: Error> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// The result of everything that may be refused.
pub(crate) type Result<T, E = Refusal> = std::result::Result<T, E>;
