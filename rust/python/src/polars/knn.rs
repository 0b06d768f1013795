//! `ruvector_knn`: the nearest rows of an index for each vector of a column.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int32Array, LargeListArray, StructArray, cast::AsArray, new_null_array};
use arrow_schema::{DataType, Field};
use ruvector_core::{Error, Hits, Unwatched, ids::IdType, index::SearchParams};

use super::{Column, Refusal, Result, kwargs, kwargs::KnnArgs, pool_for, vectors};
use crate::{registry, searchable::Searchable};

/// `List(Struct{id, distance})`, named after the vectors; with `ranked` each hit tells its rank, too.
pub(super) fn field(fields: &[Field], pickled: &[u8]) -> Result<Field> {
    let args: KnnArgs = kwargs::parse(pickled)?;
    let queries = fields.first().ok_or_else(|| Refusal("expected a vector column".into()))?;
    let dim = vectors::dim_of(queries)?;
    if let (Some(expected), Some(actual)) = (args.dim, dim)
        && expected != actual
    {
        let actual_by = queries.name().clone();
        return Err(Error::DimensionMismatch {
            expected_by: "the index".into(),
            expected,
            actual_by,
            actual,
        }
        .into());
    }
    Ok(Field::new(queries.name(), answer_type(args.id_type()?, args.ranked), true))
}

/// Answers a batch.
pub(super) fn call(inputs: &[Column], pickled: &[u8]) -> Result<Column> {
    let args: KnnArgs = kwargs::parse(pickled)?;
    let queries = inputs.first().ok_or_else(|| Refusal("expected a vector column".into()))?;
    let index = match &args.index {
        Some(reference) => Some(registry::resolve(reference)?),
        None => inputs.get(1).map_or(Ok(None), named_by)?,
    };
    let data_type = answer_type(args.id_type()?, args.ranked);
    let chunk = match index {
        Some(index) => search(&*index, queries, &args, pickled)?,
        None => new_null_array(&data_type, queries.len()),
    };
    if *chunk.data_type() != data_type {
        let (planned, found) = (args.id_type()?.name(), chunk.data_type());
        return Err(Refusal(format!(
            "the plan was made for an index with {planned} ids, this one answers {found}"
        )));
    }
    Ok(Column { name: queries.name.clone(), data_type, chunks: vec![chunk] })
}

fn search(index: &dyn Searchable, queries: &Column, args: &KnnArgs, pickled: &[u8]) -> Result<ArrayRef> {
    let index = index.pin(&Unwatched)?;
    let Some(vectors) = vectors::vectors(queries, Some(index.dim()))? else {
        return Err(Refusal(format!("{}: no row tells its dimension", queries.name)));
    };
    let pool = pool_for(vectors.len().saturating_mul(index.len()))?;
    let allowed = args.filter.as_ref().zip(index.snapshot());
    let filter = allowed.map(|(allowed, snapshot)| allowed.of(snapshot, pickled));
    let params = SearchParams { filter, ..args.params() };
    let hits = index.search(&vectors, &params, &pool, &Unwatched).map_err(|error| match &error {
        ruvector_lake::Error::Core(error) => vectors::refusal(error),
        other => Refusal(other.to_string()),
    })?;
    let nested = hits.to_nested()?;
    Ok(Arc::new(if args.ranked { with_ranks(&hits, nested)? } else { nested }))
}

/// The index that a join's right side has built while the plan ran. Every row names the same one; null says that there
/// was nothing to build it from.
fn named_by(keys: &Column) -> Result<Option<Arc<dyn Searchable>>> {
    let lists = keys.chunks.iter().filter_map(|chunk| chunk.as_list_opt::<i64>());
    let mut names = lists.flat_map(|lists| (0..lists.len()).map(|row| name_in(lists, row)));
    let Some(name) = names.next() else { return Ok(None) };
    if names.any(|other| other != name) {
        return Err(Refusal("the rows of one batch name several indexes".into()));
    }
    Ok(name.map(registry::resolve_entered).transpose()?)
}

fn name_in(lists: &LargeListArray, row: usize) -> Option<&str> {
    let start = usize::try_from(lists.value_offsets()[row]).ok()?;
    let names = lists.values().as_string_view_opt()?;
    lists.is_valid(row).then(|| names.value(start))
}

fn answer_type(id_type: IdType, ranked: bool) -> DataType {
    let nested = Hits::nested_type(id_type);
    match nested {
        DataType::LargeList(item) if ranked => DataType::LargeList(with_rank_field(&item)),
        other => other,
    }
}

fn with_rank_field(item: &Field) -> Arc<Field> {
    let fields = match item.data_type() {
        DataType::Struct(fields) => fields.iter().cloned().chain([rank_field()]).collect(),
        _ => [rank_field()].into_iter().collect(),
    };
    Arc::new(item.clone().with_data_type(DataType::Struct(fields)))
}

fn rank_field() -> Arc<Field> {
    Arc::new(Field::new("rank", DataType::Int32, true))
}

fn with_ranks(hits: &Hits, nested: LargeListArray) -> Result<LargeListArray> {
    let ranks = (0..hits.num_queries()).flat_map(|query| 0..hits.of_query(query).len() as i32);
    let ranks: ArrayRef = Arc::new(Int32Array::from_iter_values(ranks));
    let (item, offsets, structs, nulls) = nested.into_parts();
    let (fields, mut columns, _) = structs.as_struct().clone().into_parts();
    columns.push(ranks);
    let structs =
        StructArray::try_new(fields.iter().cloned().chain([rank_field()]).collect(), columns, None)?;
    Ok(LargeListArray::try_new(with_rank_field(&item), offsets, Arc::new(structs), nulls)?)
}
