//! The rows of a collection, as a stream that holds no more than a batch or two.

use std::ops::Range;

use arrow_array::RecordBatch;
use arrow_flight::FlightData;
use arrow_schema::SchemaRef;
use futures::stream;
use ruvector_core::{Error as CoreError, live::Snapshot};
use ruvector_lake::{
    Error, Key, Predicate, RuLake,
    backend::{Batches, Pull, project, stream_error},
    predicate::{Comparison, Condition, Test, Value},
};
use tonic::Status;

use crate::{
    ask::ScanAsk,
    auth::Verb,
    call::{Answers, Call},
    catalog::Source,
    get::{lazily, rows},
    parts::{blocks_at_once, blocks_of},
    pins::{Pinned, pinned, superseded},
    status::{invalid, refuse},
    wire::outgoing,
};

/// The column of ids of an index's rows.
const ID: &str = "id";

/// Conditions, as they come in JSON.
type Groups = [Vec<(String, String, serde_json::Value)>];

/// Streams rows.
pub(crate) fn scan(call: &Call, ask: &ScanAsk) -> Result<Answers<FlightData>, Status> {
    let name = &ask.collection;
    let asked = predicate(&ask.r#where).map_err(refuse)?;
    call.about(name);
    call.caller().may_with(Verb::Read, name)?;
    let found = call.shared().catalog.find(name);
    if let Some(Source::Collection { lake, key, predicate }) = found.as_deref().map(|served| &served.source) {
        if (ask.part, ask.parts.unwrap_or(1)) != (0, 1) {
            return Err(invalid("part", "0 of 1: rows of a lake come in one stream", ask.part));
        }
        let lake = as_caller(call, lake);
        let lake = match &ask.generation {
            None => lake,
            Some(generation) => {
                // A session's scan is of the state that the session has seen, or it fails.
                let lake = lake.session();
                let pin = call.compute(|monitor| lake.hold(key, &Predicate::default(), monitor))?;
                if pin.bundle().generation.to_string() != *generation {
                    return Err(superseded(name));
                }
                lake
            }
        };
        let pull = Pull { projection: ask.columns.clone(), predicate: predicate.and(&asked), skip_rows: 0 };
        let batches = call.compute(|_| lake.scan(key, &pull))?;
        return Ok(outgoing(call, batches.schema(), blocking(call, key.clone(), batches)));
    }
    let pinned = pinned(call, Verb::Read, name, ask.generation.as_deref())?;
    of_index(call, ask, &pinned, asked)
}

/// The lake as the caller may see it.
pub(crate) fn as_caller(call: &Call, lake: &RuLake) -> RuLake {
    call.caller().principal().map_or_else(|| lake.clone(), |principal| lake.acting_as(principal))
}

/// The columns of a scan.
pub(crate) fn schema_of(call: &Call, ask: &ScanAsk, pinned: &Pinned) -> Result<SchemaRef, Status> {
    let asked = predicate(&ask.r#where).map_err(refuse)?;
    match &pinned.source {
        Source::Collection { lake, key, predicate } => {
            let predicate = predicate.and(&asked);
            let pull = Pull { projection: ask.columns.clone(), predicate, skip_rows: 0 };
            let lake = as_caller(call, lake);
            Ok(call.compute(|_| lake.scan(key, &pull))?.schema())
        }
        Source::Index(_) => {
            let snapshot = pinned.snapshot().map_err(refuse)?;
            let batch = call.compute(|_| shown(&snapshot, 0..0, &asked, ask.columns.as_deref()))?;
            Ok(batch.schema())
        }
    }
}

fn of_index(
    call: &Call,
    ask: &ScanAsk,
    pinned: &Pinned,
    asked: Predicate,
) -> Result<Answers<FlightData>, Status> {
    let snapshot = pinned.snapshot().map_err(refuse)?;
    let schema = call.compute(|_| shown(&snapshot, 0..0, &asked, ask.columns.as_deref()))?.schema();
    let blocks = blocks_of(&snapshot, ask.part, ask.parts.unwrap_or(1))?;
    let at_once = blocks_at_once(&snapshot);
    let columns = ask.columns.clone();
    let call_again = call.clone();
    let pieces = blocks.clone().step_by(at_once).map(move |from| {
        let piece = from..(from + at_once).min(blocks.end);
        call_again.compute(|_| shown(&snapshot, piece, &asked, columns.as_deref()))
    });
    Ok(outgoing(call, schema, lazily(pieces)))
}

fn shown(
    snapshot: &Snapshot,
    blocks: Range<usize>,
    asked: &Predicate,
    columns: Option<&[String]>,
) -> Result<RecordBatch, Error> {
    project(&asked.apply(&rows(snapshot, blocks, ID)?)?, columns)
}

/// What blocks, on a thread of its own, one batch ahead.
fn blocking(
    call: &Call,
    key: Key,
    batches: Batches,
) -> impl futures::Stream<Item = Result<RecordBatch, Status>> + Send + 'static {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let call = call.clone();
    tokio::task::spawn_blocking(move || {
        let mut batches = batches;
        loop {
            let next = call.compute(|monitor| {
                if monitor.interrupted() {
                    return Err(Error::from(CoreError::Interrupted));
                }
                batches.next().transpose().map_err(|error| stream_error(&key.backend, error))
            });
            let Some(next) = next.transpose() else { return };
            let failed = next.is_err();
            if sender.blocking_send(next).is_err() || failed {
                return;
            }
        }
    });
    stream::unfold(receiver, |mut receiver| async move {
        let next = receiver.recv().await?;
        Some((next, receiver))
    })
}

/// Conditions as the lake has them.
///
/// # Errors
/// What is no comparison, and values that nothing compares with.
pub(crate) fn predicate(groups: &Groups) -> Result<Predicate, CoreError> {
    let group = |group: &Vec<(String, String, serde_json::Value)>| {
        group.iter().map(|(column, operator, value)| condition(column, operator, value)).collect()
    };
    Ok(Predicate { any: groups.iter().map(group).collect::<Result<_, CoreError>>()? })
}

fn condition(column: &str, operator: &str, value: &serde_json::Value) -> Result<Condition, CoreError> {
    let compare = |comparison| Ok::<_, CoreError>(Test::Compare(comparison, value_of(value)?));
    let several = || {
        let values = value.as_array().ok_or_else(|| {
            CoreError::invalid_parameter("where", "a list of values after in", value.to_string())
        })?;
        values.iter().map(value_of).collect::<Result<Vec<_>, _>>()
    };
    let test = match operator {
        "==" | "=" => compare(Comparison::Equal)?,
        "!=" => compare(Comparison::NotEqual)?,
        "<" => compare(Comparison::Less)?,
        "<=" => compare(Comparison::LessOrEqual)?,
        ">" => compare(Comparison::Greater)?,
        ">=" => compare(Comparison::GreaterOrEqual)?,
        "in" => Test::In(several()?),
        "not in" => Test::NotIn(several()?),
        other => {
            let expected = "==, !=, <, <=, >, >=, in or not in";
            return Err(CoreError::invalid_parameter("where", expected, format!("{other:?}")));
        }
    };
    Ok(Condition { column: column.into(), test })
}

fn value_of(value: &serde_json::Value) -> Result<Value, CoreError> {
    use serde_json::Value as Json;
    match value {
        Json::Bool(truth) => Ok(Value::Boolean(*truth)),
        Json::String(text) => Ok(Value::Text(text.clone())),
        Json::Number(number) => {
            let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
            match (whole, number.as_f64()) {
                (Some(whole), _) => Ok(Value::Integer(whole)),
                (None, Some(float)) => Ok(Value::Float(float)),
                (None, None) => Err(CoreError::invalid_parameter("where", "a number", number.to_string())),
            }
        }
        other => Err(CoreError::invalid_parameter("where", "a number, a text or a truth", other.to_string())),
    }
}
