//! What the cache holds, as a table.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, RecordBatch, StringArray, UInt64Array};

use crate::{
    bundle::Tags,
    entry::Held,
    error::{Error, Result},
    key::Key,
};

type Row = (Key, Held, bool);

/// A row for each collection that an index answers for.
pub(crate) fn table(held: &[Row]) -> Result<RecordBatch> {
    let texts = |text: fn(&Row) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(held.iter().map(text)))
    };
    let numbers = |number: fn(&Row) -> usize| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(held.iter().map(|row| number(row) as u64)))
    };
    let flags = |flag: fn(&Row) -> bool| -> ArrayRef {
        Arc::new(held.iter().map(|row| Some(flag(row))).collect::<BooleanArray>())
    };
    let tags = |tag: fn(&Tags) -> &Option<String>| -> ArrayRef {
        let tags = held.iter().map(|(_, held, _)| tag(&held.entry.bundle.tags).as_deref());
        Arc::new(tags.collect::<StringArray>())
    };
    let columns = [
        ("backend", texts(|(key, ..)| key.backend.clone()), false),
        ("collection", texts(|(key, ..)| key.collection.clone()), false),
        ("witness", texts(|(_, held, _)| held.entry.witness.to_hex()), false),
        ("generation", texts(|(_, held, _)| held.entry.bundle.generation.to_string()), false),
        ("rows", numbers(|(_, held, _)| held.len()), false),
        ("bytes", numbers(|(_, held, _)| held.entry.bytes), false),
        ("pinned", flags(|(.., pinned)| *pinned), false),
        ("spilled", flags(|(_, held, _)| held.entry.is_spilled()), false),
        ("pii_policy", tags(|tags| &tags.pii_policy), true),
        ("lineage_id", tags(|tags| &tags.lineage_id), true),
        ("memory_class", tags(|tags| &tags.memory_class), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns)
        .map_err(|error| Error::from(ruvector_core::Error::from(error)))
}
