//! What belongs to rows and is not in an index: read from the backend, in the state that the index is of.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use arrow_array::{
    Array, ArrayRef, BooleanArray, RecordBatch, StringArray, cast::AsArray, new_empty_array, new_null_array,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::{filter::filter_record_batch, interleave::interleave};
use ruvector_core::{
    Hits,
    ids::{Id, IdType, Ids, OwnedId},
};

use crate::{
    answer::Hit,
    backend::{Pull, State, project, project_schema},
    error::{Error, Result},
    policy::{Mask, masked},
    predicate::{Condition, Predicate, Test, Value},
    shard::Reader,
};

/// Columns of the rows that a shard found.
pub(crate) struct Payload {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    /// Where the row of each id lies.
    places: HashMap<OwnedId, (usize, usize)>,
}

/// The ids of the rows that fulfil a predicate.
pub(crate) fn ids_where(reader: Reader<'_>, of: &State, predicate: &Predicate, kind: IdType) -> Result<Ids> {
    let selection = reader.lake.selection(reader.key());
    let (mut columns, mut numbers) = (Vec::new(), Vec::new());
    let mut row = 0;
    let pull = |state: &State| with_columns(state.id.iter().cloned().collect(), predicate, &selection, state);
    let each = |state: &State, batch: RecordBatch| {
        let mask = predicate.and(&selection).mask(&batch)?;
        if let Some(id) = &state.id {
            let kept = keep(&batch, mask)?;
            columns.extend(kept.column_by_name(id).cloned());
        } else {
            numbers.extend((row..).zip(&mask).filter(|(_, kept)| **kept).map(|(row, _)| row));
            row += mask.len() as i64;
        }
        Ok(())
    };
    let id = reader.rows(&of.generation, pull, each, |state, _| Ok(state.id.clone()))?;
    let Some(id) = id else { return Ok(Ids::Int64(numbers.into())) };
    Ok(Ids::from_list(&id, &columns)?.cast(&id, kind)?)
}

/// Columns of the rows that were found.
pub(crate) fn payload(
    reader: Reader<'_>,
    of: &State,
    hits: Option<&Hits>,
    wanted: &[String],
    mask: &BTreeMap<String, Mask>,
) -> Result<Payload> {
    let ids: HashSet<OwnedId> = hits.into_iter().flat_map(owned_ids).collect();
    let kind = hits.map_or(IdType::Int64, |hits| hits.ids().id_type());
    let (mut batches, mut places, mut row) = (Vec::new(), HashMap::new(), 0);
    let pull = |state: &State| {
        let mut columns: Vec<String> = state.id.iter().cloned().collect();
        columns.extend(wanted.iter().filter(|name| Some(*name) != state.id.as_ref()).cloned());
        let predicate = match &state.id {
            Some(id) => Predicate::all(of_ids(&ids, id)),
            None => Predicate::default(),
        };
        Pull { projection: Some(columns), predicate, skip_rows: 0 }
    };
    let each = |state: &State, batch: RecordBatch| {
        let names = match &state.id {
            Some(id) => {
                let column = batch.column_by_name(id).cloned();
                Ids::from_list(id, &column.into_iter().collect::<Vec<_>>())?.cast(id, kind)?
            }
            None => Ids::Int64((row..row + batch.num_rows() as i64).collect::<Vec<_>>().into()),
        };
        row += batch.num_rows() as i64;
        let names: Vec<OwnedId> = (0..names.len()).map(|at| names.get(at).into()).collect();
        let kept = keep(&batch, names.iter().map(|name| ids.contains(name)).collect())?;
        let found = names.into_iter().filter(|name| ids.contains(name));
        places.extend(found.enumerate().map(|(at, name)| (name, (batches.len(), at))));
        batches.push(masked(&project(&kept, Some(wanted))?, mask)?);
        Ok(())
    };
    let done = |_: &State, schema: SchemaRef| {
        let empty = RecordBatch::new_empty(project_schema(&schema, Some(wanted))?);
        Ok(masked(&empty, mask)?.schema())
    };
    let schema = reader.rows(&of.generation, pull, each, done)?;
    if let Some(missing) = ids.iter().find(|id| !places.contains_key(*id)) {
        let detail = format!("{}: no row of id {}, which was there before", reader.key(), missing.as_id());
        return Err(Error::backend(&reader.key().backend, detail));
    }
    Ok(Payload { schema, batches, places })
}

/// One table of the payloads of several shards: a row for each hit.
pub(crate) fn assemble(
    wanted: &[String],
    hits: &[Vec<Hit>],
    parts: &[(Arc<crate::Key>, Payload)],
) -> Result<RecordBatch> {
    let fields = fields(wanted, parts)?;
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(fields.len());
    let batches: Vec<(usize, &RecordBatch)> = parts
        .iter()
        .enumerate()
        .flat_map(|(part, (_, payload))| payload.batches.iter().map(move |batch| (part, batch)))
        .collect();
    let starts: Vec<usize> =
        (0..parts.len()).map(|part| batches.iter().filter(|(of, _)| *of < part).count()).collect();
    let place = |hit: &Hit| {
        let part = parts.iter().position(|(key, _)| **key == *hit.key)?;
        let (batch, row) = *parts[part].1.places.get(&hit.id)?;
        Some((starts[part] + batch, row))
    };
    let places: Option<Vec<(usize, usize)>> = hits.iter().flatten().map(place).collect();
    let places = places.ok_or_else(|| Error::backend("", "a hit without its row"))?;
    for field in &fields {
        let arrays: Vec<ArrayRef> = batches
            .iter()
            .map(|(_, batch)| {
                let column = batch.column_by_name(field.name());
                column.map_or_else(
                    || new_null_array(field.data_type(), batch.num_rows()),
                    |column| with_type(column, field.data_type()),
                )
            })
            .collect();
        let arrays: Vec<&dyn arrow_array::Array> = arrays.iter().map(|array| &**array).collect();
        columns.push(if arrays.is_empty() {
            new_empty_array(field.data_type())
        } else {
            interleave(&arrays, &places).map_err(ruvector_core::Error::from)?
        });
    }
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(places.len()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .map_err(|error| ruvector_core::Error::from(error).into())
}

/// The columns of all shards; what some lack is null in theirs.
fn fields(wanted: &[String], parts: &[(Arc<crate::Key>, Payload)]) -> Result<Vec<Field>> {
    let mut fields = Vec::with_capacity(wanted.len());
    for name in wanted {
        let mut found: Option<Field> = None;
        for (key, payload) in parts {
            let Ok(field) = payload.schema.field_with_name(name) else { continue };
            let first = found.as_ref().map_or(field.data_type(), Field::data_type);
            let Some(kind) = one_type(first, field.data_type()) else {
                let expected = format!("column {name:?} of one type ({first})");
                let actual = format!("{key}: {}", field.data_type());
                return Err(Error::invalid_parameter("columns", expected, actual));
            };
            found = Some(Field::new(name, kind, true).with_metadata(field.metadata().clone()));
        }
        fields.extend(found);
    }
    Ok(fields)
}

/// The type of a column that has these two in two places: readers do not agree on how text lies in memory.
fn one_type(one: &DataType, other: &DataType) -> Option<DataType> {
    let is_text = |kind: &DataType| matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    match (one, other) {
        (one, other) if one == other => Some(one.clone()),
        (one, other) if is_text(one) && is_text(other) => Some(DataType::Utf8),
        _ => None,
    }
}

/// The same values in a type that [`one_type`] gave.
fn with_type(column: &ArrayRef, kind: &DataType) -> ArrayRef {
    if column.data_type() == kind {
        return Arc::clone(column);
    }
    let texts: StringArray = match column.data_type() {
        DataType::LargeUtf8 => column.as_string::<i64>().iter().collect(),
        DataType::Utf8View => column.as_string_view().iter().collect(),
        _ => return Arc::clone(column),
    };
    Arc::new(texts)
}

fn owned_ids(hits: &Hits) -> impl Iterator<Item = OwnedId> + '_ {
    (0..hits.len()).map(|at| Id::into(hits.ids().get(at)))
}

fn of_ids(ids: &HashSet<OwnedId>, column: &str) -> [Condition; 1] {
    let value = |id: &OwnedId| match id {
        OwnedId::Int64(id) => Value::Integer((*id).into()),
        OwnedId::UInt64(id) => Value::Integer((*id).into()),
        OwnedId::Utf8(id) => Value::Text(id.to_string()),
    };
    [Condition { column: column.into(), test: Test::In(ids.iter().map(value).collect()) }]
}

/// Some columns and those that predicates ask about.
fn with_columns(
    mut columns: Vec<String>,
    predicate: &Predicate,
    selection: &Predicate,
    state: &State,
) -> Pull {
    for name in predicate.columns().chain(selection.columns()) {
        if !columns.iter().any(|column| column == name) {
            columns.push(name.into());
        }
    }
    // Where rows are known by their numbers, none may be left out.
    let predicate = if state.id.is_some() { predicate.and(selection) } else { Predicate::default() };
    Pull { projection: Some(columns), predicate, skip_rows: 0 }
}

pub(crate) fn keep(batch: &RecordBatch, mask: Vec<bool>) -> Result<RecordBatch> {
    filter_record_batch(batch, &BooleanArray::from(mask))
        .map_err(|error| ruvector_core::Error::from(error).into())
}
