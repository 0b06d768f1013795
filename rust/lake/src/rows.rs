//! From a backend's batches to vectors and ids: counted as they come, checked before they are believed, and digested.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int64Array};
use arrow_schema::Schema;
use blake3::Hasher;
use ruvector_core::{
    Monitor, Vectors,
    ids::{Id, Ids},
};

use crate::{
    backend::{Batches, Pull, State, stream_error},
    bundle::Content,
    error::{Error, Result},
    predicate::Predicate,
};

/// How large a collection may be. Counted while rows come, so that no stream fills the memory first.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Rows.
    pub rows: u64,
    /// Elements per vector.
    pub dim: usize,
    /// Bytes of the columns that are pulled.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rows: 100_000_000, dim: 8192, bytes: 16 << 30 }
    }
}

/// Rows that were pulled. Nothing is copied: the vectors are those of the batches.
pub(crate) struct Rows {
    pub(crate) vectors: Vectors,
    pub(crate) ids: Option<Ids>,
}

/// What is read from a stream, and how.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) state: State,
    pub(crate) limits: Limits,
    /// Which rows are kept.
    pub(crate) selection: Predicate,
    /// The number of the first row.
    pub(crate) first: u64,
}

impl Reading {
    /// What to ask a backend for.
    pub(crate) fn pull(&self) -> Pull {
        let Self { state, selection, first, .. } = self;
        let mut columns: Vec<String> = state.id.iter().chain([&state.vector]).cloned().collect();
        for name in selection.columns() {
            if !columns.iter().any(|column| column == name) {
                columns.push(name.into());
            }
        }
        // Where rows are known by their numbers, none may be left out.
        let predicate = if state.id.is_some() { selection.clone() } else { Predicate::default() };
        Pull { projection: Some(columns), predicate, skip_rows: *first }
    }
}

/// Reads a stream to its end; `None` if it has no rows.
pub(crate) fn read(
    backend: &str,
    stream: Batches,
    reading: &Reading,
    monitor: &dyn Monitor,
) -> Result<Option<Rows>> {
    let Reading { state, limits, selection, first } = reading;
    // Rows that are chosen from are called by the numbers they have in their table.
    let numbered = state.id.is_none() && !selection.is_empty();
    let mut number = *first;
    at_most("dimensions", limits.dim as u64, state.dim as u64)?;
    let (mut vectors, mut ids): (Vec<ArrayRef>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    let (mut rows, mut bytes) = (0, 0);
    for batch in stream {
        if monitor.interrupted() {
            return Err(ruvector_core::Error::Interrupted.into());
        }
        let batch = batch.map_err(|error| stream_error(backend, error))?;
        let numbers = number..number + batch.num_rows() as u64;
        number = numbers.end;
        let mask = numbered.then(|| selection.mask(&batch)).transpose()?;
        let batch = selection.apply(&batch)?;
        rows += batch.num_rows() as u64;
        bytes += batch.columns().iter().map(|column| column.get_array_memory_size() as u64).sum::<u64>();
        at_most("rows", limits.rows, rows)?;
        // A batch may be a slice that shares its memory with others; counting the vectors alone is never too much.
        let plain = (rows * state.dim as u64).saturating_mul(2);
        at_most("bytes", limits.bytes, bytes.min(plain.saturating_mul(8)))?;
        if batch.num_rows() == 0 {
            continue;
        }
        let column = |name: &str| {
            batch
                .column_by_name(name)
                .cloned()
                .ok_or_else(|| Error::backend(backend, format!("the stream lacks the column {name:?}")))
        };
        vectors.push(column(&state.vector)?);
        if let Some(id) = &state.id {
            ids.push(column(id)?);
        } else if let Some(mask) = mask {
            let kept = numbers.zip(mask).filter(|(_, kept)| *kept).map(|(number, _)| number as i64);
            ids.push(Arc::new(Int64Array::from_iter_values(kept)));
        }
    }
    if rows == 0 {
        return Ok(None);
    }
    let vectors = Vectors::from_arrays(&state.vector, &vectors, Some(state.dim))?;
    let name = state.id.as_deref().or(numbered.then_some("row"));
    let ids = name.map(|name| Ids::from_arrays(name, &ids, vectors.len())).transpose()?;
    Ok(Some(Rows { vectors, ids }))
}

fn at_most(what: &str, limit: u64, actual: u64) -> Result<()> {
    if actual <= limit { Ok(()) } else { Err(Error::TooLarge { what: what.into(), limit, actual }) }
}

/// The digest of the names and types of the two columns that matter.
pub(crate) fn fingerprint(schema: &Schema, state: &State) -> Result<String> {
    let mut hasher = Hasher::new();
    for name in state.id.iter().chain([&state.vector]) {
        let field = schema.field_with_name(name).map_err(|error| {
            Error::invalid_parameter("schema", format!("a column {name:?}"), error.to_string())
        })?;
        for text in [name.as_str(), &field.data_type().to_string()] {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// The digests of ids and of vectors, to which rows can be added. Where batches begin and end makes no difference.
#[derive(Clone, Debug, Default)]
pub(crate) struct Digester {
    ids: Hasher,
    vectors: Hasher,
    rows: u64,
    valid: u64,
}

impl Digester {
    /// Adds rows. Those without a vector leave their number out, and their id.
    pub(crate) fn update(&mut self, rows: &Rows) {
        let Rows { vectors, ids } = rows;
        let (mut scratch, mut bytes) = (vec![0.0; vectors.dim()], Vec::with_capacity(vectors.dim() * 4));
        for row in vectors.valid_rows(0..vectors.len()) {
            let number = Id::UInt64(self.rows + row as u64);
            match ids.as_ref().map_or(number, |ids| ids.get(row)) {
                Id::Int64(id) => self.ids.update(&id.to_le_bytes()),
                Id::UInt64(id) => self.ids.update(&id.to_le_bytes()),
                Id::Utf8(id) => self.ids.update(&(id.len() as u64).to_le_bytes()).update(id.as_bytes()),
            };
            bytes.clear();
            bytes.extend(vectors.row(row, &mut scratch).iter().flat_map(|value| value.to_le_bytes()));
            self.vectors.update(&bytes);
            self.valid += 1;
        }
        self.rows += vectors.len() as u64;
    }

    /// Counts rows that hold no vector.
    pub(crate) fn skip_nulls(&mut self, nulls: usize) {
        self.rows += nulls as u64;
    }

    /// What the rows are.
    pub(crate) fn content(&self, schema: String) -> Content {
        let mut root = Hasher::new();
        root.update(b"ruvector-lake-content-v1|");
        root.update(&self.valid.to_le_bytes());
        root.update(self.ids.finalize().as_bytes());
        root.update(self.vectors.finalize().as_bytes());
        Content { rows: self.valid, schema, digest: root.finalize().to_hex().to_string() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(ids: &[i64], values: &[f32]) -> Rows {
        Rows {
            vectors: Vectors::from_f32("v", 1, values.to_vec().into()).unwrap(),
            ids: Some(Ids::Int64(Int64Array::from(ids.to_vec()))),
        }
    }

    fn digest(parts: &[Rows]) -> Content {
        let mut digester = Digester::default();
        for part in parts {
            digester.update(part);
        }
        digester.content(String::new())
    }

    proptest! {
        #[test]
        fn the_digest_is_that_of_the_rows(table in prop::collection::vec((0_i64..3, 0..3), 1..9), cut in 0_usize..9, other in prop::collection::vec((0_i64..3, 0..3), 1..9)) {
            let split = |table: &[(i64, i32)]| -> (Vec<i64>, Vec<f32>) { table.iter().map(|row| (row.0, row.1 as f32)).unzip() };
            let whole = |table: &[(i64, i32)]| { let (ids, values) = split(table); rows(&ids, &values) };
            let cut = cut.min(table.len());
            let cut_up = digest(&[whole(&table[..cut]), whole(&table[cut..])]);
            prop_assert_eq!(&cut_up, &digest(&[whole(&table)]));
            prop_assert_eq!(cut_up == digest(&[whole(&other)]), table == other);
        }
    }
}
