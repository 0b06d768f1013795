//! `DoExchange`: query batches in, hits out, batch by batch. Nothing is read ahead of what the client takes.

use arrow_array::RecordBatch;
use arrow_flight::{FlightData, flight_descriptor::DescriptorType};
use arrow_schema::SchemaRef;
use tonic::{Status, Streaming};

use crate::{
    ask::{ExchangeAsk, SearchAsk, parse},
    auth::Verb,
    call::{Answers, Call},
    pins::pinned,
    question::{Question, Wanted},
    status::{invalid, refuse},
    wire::{Incoming, malformed, outgoing},
};

/// Answers query batches as they come.
pub(crate) async fn exchange(
    call: &Call,
    messages: Streaming<FlightData>,
) -> Result<Answers<FlightData>, Status> {
    let incoming = Incoming::open(call, messages).await?;
    let (ask, wanted) = asked(&incoming)?;
    if ask.queries.is_some() {
        return Err(invalid("queries", "none: they come in the stream", "some"));
    }
    let pinned = pinned(call, Verb::Search, &ask.collection, ask.generation.as_deref())?;
    let question = Question::new(call, &incoming.schema, &ask, wanted, pinned)?;
    let schema = SchemaRef::clone(&question.schema);
    let begin = Going { incoming, question, waiting: None };
    let answers = futures::stream::try_unfold(begin, |mut going| async move {
        Ok(going.next().await?.map(|answer| (answer, going)))
    });
    Ok(outgoing(call, &schema, answers))
}

/// A path is the name of a collection, searched by default; a command says more.
fn asked(incoming: &Incoming) -> Result<(SearchAsk, Wanted), Status> {
    let descriptor = &incoming.descriptor;
    match descriptor.r#type() {
        DescriptorType::Path => {
            Ok((SearchAsk { collection: descriptor.path.join("/"), ..SearchAsk::default() }, Wanted::Nearest))
        }
        DescriptorType::Cmd => Ok(match parse("descriptor", &descriptor.cmd).map_err(refuse)? {
            ExchangeAsk::Search(ask) => (ask, Wanted::Nearest),
            ExchangeAsk::Within(ask) => (ask, Wanted::Within),
        }),
        DescriptorType::Unknown => Err(malformed("a descriptor of an unknown type")),
    }
}

/// An exchange under way.
struct Going {
    incoming: Incoming,
    question: Question,
    /// A batch that has more queries than are answered at once, and where to go on.
    waiting: Option<(RecordBatch, usize)>,
}

impl Going {
    async fn next(&mut self) -> Result<Option<RecordBatch>, Status> {
        let (batch, from) = match self.waiting.take() {
            Some(waiting) => waiting,
            None => match self.incoming.next().await? {
                Some(batch) => (batch, 0),
                None => return Ok(None),
            },
        };
        let rows = self.question.at_once().min(batch.num_rows() - from);
        let answer = self.question.answer(&batch.slice(from, rows))?;
        if from + rows < batch.num_rows() {
            self.waiting = Some((batch, from + rows));
        }
        Ok(Some(answer))
    }
}
