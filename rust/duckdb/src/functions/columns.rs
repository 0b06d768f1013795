//! The columns that an index answers with, for the macros.

use std::sync::Arc;

use ruvector_core::{Error, ids::IdType};

use super::{Shared, search::too_few};
use crate::capi::{Kind, Scalar, Type};

/// The pattern of the fields of a hit that an index with such ids fills.
pub(super) fn pattern(ids: IdType) -> &'static str {
    match ids {
        IdType::Int64 => "^(?:(id)_int|(distance))$",
        IdType::UInt64 => "^(?:(id)_uint|(distance))$",
        IdType::Utf8 => "^(?:(id)_text|(distance))$",
    }
}

/// `__ruvector_columns(index)`: the pattern of the fields of a hit that an index fills, for `COLUMNS`.
pub(super) fn columns(shared: &Arc<Shared>) -> Scalar {
    let shared = Arc::clone(shared);
    Scalar {
        name: c"__ruvector_columns",
        overloads: vec![vec![Type::plain(Kind::Varchar)]],
        returns: Type::plain(Kind::Varchar),
        volatile: false,
        call: Arc::new(move |columns, answer| {
            let [names] = columns else { return Err(too_few()) };
            for row in 0..answer.rows() {
                let name = names.text(row);
                let name =
                    name.ok_or_else(|| Error::invalid_parameter("index", "a name or a path", "NULL"))?;
                let id_type = shared.registry.find(name)?.snapshot.id_type();
                answer.set_bytes(row, pattern(id_type).as_bytes());
            }
            Ok(())
        }),
    }
}
