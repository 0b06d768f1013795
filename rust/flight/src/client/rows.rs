//! Rows that go to a server, and rows that come from it.

use std::{io, sync::Arc};

use arrow_array::{
    ArrayRef, ArrowPrimitiveType, FixedSizeListArray, Float16Array, Float32Array, RecordBatch,
    RecordBatchReader, make_array, types::Float16Type,
};
use arrow_buffer::NullBuffer;
use arrow_flight::{
    FlightDescriptor, Ticket, decode::FlightRecordBatchStream, encode::FlightDataEncoderBuilder,
    error::FlightError,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use futures::{StreamExt, TryStreamExt};
use ruvector_core::{Index, Vectors, ids::Ids, vectors::Element};
use tokio::runtime::Handle;

use super::{Client, MESSAGE, Refused};
use crate::ask::{GetAsk, PutAsk};

/// An element of half precision.
type Half = <Float16Type as ArrowPrimitiveType>::Native;

/// Bytes of vectors per message.
const BATCH: usize = 4 << 20;

impl Client {
    /// Sends rows, or ids alone, and collects what the server says to each batch, as JSON. Never sent twice.
    ///
    /// # Errors
    /// [`Refused`], as the server says; batches before the one that it refused are taken.
    pub async fn put(
        &self,
        ask: &PutAsk,
        vectors: Option<Vectors>,
        ids: Option<Ids>,
    ) -> Result<Vec<String>, Refused> {
        let descriptor =
            serde_json::to_string(ask).map_err(|error| Refused::server(self.location(), error))?;
        let rows = Rows { vectors, ids };
        let schema = rows.schema();
        self.repeated(false, || async {
            let batches = rows.clone().batches(SchemaRef::clone(&schema));
            let encoder = FlightDataEncoderBuilder::new()
                .with_schema(SchemaRef::clone(&schema))
                .with_max_flight_data_size(MESSAGE)
                .with_flight_descriptor(Some(FlightDescriptor::new_cmd(descriptor.clone())));
            let messages = encoder.build(futures::stream::iter(batches));
            let messages = messages.filter_map(|message| std::future::ready(message.ok()));
            let answers = self.service().do_put(self.request(messages)).await;
            let answers = answers.map_err(|status| self.refused(&status))?.into_inner();
            let told = answers.map_ok(|answer| String::from_utf8_lossy(&answer.app_metadata).into_owned());
            told.try_collect().await.map_err(|status| self.refused(&status))
        })
        .await
    }

    /// What a ticket stands for, batch by batch as they are read.
    ///
    /// # Errors
    /// [`Refused`], as the server says.
    pub async fn get(&self, ask: &GetAsk) -> Result<Arriving, Refused> {
        let ticket = serde_json::to_string(ask).map_err(|error| Refused::server(self.location(), error))?;
        self.repeated(true, || async {
            let answers = self.service().do_get(self.request(Ticket::new(ticket.clone()))).await;
            let answers = answers.map_err(|status| self.refused(&status))?.into_inner();
            let messages = answers.map_err(|status| FlightError::Tonic(Box::new(status)));
            let mut batches = FlightRecordBatchStream::new_from_flight_data(messages);
            // The schema is known when the first batch is there, or the end.
            let first = batches.next().await.transpose().map_err(|error| self.flight(error))?;
            let schema = batches.schema().cloned();
            let none = || Refused::server(self.location(), "expected a schema first, got none");
            let (schema, handle) = (schema.ok_or_else(none)?, Handle::current());
            Ok(Arriving { client: self.clone(), schema, first, batches, handle })
        })
        .await
    }

    /// An index, compared with its digests.
    ///
    /// # Errors
    /// [`Refused`], as the server says, or if it is not what the digests are of.
    pub async fn index(&self, ask: &GetAsk) -> Result<Index, Refused> {
        let Arriving { first, batches, .. } = self.get(ask).await?;
        let mut all: Vec<RecordBatch> = first.into_iter().collect();
        let rest: Vec<RecordBatch> = batches.try_collect().await.map_err(|error| self.flight(error))?;
        all.extend(rest);
        Index::from_batches(&all).map_err(|error| Refused::server(self.location(), error))
    }
}

/// Rows as a server takes them.
#[derive(Clone)]
struct Rows {
    vectors: Option<Vectors>,
    ids: Option<Ids>,
}

impl Rows {
    fn schema(&self) -> SchemaRef {
        let mut fields = Vec::new();
        if let Some(ids) = &self.ids {
            fields.push(Field::new("id", ids.id_type().data_type(), true));
        }
        if let Some(vectors) = &self.vectors {
            fields.push(Field::new("vector", list(vectors), true));
        }
        Arc::new(Schema::new(fields))
    }

    fn batches(self, schema: SchemaRef) -> impl Iterator<Item = Result<RecordBatch, FlightError>> {
        let width = self.vectors.as_ref().map_or(1, Vectors::dim).max(1);
        let len = self.vectors.as_ref().map_or_else(|| self.ids.as_ref().map_or(0, Ids::len), Vectors::len);
        let each = (BATCH / (width * size_of::<f32>())).max(1);
        (0..len).step_by(each).map(move |from| {
            let rows = each.min(len - from);
            let mut columns: Vec<ArrayRef> = Vec::new();
            if let Some(ids) = &self.ids {
                columns.push(make_array(ids.as_array().to_data()).slice(from, rows));
            }
            if let Some(vectors) = &self.vectors {
                columns.push(slice(vectors, from, rows)?);
            }
            Ok(RecordBatch::try_new(SchemaRef::clone(&schema), columns)?)
        })
    }
}

/// The type of vectors on the way.
pub(super) fn list(vectors: &Vectors) -> DataType {
    let half = vectors.element() == Element::F16;
    let element = if half { DataType::Float16 } else { DataType::Float32 };
    let item = Arc::new(Field::new("item", element, true));
    DataType::FixedSizeList(item, i32::try_from(vectors.dim()).unwrap_or(i32::MAX))
}

/// Some vectors, of the type that they have.
pub(super) fn slice(vectors: &Vectors, from: usize, rows: usize) -> Result<ArrayRef, ArrowError> {
    let (dim, range) = (vectors.dim(), from..from + rows);
    let DataType::FixedSizeList(item, width) = list(vectors) else {
        return Err(ArrowError::SchemaError("vectors are lists".into()));
    };
    let values: ArrayRef = if vectors.element() == Element::F16 {
        let mut values = Vec::with_capacity(rows * dim);
        for row in range.clone() {
            if let Some(half) = vectors.half_row(row) {
                values.extend_from_slice(half);
            } else {
                // Memory that is not aligned to its type is read by the byte. No value changes: each was half before.
                let mut plain = vec![0.0; dim];
                vectors.copy_row(row, &mut plain);
                values.extend(plain.into_iter().map(Half::from_f32));
            }
        }
        Arc::new(Float16Array::from(values))
    } else {
        let mut values = vec![0.0; rows * dim];
        vectors.copy_rows(range.clone(), &mut values);
        Arc::new(Float32Array::from(values))
    };
    let nulls =
        (vectors.null_count() > 0).then(|| range.map(|row| !vectors.is_null(row)).collect::<NullBuffer>());
    Ok(Arc::new(FixedSizeListArray::try_new(item, width, values, nulls)?))
}

/// Batches on their way here. They are read on any thread that may wait: none of a runtime's.
pub struct Arriving {
    client: Client,
    schema: SchemaRef,
    first: Option<RecordBatch>,
    batches: FlightRecordBatchStream,
    handle: Handle,
}

impl Iterator for Arriving {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(first) = self.first.take() {
            return Some(Ok(first));
        }
        let next = self.handle.block_on(self.batches.next())?;
        Some(next.map_err(|error| {
            let refused = self.client.flight(error);
            ArrowError::IoError(refused.message.clone(), io::Error::other(refused))
        }))
    }
}

impl RecordBatchReader for Arriving {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }
}
