//! Why a server, or the way to it, did not do what it was asked for.

use std::{error::Error, fmt};

use serde_json::{Map, Value, json};
use tonic::{Code, Status};

use crate::status::{CLASS, DETAILS};

/// A refusal, with the name of its class in `ruvector.errors`.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The class.
    pub class: String,
    /// What people read.
    pub message: String,
    /// The attributes of the class.
    pub details: Map<String, Value>,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// Whether a stream that was begun earlier may fail where a new one would not.
    pub(super) stale: bool,
}

impl Refused {
    /// An argument that cannot be meant.
    pub(super) fn invalid(name: &str, expected: &str, actual: impl fmt::Display) -> Self {
        let details = json!({"name": name, "expected": expected, "actual": actual.to_string()});
        Self::of("InvalidParameter", format!("{name}: expected {expected}, got {actual}"), details)
    }

    /// The server did not do it, and says nothing that is known.
    pub(super) fn server(location: &str, what: impl fmt::Display) -> Self {
        let details = json!({"backend": location, "retryable": false});
        Self::of("BackendError", format!("{location}: {what}"), details)
    }

    /// It took too long.
    pub(super) fn late(location: &str, seconds: f64) -> Self {
        let details = json!({"backend": location, "collection": "", "seconds": seconds});
        Self::of("DeadlineExceeded", format!("{location}: no answer within {seconds} s"), details)
    }

    fn of(class: &str, message: String, details: Value) -> Self {
        let details = if let Value::Object(details) = details { details } else { Map::new() };
        Self { class: class.into(), message, details, retryable: false, stale: false }
    }

    /// What a status says. Our servers name the class; others have codes only.
    pub(super) fn from_status(location: &str, status: &Status) -> Self {
        let header = |name| status.metadata().get(name).and_then(|value| value.to_str().ok());
        // What breaks on the way is a status that was made here, of an error.
        let broken = status.source().is_some() && header(CLASS).is_none();
        let code = status.code();
        let stale = matches!(
            code,
            Code::Unavailable | Code::Aborted | Code::Cancelled | Code::DeadlineExceeded | Code::NotFound
        );
        let retryable = broken || code == Code::Unavailable;
        if let Some(class) = header(CLASS) {
            let details = header(DETAILS).and_then(|text| serde_json::from_str(text).ok());
            let mut refused = Self::of(class, status.message().into(), details.unwrap_or_default());
            refused.retryable = retryable;
            refused.stale = stale;
            return refused;
        }
        let class = match code {
            _ if broken => "BackendError",
            Code::InvalidArgument | Code::OutOfRange => "InvalidParameter",
            Code::NotFound => "UnknownCollection",
            Code::Unauthenticated | Code::PermissionDenied => "PolicyDenied",
            Code::DeadlineExceeded => "DeadlineExceeded",
            Code::ResourceExhausted => "TooLarge",
            _ => "BackendError",
        };
        let mut message = format!("{location}: {}", status.message());
        let mut source = status.source();
        while let Some(error) = source {
            let text = error.to_string();
            if !message.ends_with(&text) {
                message = format!("{message}: {text}");
            }
            source = error.source();
        }
        let details = json!({"backend": location, "retryable": retryable});
        Self { retryable, stale: stale || broken, ..Self::of(class, message, details) }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Refused {}
