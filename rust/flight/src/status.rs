//! Refusals, as gRPC tells them: a code that clients act on, a message for people, and the name of the error.

use ruvector_core::PersistError;
use ruvector_lake::Error;
use tonic::{Code, Status, metadata::MetadataValue};

use crate::log::short;

/// The header that carries the name of the class in `ruvector.errors`.
pub(crate) const CLASS: &str = "ruvector-error";
/// The header that carries the attributes of the error, as JSON.
pub(crate) const DETAILS: &str = "ruvector-error-details";

/// A refusal of the lake or of the core.
pub(crate) fn refuse(error: impl Into<Error>) -> Status {
    let error = error.into();
    let (code, class) = meaning(&error);
    crate::details::with_details(named(code, class, error.to_string()), &error)
}

/// A refusal of our own. What it quotes may be long, and messages travel as headers, of which clients take a few KiB.
pub(crate) fn named(code: Code, class: &'static str, message: impl Into<String>) -> Status {
    let mut status = Status::new(code, short(&message.into()));
    status.metadata_mut().insert(CLASS, MetadataValue::from_static(class));
    status
}

/// There is no such collection, or none that the caller may know of.
pub(crate) fn unknown(name: &str) -> Status {
    named(Code::NotFound, "UnknownCollection", format!("unknown collection {name:?}"))
}

/// Arguments that cannot be meant.
pub(crate) fn invalid(name: &str, expected: &str, actual: impl std::fmt::Display) -> Status {
    named(Code::InvalidArgument, "InvalidParameter", format!("{name}: expected {expected}, got {actual}"))
}

/// The same error where rows are counted from the beginning of a stream, of which so many came before.
pub(crate) fn rows_from(error: Error, before: usize) -> Error {
    use ruvector_core::Error as Core;
    let Error::Core(inner) = &error else { return error };
    match &**inner {
        Core::InvalidVector { column, row, reason } => {
            let (column, reason) = (column.clone(), reason.clone());
            Core::InvalidVector { column, row: before + row, reason }.into()
        }
        Core::DuplicateId { id, first, second } => {
            Core::DuplicateId { id: id.clone(), first: *first, second: before + second }.into()
        }
        _ => error,
    }
}

fn meaning(error: &Error) -> (Code, &'static str) {
    match error {
        Error::UnknownBackend { .. } => (Code::NotFound, "UnknownBackend"),
        Error::UnknownCollection { .. } => (Code::NotFound, "UnknownCollection"),
        Error::Ambiguous { .. } => (Code::InvalidArgument, "AmbiguousCollection"),
        Error::DimensionMismatch { .. } => (Code::InvalidArgument, "DimensionMismatch"),
        Error::Backend { retryable: true, .. } => (Code::Unavailable, "BackendError"),
        Error::Backend { .. } => (Code::Internal, "BackendError"),
        Error::CacheMiss { .. } => (Code::Unavailable, "CacheMissError"),
        Error::Unsettled { .. } => (Code::Aborted, "Unsettled"),
        Error::Superseded { .. } => (Code::Aborted, "Superseded"),
        Error::PolicyDenied { .. } => (Code::PermissionDenied, "PolicyDenied"),
        Error::Deadline { .. } => (Code::DeadlineExceeded, "DeadlineExceeded"),
        Error::WitnessMismatch { .. } => (Code::DataLoss, "WitnessMismatch"),
        Error::InvalidBundle { .. } | Error::InvalidFile { .. } => (Code::DataLoss, "InvalidBundle"),
        Error::UnsafePath { .. } => (Code::InvalidArgument, "UnsafePath"),
        Error::TooLarge { .. } => (Code::ResourceExhausted, "TooLarge"),
        Error::InvalidParameter { .. } => (Code::InvalidArgument, "InvalidParameter"),
        Error::Io { .. } => (Code::Internal, "PersistError"),
        Error::Core(error) => core(error),
        _ => (Code::Internal, "LakeError"),
    }
}

fn core(error: &ruvector_core::Error) -> (Code, &'static str) {
    use ruvector_core::Error as Core;
    match error {
        Core::DimensionMismatch { .. } => (Code::InvalidArgument, "DimensionMismatch"),
        Core::InvalidType { .. } => (Code::InvalidArgument, "InvalidVectorType"),
        Core::InvalidVector { .. } => (Code::InvalidArgument, "InvalidVector"),
        Core::DuplicateId { .. } => (Code::AlreadyExists, "DuplicateId"),
        Core::UnknownId { .. } => (Code::NotFound, "UnknownId"),
        Core::InvalidParameter { .. } => (Code::InvalidArgument, "InvalidParameter"),
        Core::EmptyIndex(_) => (Code::FailedPrecondition, "EmptyIndex"),
        Core::Interrupted => (Code::Cancelled, "RuVectorError"),
        Core::Persist { source: PersistError::Io(_), .. } => (Code::Internal, "PersistError"),
        Core::Persist { .. } => (Code::DataLoss, "PersistError"),
        _ => (Code::Internal, "VectorIndexError"),
    }
}
