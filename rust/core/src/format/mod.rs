//! stub
use crate::index::Index;
pub(crate) fn content_digest(_index: &Index) -> String {
    String::new()
}
