//! Who may do what: asked before rows are pulled, and before anything is returned.

use std::{collections::BTreeMap, fmt};

use arrow_array::{Array, ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow_schema::{DataType, Field, Schema};
use std::sync::Arc;

use crate::{
    error::{Error, Result},
    key::Key,
    predicate::Predicate,
};

/// What somebody wants to do with a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Have its rows read for the cache.
    Pull,
    /// Search it.
    Search,
    /// Read its rows.
    Scan,
    /// Write its bundle into a folder.
    Publish,
    /// Write its index into a folder.
    Save,
}

impl Action {
    /// The action's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Search => "search",
            Self::Scan => "scan",
            Self::Publish => "publish",
            Self::Save => "save",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a policy is asked.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Who asks: see [`crate::RuLake::acting_as`].
    pub principal: Option<&'a str>,
    /// The collection.
    pub key: &'a Key,
    /// What is wanted.
    pub action: Action,
}

impl Request<'_> {
    fn denied(&self, reason: String, source: Option<Error>) -> Error {
        Error::PolicyDenied {
            principal: self.principal.map(Into::into),
            backend: self.key.backend.clone(),
            collection: self.key.collection.clone(),
            action: self.action,
            reason,
            source: source.map(|source| Arc::new(source) as _),
        }
    }
}

/// What becomes of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// It is not there.
    Drop,
    /// It is there without values.
    Null,
    /// Each value is a digest of itself, the same for the same value, as text.
    Hash,
}

/// What a policy answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Whether it may be done at all.
    pub allow: bool,
    /// Which rows may be seen. Before a pull this narrows nothing: the cache is everybody's.
    pub rows: Predicate,
    /// What becomes of columns that are returned.
    pub mask: BTreeMap<String, Mask>,
}

impl Decision {
    /// Everything may be done and seen.
    pub fn allowed() -> Self {
        Self { allow: true, rows: Predicate::default(), mask: BTreeMap::new() }
    }

    /// Nothing.
    pub fn denied() -> Self {
        Self { allow: false, ..Self::allowed() }
    }
}

/// Decides who may do what. Asked from several threads at once, before each search: keep it cheap.
pub trait Policy: Send + Sync {
    /// The decision. An error denies.
    ///
    /// # Errors
    /// Whatever kept it from deciding.
    fn decide(&self, request: &Request<'_>) -> Result<Decision>;
}

/// Asks a policy; without one everything is allowed.
pub(crate) fn decide(policy: Option<&dyn Policy>, request: &Request<'_>) -> Result<Option<Decision>> {
    let Some(policy) = policy else { return Ok(None) };
    match policy.decide(request) {
        Ok(decision) if decision.allow => Ok(Some(decision)),
        Ok(_) => Err(request.denied("the policy says no".into(), None)),
        Err(error) => Err(request.denied(format!("the policy failed: {error}"), Some(error))),
    }
}

/// Refuses questions about columns that are masked: their answers would tell the values.
pub(crate) fn check_asked(
    decision: Option<&Decision>,
    asked: &Predicate,
    request: Request<'_>,
) -> Result<()> {
    let Some(decision) = decision else { return Ok(()) };
    let hidden = asked.columns().find(|name| decision.mask.contains_key(*name));
    hidden.map_or(Ok(()), |name| {
        Err(request.denied(format!("column {name:?} is masked, and a filter must not ask about it"), None))
    })
}

/// A batch as somebody may see it.
pub(crate) fn masked(batch: &RecordBatch, mask: &BTreeMap<String, Mask>) -> Result<RecordBatch> {
    if mask.is_empty() {
        return Ok(batch.clone());
    }
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        if let Some((field, column)) = one(field, column, mask.get(field.name()).copied())? {
            fields.push(field);
            columns.push(column);
        }
    }
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let schema = Schema::new_with_metadata(fields, batch.schema_ref().metadata().clone());
    RecordBatch::try_new_with_options(Arc::new(schema), columns, &options)
        .map_err(|error| ruvector_core::Error::from(error).into())
}

type Column = (Arc<Field>, ArrayRef);

fn one(field: &Arc<Field>, column: &ArrayRef, mask: Option<Mask>) -> Result<Option<Column>> {
    Ok(match mask {
        None => Some((Arc::clone(field), Arc::clone(column))),
        Some(Mask::Drop) => None,
        Some(Mask::Null) => {
            let blank = Field::clone(field).with_nullable(true);
            Some((Arc::new(blank), new_null_array(field.data_type(), column.len())))
        }
        Some(Mask::Hash) => {
            let hashed = Field::new(field.name(), DataType::Utf8, true);
            Some((Arc::new(hashed), Arc::new(hashed_column(column)?)))
        }
    })
}

/// The BLAKE3 digests of values, of their text where they have one and of their bytes otherwise.
fn hashed_column(column: &ArrayRef) -> Result<StringArray> {
    use arrow_array::cast::AsArray;
    let digest = |bytes: &[u8]| blake3::hash(bytes).to_hex().to_string();
    let text = |value: Option<&str>| value.map(|value| digest(value.as_bytes()));
    Ok(match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().iter().map(text).collect(),
        DataType::LargeUtf8 => column.as_string::<i64>().iter().map(text).collect(),
        DataType::Utf8View => column.as_string_view().iter().map(text).collect(),
        kind if kind.is_primitive() || matches!(kind, DataType::FixedSizeBinary(_)) => {
            let data = column.to_data();
            let width = kind.primitive_width().or(match kind {
                DataType::FixedSizeBinary(width) => Some(*width as usize),
                _ => None,
            });
            let (width, offset) = (width.unwrap_or(0), data.offset());
            let bytes = data.buffers()[0].as_slice();
            let value = |row: usize| &bytes[(offset + row) * width..(offset + row + 1) * width];
            (0..column.len()).map(|row| column.is_valid(row).then(|| digest(value(row)))).collect()
        }
        DataType::Boolean => {
            let values = column.as_boolean();
            values.iter().map(|value| value.map(|value| digest(&[u8::from(value)]))).collect()
        }
        other => {
            let expected = "a column of texts, numbers or bytes to hash";
            return Err(Error::invalid_parameter("mask", expected, other.to_string()));
        }
    })
}
