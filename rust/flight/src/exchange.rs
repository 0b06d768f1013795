//! `DoExchange`: query batches in, hits out, batch by batch. Nothing is read ahead of what the client takes.

use std::{pin::pin, sync::atomic::Ordering, time::Duration};

use arrow_array::RecordBatch;
use arrow_flight::{FlightData, flight_descriptor::DescriptorType};
use arrow_schema::SchemaRef;
use tonic::{Status, Streaming};

use crate::{
    ask::{ExchangeAsk, SearchAsk, StateOf, parse},
    auth::Verb,
    call::{Answers, Call},
    pins::{pinned, superseded},
    question::{Question, Wanted},
    status::{invalid, refuse},
    wire::{Incoming, malformed, outgoing},
};

/// How often a stream that waits for a question looks whether the server stops.
const LOOK: Duration = Duration::from_millis(100);

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
    let each = (ask.state == StateOf::Each).then_some((ask, wanted));
    let begin = Going { call: call.clone(), incoming, question, each, waiting: None };
    let answers = futures::stream::try_unfold(begin, |mut going| async move {
        Ok(going.next().await?.map(|answer| (answer, going)))
    });
    Ok(outgoing(call, schema, answers))
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
    call: Call,
    incoming: Incoming,
    question: Question,
    /// What is asked of the state that each batch finds, where it does not stay with one.
    each: Option<(SearchAsk, Wanted)>,
    /// A batch that has more queries than are answered at once, and where to go on.
    waiting: Option<(RecordBatch, usize)>,
}

impl Going {
    async fn next(&mut self) -> Result<Option<RecordBatch>, Status> {
        let (batch, from) = match self.waiting.take() {
            Some(waiting) => waiting,
            None => match self.arriving().await? {
                Some(batch) => {
                    self.refresh()?;
                    (batch, 0)
                }
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

    /// The next batch. A stream that is kept open for questions to come must not hold up a server that stops: it ends
    /// while none is under way.
    async fn arriving(&mut self) -> Result<Option<RecordBatch>, Status> {
        let mut next = pin!(self.incoming.next());
        loop {
            if self.each.is_none() {
                return next.await;
            }
            match tokio::time::timeout(LOOK, next.as_mut()).await {
                Ok(arrived) => return arrived,
                Err(_) if self.call.shared().stopping.load(Ordering::Relaxed) => return Ok(None),
                Err(_) => {}
            }
        }
    }

    /// Goes on with the present state, where the stream does not stay with one. Rows are then counted from each batch on.
    fn refresh(&mut self) -> Result<(), Status> {
        let Some((ask, wanted)) = &self.each else { return Ok(()) };
        self.question.count_anew();
        let pinned = pinned(&self.call, Verb::Search, &ask.collection, ask.generation.as_deref())?;
        if pinned.state.generation() == self.question.state().generation() {
            return Ok(());
        }
        let question = Question::new(&self.call, &self.incoming.schema, ask, *wanted, pinned)?;
        if question.schema != self.question.schema {
            return Err(superseded(&ask.collection));
        }
        self.question = question;
        Ok(())
    }
}
