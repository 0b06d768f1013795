//! `DoExchange`: query batches in, hits out, batch by batch. Nothing is read ahead of what the client takes.

use std::{pin::Pin, sync::Arc};

use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow_flight::{FlightData, flight_descriptor::DescriptorType};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow_select::take::take;
use futures::Stream;
use ruvector_core::{Error, Hits, index::SearchParams};
use tonic::{Status, Streaming};

use crate::{
    ask::{ExchangeAsk, SearchAsk, Shape, ids_of, parse},
    auth::Verb,
    call::{Answers, Call},
    catalog::State,
    status::refuse,
    wire::{Incoming, malformed, outgoing, schema, vector_column, vectors},
};

/// The name of the column of hits.
const HITS: &str = "hits";

/// Answers query batches as they come.
pub(crate) async fn exchange(
    call: &Call,
    messages: Streaming<FlightData>,
) -> Result<Answers<FlightData>, Status> {
    let incoming = Incoming::open(call, messages).await?;
    let ask = asked(&incoming)?;
    let served = call.find(Verb::Search, &ask.collection)?;
    let state = call.state(&served)?;
    let search = Search::new(call, &incoming.schema, ask, state)?;
    let schema = SchemaRef::clone(&search.schema);
    let answers = futures::stream::try_unfold((incoming, search), |(mut incoming, mut search)| async move {
        let Some(arrived) = incoming.next().await? else { return Ok(None) };
        let answer = search.answer(&arrived.batch)?;
        Ok(Some((answer, (incoming, search))))
    });
    let answers: Pin<Box<dyn Stream<Item = Result<RecordBatch, Status>> + Send>> = Box::pin(answers);
    Ok(outgoing(call, schema, answers))
}

/// A path is the name of a collection, searched by default; a command says more.
fn asked(incoming: &Incoming) -> Result<SearchAsk, Status> {
    let descriptor = &incoming.descriptor;
    match descriptor.r#type() {
        DescriptorType::Path => {
            Ok(SearchAsk { collection: descriptor.path.join("/"), ..SearchAsk::default() })
        }
        DescriptorType::Cmd => {
            let ExchangeAsk::Search(ask) = parse("descriptor", &descriptor.cmd).map_err(refuse)?;
            Ok(ask)
        }
        DescriptorType::Unknown => Err(malformed("a descriptor of an unknown type")),
    }
}

/// A search that goes on over batches. It stays in the state that it began in.
struct Search {
    call: Call,
    state: State,
    params: SearchParams,
    shape: Shape,
    /// The column of vectors.
    at: usize,
    /// The columns that are passed on.
    passed: Vec<usize>,
    schema: SchemaRef,
    /// How many queries were answered.
    queries: i64,
}

impl Search {
    fn new(call: &Call, arriving: &Schema, ask: SearchAsk, state: State) -> Result<Self, Status> {
        let mut params = ask.params(call.shared().limits.k).map_err(refuse)?;
        if let Some(ids) = &ask.ids {
            let ids = ids_of(ids).map_err(refuse)?;
            params.filter = Some(state.filter_of_ids(&ids).map_err(refuse)?);
        }
        let at = vector_column(arriving, ask.column.as_deref()).map_err(refuse)?;
        let passed: Vec<usize> =
            (0..arriving.fields().len()).filter(|&column| ask.keep_vectors || column != at).collect();
        let mut fields: Vec<FieldRef> =
            passed.iter().map(|&column| Arc::clone(&arriving.fields()[column])).collect();
        match ask.answer {
            Shape::Nested => fields.push(Field::new(HITS, Hits::nested_type(state.id_type()), true).into()),
            Shape::Flat => fields.extend(Hits::schema(state.id_type()).fields().iter().cloned()),
        }
        for (place, field) in fields.iter().enumerate() {
            if fields[..place].iter().any(|other| other.name() == field.name()) {
                let expected = format!("columns of other names than {:?}", field.name());
                return Err(refuse(Error::invalid_parameter("queries", expected, "a column of that name")));
            }
        }
        let schema = schema(fields);
        Ok(Self { call: call.clone(), state, params, shape: ask.answer, at, passed, schema, queries: 0 })
    }

    fn answer(&mut self, batch: &RecordBatch) -> Result<RecordBatch, Status> {
        let shared = self.call.shared();
        let before = self.queries;
        let answer = self.call.compute(|monitor| {
            let queries = vectors(batch, self.at, Some(self.state.dim()))
                .map_err(|error| counted_from(error, before as usize))?;
            let hits = self
                .state
                .search(&queries, &self.params, &shared.pool, monitor)
                .map_err(|error| lake_counted_from(error, before as usize))?;
            let columns = match self.shape {
                Shape::Nested => self.nested(batch, &hits)?,
                Shape::Flat => {
                    self.check_room(batch, &hits)?;
                    self.flat(batch, &hits)?
                }
            };
            Ok::<_, ruvector_lake::Error>(
                RecordBatch::try_new(SchemaRef::clone(&self.schema), columns).map_err(Error::from)?,
            )
        })?;
        self.queries += batch.num_rows() as i64;
        Ok(answer)
    }

    fn nested(&self, batch: &RecordBatch, hits: &Hits) -> Result<Vec<ArrayRef>, Error> {
        let mut columns: Vec<ArrayRef> = self.passed.iter().map(|&at| Arc::clone(batch.column(at))).collect();
        columns.push(Arc::new(hits.to_nested()?));
        Ok(columns)
    }

    /// Refuses what would be repeated so often that no client has room for it: a long text with as many hits.
    fn check_room(&self, batch: &RecordBatch, hits: &Hits) -> Result<(), ruvector_lake::Error> {
        let often = (0..hits.num_queries()).map(|query| hits.of_query(query).len()).max().unwrap_or(0);
        let bytes = self.passed.iter().map(|&at| batch.column(at)).map(|column| match column.data_type() {
            // What is repeated of these are numbers.
            DataType::Dictionary(..) | DataType::Utf8View | DataType::BinaryView => 0,
            _ => column.to_data().get_slice_memory_size().unwrap_or(usize::MAX),
        });
        let actual = bytes.fold(0, usize::saturating_add).saturating_mul(often) as u64;
        let limit = self.call.shared().limits.client_bytes as u64;
        if actual <= limit {
            return Ok(());
        }
        Err(ruvector_lake::Error::TooLarge { what: "bytes of columns beside hits".into(), limit, actual })
    }

    /// A row for each hit; queries are numbered over all batches.
    fn flat(&self, batch: &RecordBatch, hits: &Hits) -> Result<Vec<ArrayRef>, Error> {
        let rows = (0..hits.num_queries()).flat_map(|query| hits.of_query(query).map(move |_| query as u32));
        let rows = UInt32Array::from_iter_values(rows);
        let taken = self.passed.iter().map(|&at| take(batch.column(at), &rows, None));
        let mut columns = taken.collect::<Result<Vec<_>, _>>()?;
        let found = hits.to_batch()?;
        for (field, column) in found.schema().fields().iter().zip(found.columns()) {
            if field.name() == "query_row" {
                let numbers = rows.values().iter().map(|&row| self.queries + i64::from(row));
                columns.push(Arc::new(Int64Array::from_iter_values(numbers)));
            } else {
                columns.push(Arc::clone(column));
            }
        }
        Ok(columns)
    }
}

/// Rows are counted from the first batch on.
fn counted_from(error: Error, before: usize) -> Error {
    match error {
        Error::InvalidVector { column, row, reason } => {
            Error::InvalidVector { column, row: before + row, reason }
        }
        other => other,
    }
}

fn lake_counted_from(error: ruvector_lake::Error, before: usize) -> ruvector_lake::Error {
    match error {
        ruvector_lake::Error::Core(error) => match &*error {
            Error::InvalidVector { column, row, reason } => {
                let (column, reason) = (column.clone(), reason.clone());
                Error::InvalidVector { column, row: before + row, reason }.into()
            }
            _ => ruvector_lake::Error::Core(error),
        },
        other => other,
    }
}
