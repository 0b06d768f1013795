//! The attributes that an error has in `ruvector.errors`, for clients to raise the same one.

use ruvector_lake::Error;
use serde_json::{Value, json};
use tonic::{Status, metadata::MetadataValue};

use crate::status::DETAILS;

/// Bytes of them at most: they travel as a header.
const MOST: usize = 4 << 10;

/// Puts the attributes of an error beside its status.
pub(crate) fn with_details(mut status: Status, error: &Error) -> Status {
    let text = ascii(&details(error).to_string());
    if text.len() <= MOST
        && let Ok(value) = MetadataValue::try_from(text)
    {
        status.metadata_mut().insert(DETAILS, value);
    }
    status
}

/// JSON in ASCII: what is not is escaped.
fn ascii(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii() {
            escaped.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    escaped
}

fn details(error: &Error) -> Value {
    match error {
        Error::UnknownBackend { backend, known } => json!({"backend": backend, "known": known}),
        Error::UnknownCollection { backend, collection } => {
            json!({"backend": backend, "collection": collection})
        }
        Error::Ambiguous { collection, backends } => json!({"collection": collection, "backends": backends}),
        Error::DimensionMismatch { expected, actual, .. } => json!({"expected": expected, "actual": actual}),
        Error::Backend { backend, retryable, .. } => json!({"backend": backend, "retryable": retryable}),
        Error::CacheMiss { backend, collection } => json!({"backend": backend, "collection": collection}),
        Error::Unsettled { backend, collection, attempts } => {
            json!({"backend": backend, "collection": collection, "attempts": attempts})
        }
        Error::Superseded { backend, collection, wanted, found } => {
            json!({"backend": backend, "collection": collection, "expected": wanted, "actual": found})
        }
        Error::PolicyDenied { principal, backend, collection, action, .. } => json!({
            "principal": principal, "backend": backend, "collection": collection, "action": action.name(),
        }),
        Error::Deadline { backend, collection, millis } => json!({
            "backend": backend, "collection": collection, "seconds": *millis as f64 / 1000.0,
        }),
        Error::WitnessMismatch { what, expected, actual } => {
            json!({"what": what, "expected": expected, "actual": actual})
        }
        Error::UnsafePath { name, reason } => json!({"name": name, "reason": reason}),
        Error::TooLarge { what, limit, actual } => json!({"what": what, "limit": limit, "actual": actual}),
        Error::InvalidParameter { name, expected, actual } => {
            json!({"name": name, "expected": expected, "actual": actual})
        }
        Error::Core(error) => core(error),
        _ => json!({}),
    }
}

fn core(error: &ruvector_core::Error) -> Value {
    use ruvector_core::Error as Core;
    match error {
        Core::DimensionMismatch { expected, actual, .. } => json!({"expected": expected, "actual": actual}),
        Core::InvalidType { column, expected, actual } => {
            json!({"column": column, "expected": expected, "actual": actual})
        }
        Core::InvalidVector { column, row, .. } => json!({"column": column, "row": row}),
        Core::DuplicateId { id, first, second } => json!({"id": id, "rows": [first, second]}),
        Core::UnknownId { id } => json!({"id": id}),
        Core::InvalidParameter { name, expected, actual } => {
            json!({"name": name, "expected": expected, "actual": actual})
        }
        _ => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_a_header_whatever_they_hold() {
        let error = Error::UnknownCollection { backend: "lager".into(), collection: "bücher 📚".into() };
        let status = with_details(Status::not_found("no"), &error);
        let header = status.metadata().get(DETAILS).unwrap().to_str().unwrap();
        assert!(header.is_ascii());
        let read: Value = serde_json::from_str(header).unwrap();
        assert_eq!(read, json!({"backend": "lager", "collection": "bücher 📚"}));
        let error = Error::UnknownCollection { backend: "x".into(), collection: "y".repeat(MOST) };
        assert!(with_details(Status::not_found("no"), &error).metadata().get(DETAILS).is_none());
    }
}
