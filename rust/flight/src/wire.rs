//! Batches into messages and back. What a client sends is read by [`crate::decode`], which believes nothing of it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_flight::{FlightData, FlightDescriptor};
use arrow_schema::{DataType, Schema, SchemaRef};
use futures::{FutureExt, Stream};
use ruvector_core::{Error, Vectors};
use tonic::{Code, Status, Streaming};

use crate::{
    call::{Answers, Call},
    decode::{Decoded, Decoder},
    encode,
    quota::{Share, exhausted},
    status::named,
};

/// What a client streams: a descriptor, a schema, batches. The message that was read last counts against the client's
/// quota until the next one is asked for: whoever needs it longer keeps a share of their own, by [`Call::keep`].
pub(crate) struct Incoming {
    messages: Streaming<FlightData>,
    decoder: Decoder,
    call: Call,
    pub(crate) descriptor: FlightDescriptor,
    pub(crate) schema: SchemaRef,
}

impl Incoming {
    /// Reads up to the schema.
    pub(crate) async fn open(call: &Call, mut messages: Streaming<FlightData>) -> Result<Self, Status> {
        let first = messages.message().await?.ok_or_else(|| malformed("the stream is empty"))?;
        Self::open_with(call, first, messages).await
    }

    /// The same where the first message was looked at before.
    pub(crate) async fn open_with(
        call: &Call,
        first: FlightData,
        mut messages: Streaming<FlightData>,
    ) -> Result<Self, Status> {
        let Some(descriptor) = first.flight_descriptor.clone() else {
            return Err(malformed("the first message has no descriptor"));
        };
        let mut decoder = Decoder::default();
        let mut message = first;
        // A descriptor may come before the schema, in a message of its own.
        let schema = loop {
            match decoder.message(&message, |bytes| call.keep(bytes))? {
                Decoded::Schema(schema) => break schema,
                Decoded::Batch(_) => return Err(malformed("a batch before the schema")),
                Decoded::Nothing => {}
            }
            let next = messages.message().await?;
            message = next.ok_or_else(|| malformed("the stream ends before its schema"))?;
        };
        Ok(Self { messages, decoder, call: call.clone(), descriptor, schema })
    }

    /// The next batch.
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>, Status> {
        while let Some(message) = self.messages.message().await? {
            if let Decoded::Batch(batch) = self.decoder.message(&message, |bytes| self.call.keep(bytes))? {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }
}

/// Batches as messages, the schema first. What is under way counts against the caller's quota until it is handed on.
pub(crate) fn outgoing(
    call: &Call,
    schema: SchemaRef,
    batches: impl Stream<Item = Result<RecordBatch, Status>> + Send + 'static,
) -> Answers<FlightData> {
    let messages = encode::messages(schema, batches, call.shared().limits.message_bytes);
    Box::pin(Counted { messages, call: call.clone(), held: None, waiting: None })
}

/// Messages that wait for the quota of their client.
pub(crate) struct Counted {
    messages: Answers<FlightData>,
    call: Call,
    held: Option<Share>,
    waiting: Option<Waiting>,
}

struct Waiting {
    message: FlightData,
    permit: futures::future::BoxFuture<'static, Option<Share>>,
}

/// Messages that are made already, such as those of an index as it lies in its file.
pub(crate) fn counted(call: &Call, messages: Answers<FlightData>) -> Answers<FlightData> {
    Box::pin(Counted { messages, call: call.clone(), held: None, waiting: None })
}

impl Stream for Counted {
    type Item = Result<FlightData, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(waiting) = &mut this.waiting {
                let Poll::Ready(permit) = waiting.permit.poll_unpin(context) else { return Poll::Pending };
                this.held = permit;
                return Poll::Ready(this.waiting.take().map(|waiting| Ok(waiting.message)));
            }
            // Whoever asks for the next message has handed the last one on.
            this.held = None;
            match this.messages.as_mut().poll_next(context) {
                Poll::Ready(Some(Ok(message))) => {
                    let bytes =
                        message.data_body.len() + message.data_header.len() + message.app_metadata.len();
                    let most = this.call.shared().limits.message_bytes;
                    if bytes > most {
                        let message =
                            format!("answer: expected at most {most} bytes in a message, got {bytes}");
                        return Poll::Ready(Some(Err(exhausted(message))));
                    }
                    let call = this.call.clone();
                    let permit = async move { call.send_out(bytes).await }.boxed();
                    this.waiting = Some(Waiting { message, permit });
                }
                other => return other,
            }
        }
    }
}

/// The column of vectors that is meant: the one of this name, or the only one of a fitting type.
pub(crate) fn vector_column(schema: &Schema, name: Option<&str>) -> Result<usize, Error> {
    if let Some(name) = name {
        return schema.index_of(name).map_err(|_| {
            let known: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            Error::invalid_parameter("column", format!("one of {known:?}"), name)
        });
    }
    let fits = |data_type: &DataType| match data_type {
        DataType::FixedSizeList(child, _) | DataType::List(child) | DataType::LargeList(child) => {
            matches!(child.data_type(), DataType::Float32 | DataType::Float16)
        }
        DataType::FixedSizeBinary(_) => true,
        _ => false,
    };
    let mut fitting = schema.fields().iter().enumerate().filter(|(_, field)| fits(field.data_type()));
    match (fitting.next(), fitting.next()) {
        (Some((at, _)), None) => Ok(at),
        (found, _) => {
            let actual = if found.is_none() { "none" } else { "several: say which by column" };
            Err(Error::invalid_parameter("column", "one column of vectors", actual))
        }
    }
}

/// The vectors of a batch.
pub(crate) fn vectors(batch: &RecordBatch, at: usize, dim: Option<usize>) -> Result<Vectors, Error> {
    let column: &ArrayRef = batch.column(at);
    Vectors::from_arrays(batch.schema().field(at).name(), std::slice::from_ref(column), dim)
}

/// A client that does not keep to the protocol.
pub(crate) fn malformed(what: impl std::fmt::Display) -> Status {
    named(Code::InvalidArgument, "InvalidParameter", format!("malformed stream: {what}"))
}

/// A schema that is shared.
pub(crate) fn schema(fields: Vec<arrow_schema::FieldRef>) -> SchemaRef {
    Arc::new(Schema::new(fields))
}
