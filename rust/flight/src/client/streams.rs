//! Streams of questions that stay open for the next ones.

use std::{collections::VecDeque, sync::PoisonError, time::Instant};

use arrow_array::RecordBatch;
use arrow_flight::{
    FlightDescriptor,
    decode::{DecodedPayload, FlightDataDecoder},
    encode::FlightDataEncoderBuilder,
    error::FlightError,
};
use arrow_schema::SchemaRef;
use futures::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Client, MESSAGE, Refused};

/// How many batches are on their way to the server before the first one is answered.
pub(super) const IN_FLIGHT: usize = 3;
/// How many streams wait for their next question.
const IDLE: usize = 8;
/// How long they do.
const IDLE_SECONDS: u64 = 60;

/// The streams that nobody uses at the moment, the one used last at the end.
#[derive(Default)]
pub(super) struct Streams(VecDeque<(String, Instant, Exchange)>);

/// A stream: batches in, batches out.
pub(super) struct Exchange {
    questions: mpsc::Sender<RecordBatch>,
    answers: FlightDataDecoder,
    pub(super) schema: SchemaRef,
}

impl Client {
    /// A stream that was opened by the same descriptor, if one is idle.
    pub(super) fn idle(&self, descriptor: &str) -> Option<Exchange> {
        let mut streams = self.0.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let at = streams
            .0
            .iter()
            .rposition(|(key, since, _)| key == descriptor && since.elapsed().as_secs() < IDLE_SECONDS)?;
        streams.0.remove(at).map(|(_, _, stream)| stream)
    }

    /// Keeps a stream for the next question.
    pub(super) fn keep(&self, descriptor: String, stream: Exchange) {
        let mut streams = self.0.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.0.push_back((descriptor, Instant::now(), stream));
        let mut dropped = Vec::new();
        while streams.0.len() > IDLE
            || streams.0.front().is_some_and(|(_, since, _)| since.elapsed().as_secs() >= IDLE_SECONDS)
        {
            dropped.extend(streams.0.pop_front());
        }
        drop(streams);
        drop(dropped);
    }

    /// Lets go of all idle streams.
    pub(super) fn forget(&self) {
        let streams = std::mem::take(&mut *self.0.streams.lock().unwrap_or_else(PoisonError::into_inner));
        drop(streams);
    }

    /// Opens a stream for batches of a schema.
    pub(super) async fn open(&self, descriptor: &str, schema: SchemaRef) -> Result<Exchange, Refused> {
        let (questions, batches) = mpsc::channel(IN_FLIGHT);
        let encoder = FlightDataEncoderBuilder::new()
            .with_schema(schema)
            .with_max_flight_data_size(MESSAGE)
            .with_flight_descriptor(Some(FlightDescriptor::new_cmd(descriptor.to_owned())));
        let messages = encoder.build(ReceiverStream::new(batches).map(Ok));
        // What cannot be encoded ends the stream, which the server then answers by ending its own.
        let messages = messages.filter_map(|message| std::future::ready(message.ok()));
        let answers = self.service().do_exchange(self.request(messages)).await;
        let answers = answers.map_err(|status| self.refused(&status))?.into_inner();
        let mut answers =
            FlightDataDecoder::new(answers.map_err(|status| FlightError::Tonic(Box::new(status))));
        let first = answers.next().await.transpose().map_err(|error| self.flight(error))?;
        match first.map(|first| first.payload) {
            Some(DecodedPayload::Schema(schema)) => Ok(Exchange { questions, answers, schema }),
            _ => Err(Refused::server(self.location(), "expected a schema first, got none")),
        }
    }

    /// What Arrow Flight refuses.
    pub(super) fn flight(&self, error: FlightError) -> Refused {
        match error {
            FlightError::Tonic(status) => self.refused(&status),
            other => Refused::server(self.location(), other),
        }
    }
}

impl Exchange {
    /// Sends batches, a few ahead of the answers, which go to `take` as they come: until each of `rows` rows of questions
    /// is answered.
    pub(super) async fn ask(
        &mut self,
        client: &Client,
        batches: impl Iterator<Item = RecordBatch>,
        rows: usize,
        mut take: impl FnMut(&RecordBatch) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        let Self { questions, answers, .. } = self;
        let send = async {
            for batch in batches {
                // Who takes no more questions says why in its answers.
                if questions.send(batch).await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        let receive = async {
            let mut answered = 0;
            while answered < rows {
                let Some(next) = answers.next().await else {
                    let what = format!("the stream ended after {answered} of {rows} answers");
                    return Err(Refused { stale: true, ..Refused::server(client.location(), what) });
                };
                match next.map_err(|error| client.flight(error))?.payload {
                    DecodedPayload::RecordBatch(batch) => {
                        answered += batch.num_rows();
                        take(&batch)?;
                    }
                    DecodedPayload::None => {}
                    DecodedPayload::Schema(_) => {
                        return Err(Refused::server(client.location(), "a second schema in one stream"));
                    }
                }
            }
            if answered > rows {
                let what = format!("{answered} answers to {rows} questions");
                return Err(Refused::server(client.location(), what));
            }
            Ok(())
        };
        futures::future::try_join(send, receive).await.map(|_| ())
    }
}
