//! What tells one state of a collection from the next.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A backend's token for the state of a collection: equal tokens, equal rows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Generation {
    /// A counter, a version, a time.
    Number(u64),
    /// A snapshot id, an `ETag`, a digest.
    Text(String),
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl From<u64> for Generation {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Generation {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}
