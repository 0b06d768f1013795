//! What can go wrong, said to the person who meets it: which column, which row, what was got, what was expected.

use std::path::PathBuf;

/// The result of everything fallible in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything this crate refuses, one variant per thing a caller can do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two vectors that should have the same number of dimensions do not.
    #[error("dimension mismatch: {expected_by} has {expected}, {actual_by} has {actual}")]
    DimensionMismatch {
        /// Who fixed the expected number.
        expected_by: String,
        /// The number of dimensions that was expected.
        expected: usize,
        /// Who brought the other number.
        actual_by: String,
        /// The number of dimensions that was found.
        actual: usize,
    },
    /// A column is not a vector column (or not an id column).
    #[error("{column}: expected {expected}, got {actual}")]
    InvalidType {
        /// The column.
        column: String,
        /// The types that would do.
        expected: String,
        /// The type that was found.
        actual: String,
    },
    /// A row holds something that is not a vector: NaN, infinity, a null element, a wrong length.
    #[error("{column}, row {row}: {reason}")]
    InvalidVector {
        /// The column.
        column: String,
        /// The row, counted from 0 over all chunks.
        row: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Two rows carry the same id.
    #[error("duplicate id {id}: rows {first} and {second}")]
    DuplicateId {
        /// The id, as text.
        id: String,
        /// The earlier row.
        first: usize,
        /// The later row.
        second: usize,
    },
    /// No row carries this id.
    #[error("unknown id {id}")]
    UnknownId {
        /// The id, as text.
        id: String,
    },
    /// There is nothing to search.
    #[error("empty index: {0}")]
    EmptyIndex(String),
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
    /// A file cannot be read or written, or is not an index.
    #[error("{}: {source}", path.display())]
    Persist {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: PersistError,
    },
    /// Arrow refused something this crate built: a bug here, or memory ran out.
    #[error("arrow: {0}")]
    Arrow(#[from] arrow_schema::ArrowError),
    /// The caller asked for the work to stop.
    #[error("interrupted: stopped before it was done, nothing was changed")]
    Interrupted,
}

/// Why a file was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PersistError {
    /// The operating system said no.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The file is not an Arrow IPC file, or Arrow refuses it.
    #[error("not a readable arrow ipc file: {0}")]
    NotArrow(String),
    /// The file is an Arrow IPC file, but not an index.
    #[error("not a ruvector index: {0}")]
    NotAnIndex(String),
    /// The file was written by a later version.
    #[error("format version {found} is newer than {supported}, the newest this build reads")]
    UnsupportedVersion {
        /// The version in the file.
        found: u32,
        /// The newest version this build reads.
        supported: u32,
    },
    /// The bytes are not those that were written.
    #[error("{what}: digest mismatch, expected {expected}, got {actual}")]
    DigestMismatch {
        /// Which part of the file.
        what: String,
        /// The digest that was written.
        expected: String,
        /// The digest of what is there now.
        actual: String,
    },
    /// The file contradicts itself.
    #[error("corrupt: {0}")]
    Corrupt(String),
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

    /// A file cannot be read or written, or is not an index.
    pub fn persist(path: impl Into<PathBuf>, source: impl Into<PersistError>) -> Self {
        Self::Persist { path: path.into(), source: source.into() }
    }
}

const _: () = assert!(size_of::<Error>() <= 128, "errors travel in every Result: keep them small");
