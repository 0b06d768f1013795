//! Where errors and panics stop: nothing unwinds into DuckDB.

use std::{
    any::Any,
    ffi::CString,
    panic::{AssertUnwindSafe, catch_unwind},
};

use crate::refusal::Result;

/// Runs the work of a call; what went wrong, as text for DuckDB, otherwise.
pub(super) fn guard<T>(work: impl FnOnce() -> Result<T>) -> Result<T, CString> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(refusal)) => Err(text(refusal.0)),
        Err(payload) => Err(text(format!("ruvector failed, please report it: {}", said(payload.as_ref())))),
    }
}

/// Text as C wants it.
pub(super) fn text(message: String) -> CString {
    let bytes: Vec<u8> = message.into_bytes().into_iter().filter(|&byte| byte != 0).collect();
    CString::new(bytes).unwrap_or_default()
}

fn said(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Refusal;

    #[test]
    fn errors_and_panics_become_text() {
        assert_eq!(guard(|| Ok(3)).unwrap(), 3);
        assert_eq!(guard::<()>(|| Err(Refusal("a\0b".into()))).unwrap_err().as_c_str(), c"ab");
        let panicked = guard::<()>(|| panic!("seven")).unwrap_err();
        assert_eq!(panicked.as_c_str(), c"ruvector failed, please report it: seven");
    }
}
