//! `ruvector_build`: an index over a column, built while a plan runs; the right side of a lazy join.
//!
//! The answer is one row, the index's name. A join pairs it with every row of its left side, and `ruvector_knn` looks
//! it up. Plans are run more than once, at once and in the background, and nothing tells when a run is over; so it is
//! the name itself that keeps the index alive: its text lies in a buffer that owns the index, and that Polars shares
//! instead of copying. The index lives as long as there are rows that name it, and is gone when the run is.
//!
//! The name is a list of one string because of that. When Polars repeats a single value it copies the text of a string,
//! but keeps a list as it came; when it gathers, it copies lists, but shares the texts in them. Tried before: a plain
//! string, which is lost at the first repetition, and an index held by a Python callable in the plan, which
//! `collect(background=True)` drops too early and whoever holds on to the plan too late.

use std::{panic::AssertUnwindSafe, sync::Arc};

use arrow_array::{ArrayRef, LargeListArray, StringViewArray, new_null_array};
use arrow_buffer::OffsetBuffer;
use arrow_data::ByteView;
use arrow_schema::{DataType, Field};
use ruvector_core::{Error, Index, Live, Unwatched, ids::Ids};

use super::{Column, Refusal, Result, abi, kwargs, kwargs::BuildArgs, pool_for, vectors};
use crate::{registry, searchable::Searchable};

/// `List(String)`, named after the vectors.
pub(super) fn field(fields: &[Field], pickled: &[u8]) -> Result<Field> {
    let args: BuildArgs = kwargs::parse(pickled)?;
    args.params()?;
    let column = fields.first().ok_or_else(|| Refusal("expected a vector column".into()))?;
    vectors::dim_of(column)?;
    if let Some(ids) = fields.get(1) {
        // The types, and the message, are the core's.
        Ids::from_arrays(ids.name(), &[new_null_array(ids.data_type(), 0)], 0)?;
    }
    Ok(Field::new(column.name(), name_type(), true))
}

/// Builds. A column without a single vector has no index, and null for a name: nobody is near nothing.
pub(super) fn call(inputs: &[Column], pickled: &[u8]) -> Result<Column> {
    let args: BuildArgs = kwargs::parse(pickled)?;
    let column = inputs.first().ok_or_else(|| Refusal("expected a vector column".into()))?;
    let chunk = match build(column, inputs.get(1), &args)? {
        Some(index) => name(index, args.keep)?,
        None => new_null_array(&name_type(), 1),
    };
    Ok(Column { name: column.name.clone(), data_type: name_type(), chunks: vec![chunk] })
}

fn build(column: &Column, ids: Option<&Column>, args: &BuildArgs) -> Result<Option<Index>> {
    let Some(vectors) = vectors::vectors(column, None)? else { return Ok(None) };
    let rows = vectors.len();
    let ids = ids.map(|ids| Ids::from_arrays(&ids.name, &ids.chunks, rows)).transpose()?;
    match Index::build(vectors, ids.as_ref(), &args.params()?, &pool_for(usize::MAX)?, &Unwatched) {
        Ok(index) => Ok(Some(index)),
        Err(Error::EmptyIndex(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn name_type() -> DataType {
    DataType::LargeList(Arc::new(Field::new("item", DataType::Utf8View, true)))
}

/// The index's name, as a column of one row whose text owns the index.
fn name(index: Index, keep: bool) -> Result<ArrayRef> {
    let index = Arc::new(Live::new(index));
    let key = registry::enter(&(Arc::clone(&index) as Arc<dyn Searchable>), keep);
    let prefix: [u8; 4] = key.as_bytes().first_chunk().copied().unwrap_or_default();
    let view = ByteView::new(u32::try_from(key.len())?, &prefix);
    let text = abi::owning_buffer(key.into_bytes().into(), AssertUnwindSafe(index));
    let texts = StringViewArray::try_new(vec![view.as_u128()].into(), vec![text], None)?;
    let item = Arc::new(Field::new("item", DataType::Utf8View, true));
    Ok(Arc::new(LargeListArray::try_new(item, OffsetBuffer::from_lengths([1]), Arc::new(texts), None)?))
}
