//! The full address of a collection.

use std::fmt;

/// A collection of a backend.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The backend.
    pub backend: String,
    /// The collection.
    pub collection: String,
}

impl Key {
    /// The collection of this name in the backend of this name.
    pub fn new(backend: impl Into<String>, collection: impl Into<String>) -> Self {
        Self { backend: backend.into(), collection: collection.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.backend, self.collection)
    }
}
