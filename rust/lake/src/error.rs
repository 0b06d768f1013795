//! What can go wrong, said to the person who meets it. Errors can be cloned: one failed pull answers everybody who
//! waited for it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::policy::Action;

/// The result of everything fallible in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything the lake refuses, one variant per thing a caller can do about it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No backend of this name is registered.
    #[error("unknown backend {backend:?}: registered are {known:?}")]
    UnknownBackend {
        /// The name.
        backend: String,
        /// The names that would do.
        known: Vec<String>,
    },
    /// A backend does not have this collection.
    #[error("backend {backend:?}: unknown collection {collection:?}")]
    UnknownCollection {
        /// The backend.
        backend: String,
        /// The name.
        collection: String,
    },
    /// Several backends have a collection of this name, and none was named.
    #[error("collection {collection:?} is in {backends:?}: name the backend")]
    Ambiguous {
        /// The collection.
        collection: String,
        /// Who has it.
        backends: Vec<String>,
    },
    /// A query is not as wide as the collection.
    #[error("dimension mismatch: {collection:?} in {backend:?} has {expected}, {actual_by} has {actual}")]
    DimensionMismatch {
        /// The backend.
        backend: String,
        /// The collection.
        collection: String,
        /// The collection's number of dimensions.
        expected: usize,
        /// Who brought the other number.
        actual_by: String,
        /// The other number.
        actual: usize,
    },
    /// A backend could not do what it was asked for.
    #[error("backend {backend:?}: {detail}")]
    Backend {
        /// The backend.
        backend: String,
        /// What happened, in its own words.
        detail: String,
        /// Whether asking again may help.
        retryable: bool,
        /// The error it was told by, where it has a type of its own.
        source: Option<Arc<dyn std::error::Error + Send + Sync>>,
    },
    /// Only the cache was asked, and it does not have the collection.
    #[error("backend {backend:?}: collection {collection:?} is not in the cache")]
    CacheMiss {
        /// The backend.
        backend: String,
        /// The collection.
        collection: String,
    },
    /// A collection changed whenever it was read.
    #[error("backend {backend:?}: collection {collection:?} changed during each of {attempts} pulls")]
    Unsettled {
        /// The backend.
        backend: String,
        /// The collection.
        collection: String,
        /// How often it was read.
        attempts: u32,
    },
    /// The rows that were asked for are of a state that the backend does not have any more.
    #[error(
        "backend {backend:?}: collection {collection:?} is at {found}, and the rows of {wanted} are gone"
    )]
    Superseded {
        /// The backend.
        backend: String,
        /// The collection.
        collection: String,
        /// The state that the cache has.
        wanted: String,
        /// The state there is now.
        found: String,
    },
    /// Somebody may not do that.
    #[error("{}: {action} of {collection:?} in {backend:?} is denied: {reason}", principal.as_deref().unwrap_or("nobody"))]
    PolicyDenied {
        /// Who asked, if they said so.
        principal: Option<String>,
        /// The backend.
        backend: String,
        /// The collection.
        collection: String,
        /// What they wanted to do.
        action: Action,
        /// Why.
        reason: String,
        /// What kept the policy from deciding, if something did.
        source: Option<Arc<dyn std::error::Error + Send + Sync>>,
    },
    /// The answer did not come in time.
    #[error("backend {backend:?}: no answer for collection {collection:?} within {millis} ms")]
    Deadline {
        /// The backend.
        backend: String,
        /// The collection.
        collection: String,
        /// The time there was.
        millis: u64,
    },
    /// A digest or a signature is not that of what it is said to be of.
    #[error("{what}: witness mismatch, expected {expected}, got {actual}")]
    WitnessMismatch {
        /// Which file or field.
        what: String,
        /// What was written.
        expected: String,
        /// What is there.
        actual: String,
    },
    /// A bundle cannot be read.
    #[error("{}: not a bundle: {reason}", path.display())]
    InvalidBundle {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file is not what the backend may read.
    #[error("{}: {reason}", path.display())]
    InvalidFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A name leads out of the folder that it must stay in.
    #[error("{name:?}: {reason}")]
    UnsafePath {
        /// The name.
        name: String,
        /// Why it is refused.
        reason: String,
    },
    /// Something is larger than it may be.
    #[error("{what}: at most {limit} are allowed, got {actual}")]
    TooLarge {
        /// What was counted.
        what: String,
        /// The largest number.
        limit: u64,
        /// The number that was found.
        actual: u64,
    },
    /// An argument has a value that cannot be meant.
    #[error("{name}: expected {expected}, got {actual}")]
    InvalidParameter {
        /// The argument.
        name: String,
        /// The values that would do.
        expected: String,
        /// The value that was found.
        actual: String,
    },
    /// The operating system said no.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: Arc<io::Error>,
    },
    /// The core refused vectors, ids or an index.
    #[error("{0}")]
    Core(Arc<ruvector_core::Error>),
}

impl Error {
    /// An argument has a value that cannot be meant.
    pub fn invalid_parameter(
        name: impl Into<String>,
        expected: impl Into<String>,
        actual: impl Into<String>,
    ) -> Self {
        Self::InvalidParameter { name: name.into(), expected: expected.into(), actual: actual.into() }
    }

    /// A backend could not do what it was asked for, and would not next time.
    pub fn backend(backend: impl Into<String>, detail: impl std::fmt::Display) -> Self {
        Self::Backend { backend: backend.into(), detail: detail.to_string(), retryable: false, source: None }
    }

    /// The operating system said no.
    pub fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.into(), source: Arc::new(source) }
    }

    /// Whether the work was stopped because its monitor said so.
    pub fn is_interrupted(&self) -> bool {
        matches!(self, Self::Core(error) if matches!(**error, ruvector_core::Error::Interrupted))
    }

    /// Whether the same call may succeed later without anything being changed.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Backend { retryable, .. } => *retryable,
            Self::Deadline { .. }
            | Self::Unsettled { .. }
            | Self::Superseded { .. }
            | Self::CacheMiss { .. } => true,
            _ => false,
        }
    }
}

impl From<ruvector_core::Error> for Error {
    fn from(error: ruvector_core::Error) -> Self {
        Self::Core(Arc::new(error))
    }
}
