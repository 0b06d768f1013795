//! Batches into messages. Columns go out in the types that they have, dictionaries as they are: written out, a single long
//! value could become as many as there are rows.
//!
//! Arrow's own encoder for Flight tells a schema in which large lists are small ones, and cuts slices by the size of what
//! they are slices of.

use std::{collections::VecDeque, pin::Pin};

use arrow_array::RecordBatch;
use arrow_flight::FlightData;
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow_schema::{ArrowError, SchemaRef};
use futures::{Stream, StreamExt, stream};
use tonic::{Code, Status};

use crate::{call::Answers, status::named};

/// Bytes of one message, but for rows that are longer.
const MESSAGE_BYTES: usize = 16 << 20;

/// The schema, then the batches: one message each, or several for one that is long.
pub(crate) fn messages(
    schema: SchemaRef,
    batches: impl Stream<Item = Result<RecordBatch, Status>> + Send + 'static,
    limit: usize,
) -> Answers<FlightData> {
    let mut encoder = Encoder {
        generator: IpcDataGenerator::default(),
        tracker: DictionaryTracker::new(false),
        options: IpcWriteOptions::default(),
        context: IpcWriteContext::default(),
        most: MESSAGE_BYTES.min(limit / 2),
    };
    let head = encoder.schema(&schema);
    let begin = Encoding { batches: Box::pin(batches), encoder, ready: VecDeque::from([head]) };
    stream::try_unfold(begin, |mut encoding| async move {
        loop {
            if let Some(message) = encoding.ready.pop_front() {
                return Ok(Some((message, encoding)));
            }
            let Some(batch) = encoding.batches.next().await.transpose()? else { return Ok(None) };
            encoding.encoder.batch(&batch, &mut encoding.ready).map_err(|error| broken(&error))?;
        }
    })
    .boxed()
}

struct Encoding {
    batches: Pin<Box<dyn Stream<Item = Result<RecordBatch, Status>> + Send>>,
    encoder: Encoder,
    /// What was made and not sent yet.
    ready: VecDeque<FlightData>,
}

struct Encoder {
    generator: IpcDataGenerator,
    tracker: DictionaryTracker,
    options: IpcWriteOptions,
    context: IpcWriteContext,
    most: usize,
}

impl Encoder {
    fn schema(&mut self, schema: &SchemaRef) -> FlightData {
        let Self { generator, tracker, options, .. } = self;
        generator.schema_to_bytes_with_dictionary_tracker(schema, tracker, options).into()
    }

    fn batch(&mut self, batch: &RecordBatch, ready: &mut VecDeque<FlightData>) -> Result<(), ArrowError> {
        let Self { generator, tracker, options, context, .. } = self;
        let (dictionaries, whole) = generator.encode(batch, tracker, options, context)?;
        ready.extend(dictionaries.into_iter().map(FlightData::from));
        let (rows, parts) = (batch.num_rows(), whole.arrow_data.len().div_ceil(self.most.max(1)));
        if parts <= 1 || rows <= 1 {
            ready.push_back(whole.into());
            return Ok(());
        }
        drop(whole);
        let step = rows.div_ceil(parts.min(rows));
        let step = if step == rows { rows.div_ceil(2) } else { step };
        for from in (0..rows).step_by(step) {
            self.batch(&batch.slice(from, step.min(rows - from)), ready)?;
        }
        Ok(())
    }
}

fn broken(error: &ArrowError) -> Status {
    named(Code::Internal, "RuVectorError", format!("internal: {error}"))
}
