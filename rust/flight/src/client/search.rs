//! Searches: vectors out, hits back.

use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, LargeListArray, RecordBatch, cast::AsArray};
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use ruvector_core::{Hits, Vectors};

use super::{Client, Refused, streams::Exchange};
use crate::{
    ask::{ExchangeAsk, SearchAsk, StateOf},
    question::EXACT,
};

/// Bytes of queries per message.
const BATCH: usize = 4 << 20;

impl Client {
    /// The nearest rows of each query.
    ///
    /// # Errors
    /// [`Refused`], as the server says, or because of a query that holds NaN or infinity.
    pub async fn search(&self, ask: &SearchAsk, queries: &Vectors) -> Result<Hits, Refused> {
        let mut ask = ask.clone();
        ask.state = StateOf::Each;
        ask.column = Some(COLUMN.into());
        let descriptor = serde_json::to_string(&ExchangeAsk::Search(ask))
            .map_err(|error| Refused::server(self.location(), error))?;
        let key = format!("{} {descriptor}", queries.dim());
        self.repeated(true, || async {
            if let Some(mut stream) = self.idle(&key) {
                match self.answers(&mut stream, queries).await {
                    Ok(hits) => {
                        self.keep(key.clone(), stream);
                        return Ok(hits);
                    }
                    // It may have been closed while it was idle, and the others with it.
                    Err(refused) if refused.stale => self.forget(),
                    Err(refused) => return Err(refused),
                }
            }
            let mut stream = self.open(&descriptor, schema(queries.dim())).await?;
            let hits = self.answers(&mut stream, queries).await?;
            self.keep(key.clone(), stream);
            Ok(hits)
        })
        .await
    }

    async fn answers(&self, stream: &mut Exchange, queries: &Vectors) -> Result<Hits, Refused> {
        let exact = stream.schema.metadata().get(EXACT).is_some_and(|exact| exact == "true");
        let mut parts = Vec::new();
        let unknown = |what: &dyn std::fmt::Display| Refused::server(self.location(), what);
        let taken = |batch: &RecordBatch| {
            let nested = batch.column_by_name("hits").and_then(large);
            let nested = nested.ok_or_else(|| unknown(&"expected a column of hits, got none"))?;
            parts.push(Hits::from_nested(&nested, exact).map_err(|error| unknown(&error))?);
            Ok(())
        };
        stream.ask(self, batches(queries), queries.len(), taken).await?;
        match (parts.len(), parts.pop()) {
            (1, Some(hits)) => Ok(hits),
            (_, last) => {
                parts.extend(last);
                let none = || Refused::server(self.location(), "no answer");
                Hits::concat(&parts).or_else(|| empty(&stream.schema, exact)).ok_or_else(none)
            }
        }
    }
}

/// The name of the column of queries.
const COLUMN: &str = "queries";

fn schema(dim: usize) -> SchemaRef {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let vectors = DataType::FixedSizeList(item, i32::try_from(dim).unwrap_or(i32::MAX));
    Arc::new(Schema::new(vec![Field::new(COLUMN, vectors, true)]))
}

/// The answer to no question.
fn empty(answers: &Schema, exact: bool) -> Option<Hits> {
    let field = answers.field_with_name("hits").ok()?;
    let nested = arrow_array::new_empty_array(field.data_type());
    Hits::from_nested(&large(&nested)?, exact).ok()
}

/// Lists with offsets of 64 bits, whichever kind of lists came: encoders of Arrow Flight are known to shorten them.
fn large(column: &ArrayRef) -> Option<LargeListArray> {
    if let Some(lists) = column.as_list_opt::<i64>() {
        return Some(lists.clone());
    }
    let (item, offsets, values, nulls) = column.as_list_opt::<i32>()?.clone().into_parts();
    let offsets: ScalarBuffer<i64> = offsets.iter().map(|&offset| i64::from(offset)).collect();
    LargeListArray::try_new(item, OffsetBuffer::new(offsets), values, nulls).ok()
}

/// The queries, in batches of about as many bytes as a message should have.
fn batches(queries: &Vectors) -> impl Iterator<Item = RecordBatch> {
    let (dim, len) = (queries.dim(), queries.len());
    let rows = (BATCH / (dim.max(1) * size_of::<f32>())).max(1);
    (0..len).step_by(rows).filter_map(move |start| {
        let rows = start..len.min(start + rows);
        let mut values = vec![0.0; rows.len() * dim];
        queries.copy_rows(rows.clone(), &mut values);
        let nulls =
            (queries.null_count() > 0).then(|| NullBuffer::from_iter(rows.map(|row| !queries.is_null(row))));
        let DataType::FixedSizeList(item, width) = schema(dim).field(0).data_type().clone() else {
            return None;
        };
        let values: ArrayRef = Arc::new(Float32Array::from(values));
        let vectors = FixedSizeListArray::try_new(item, width, values, nulls).ok()?;
        RecordBatch::try_new(schema(dim), vec![Arc::new(vectors)]).ok()
    })
}
