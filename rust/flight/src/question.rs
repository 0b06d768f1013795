//! What is asked of one state, batch of queries by batch.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow_select::take::take;
use ruvector_core::{
    Error, Filter, Hits, Monitor, Pool, Vectors,
    ids::Ids,
    index::{Effort, SearchParams},
    live::Snapshot,
};
use tonic::Status;

use crate::{
    ask::{SearchAsk, Shape, ids_of},
    call::Call,
    catalog::State,
    pins::Pinned,
    status::{refuse, rows_from},
    wire::{vector_column, vectors},
};

/// The name of the column of hits.
pub(crate) const HITS: &str = "hits";
/// The name of the column of ids where rows ask.
pub(crate) const OWN: &str = "query_id";
/// The metadata of the answers' schema that tells whether distances are the metric's own and not estimates.
pub(crate) const EXACT: &str = "ruvector.exact";
/// Hits that are made at once: more queries are answered in several batches.
const HITS_AT_ONCE: usize = 1 << 20;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The nearest rows.
    Nearest,
    /// All rows within a radius.
    Within,
    /// The nearest rows besides the one that asks, whose id is in the column [`OWN`].
    Neighbours,
}

impl Wanted {
    /// Whether distances will be the metric's own, and not estimates.
    pub(crate) fn is_exact(self, state: &State, params: &SearchParams) -> bool {
        self == Self::Within || state.is_exact(params)
    }
}

/// A question that goes on over batches. It stays in the state that it began in.
pub(crate) struct Question {
    call: Call,
    pinned: Arc<Pinned>,
    kind: Kind,
    shape: Shape,
    /// The column of vectors.
    at: usize,
    /// The columns that are passed on.
    passed: Vec<usize>,
    pub(crate) schema: SchemaRef,
    /// How many queries were answered.
    queries: usize,
}

enum Kind {
    /// The nearest rows.
    Nearest(SearchParams),
    /// The nearest rows besides the one that asks, so many.
    Neighbours(SearchParams, usize),
    /// All rows within a radius; `None` without rows.
    Within(Option<Arc<Snapshot>>, f32, Effort, Option<Arc<Filter>>),
}

impl Question {
    /// The question about queries of this schema.
    pub(crate) fn new(
        call: &Call,
        arriving: &Schema,
        ask: &SearchAsk,
        wanted: Wanted,
        pinned: Arc<Pinned>,
    ) -> Result<Self, Status> {
        let mut params = ask.params(call.shared().limits.k).map_err(refuse)?;
        let state = &pinned.state;
        let exact = wanted.is_exact(state, &params);
        if let Some(ids) = &ask.ids {
            let ids = ids_of(ids).map_err(refuse)?;
            params.filter = Some(state.filter_of_ids(&ids).map_err(refuse)?);
        }
        let kind = match (wanted, ask.radius) {
            (Wanted::Nearest, None) => Kind::Nearest(params),
            (Wanted::Neighbours, None) => {
                let k = params.k;
                if k == 0 {
                    return Err(refuse(Error::invalid_parameter("k", "at least 1", "0")));
                }
                Kind::Neighbours(SearchParams { k: k.saturating_add(1), ..params }, k)
            }
            (Wanted::Within, Some(radius)) => {
                let snapshot = pinned.visible().map_err(refuse)?;
                Kind::Within(snapshot, radius, params.effort, params.filter)
            }
            (_, radius) => {
                let expected = if wanted == Wanted::Within { "a number" } else { "none: within takes it" };
                let actual = radius.map_or_else(|| "none".into(), |radius| radius.to_string());
                return Err(refuse(Error::invalid_parameter("radius", expected, actual)));
            }
        };
        let at = vector_column(arriving, ask.column.as_deref()).map_err(refuse)?;
        let passed: Vec<usize> =
            (0..arriving.fields().len()).filter(|&column| ask.keep_vectors || column != at).collect();
        let fields: Vec<FieldRef> =
            passed.iter().map(|&column| Arc::clone(&arriving.fields()[column])).collect();
        let schema = answer_schema(fields, ask.answer, state.id_type(), exact).map_err(refuse)?;
        let call = call.clone();
        Ok(Self { call, shape: ask.answer, pinned, kind, at, passed, schema, queries: 0 })
    }

    /// The state that it is asked of.
    pub(crate) fn state(&self) -> &State {
        &self.pinned.state
    }

    /// Lets the next batch be the first one.
    pub(crate) fn count_anew(&mut self) {
        self.queries = 0;
    }

    /// How many queries are answered at once.
    pub(crate) fn at_once(&self) -> usize {
        match &self.kind {
            Kind::Nearest(params) | Kind::Neighbours(params, _) => (HITS_AT_ONCE / params.k.max(1)).max(1),
            Kind::Within(..) => 64,
        }
    }

    /// The answer to one batch of at most so many queries.
    pub(crate) fn answer(&mut self, batch: &RecordBatch) -> Result<RecordBatch, Status> {
        let answer = self.call.compute(|monitor| {
            let counted = |error: ruvector_lake::Error| rows_from(error, self.queries);
            let queries = vectors(batch, self.at, Some(self.pinned.state.dim()))
                .map_err(|error| counted(error.into()))?;
            let hits = self.hits(batch, &queries, &self.call.shared().pool, monitor).map_err(counted)?;
            let columns = match self.shape {
                Shape::Nested => self.nested(batch, &hits)?,
                Shape::Flat => {
                    self.check_room(batch, &hits)?;
                    self.flat(batch, &hits)?
                }
            };
            let answer = RecordBatch::try_new(SchemaRef::clone(&self.schema), columns);
            Ok::<_, ruvector_lake::Error>(answer.map_err(Error::from)?)
        })?;
        self.queries += batch.num_rows();
        Ok(answer)
    }

    fn hits(
        &self,
        batch: &RecordBatch,
        queries: &Vectors,
        pool: &Pool,
        monitor: &dyn Monitor,
    ) -> Result<Hits, ruvector_lake::Error> {
        match &self.kind {
            Kind::Nearest(params) => self.pinned.state.search(queries, params, pool, monitor),
            Kind::Neighbours(params, k) => {
                let own = batch.column_by_name(OWN).map(Arc::clone);
                let own = Ids::from_list(OWN, &own.into_iter().collect::<Vec<_>>())?;
                Ok(self.pinned.state.search(queries, params, pool, monitor)?.without_own(&own, *k))
            }
            Kind::Within(Some(snapshot), radius, effort, filter) => {
                Ok(snapshot.within(queries, *radius, *effort, filter.as_ref(), pool, monitor)?)
            }
            Kind::Within(None, ..) => {
                let none: Vec<Option<Vec<_>>> =
                    (0..queries.len()).map(|row| (!queries.is_null(row)).then(Vec::new)).collect();
                let state = &self.pinned.state;
                Ok(Hits::new(state.id_type(), state.metric(), true, &none))
            }
        }
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
                let numbers = rows.values().iter().map(|&row| (self.queries + row as usize) as i64);
                columns.push(Arc::new(Int64Array::from_iter_values(numbers)));
            } else {
                columns.push(Arc::clone(column));
            }
        }
        Ok(columns)
    }
}

/// The columns of an answer: those that are passed on, and what was found.
pub(crate) fn answer_schema(
    mut fields: Vec<FieldRef>,
    shape: Shape,
    ids: ruvector_core::ids::IdType,
    exact: bool,
) -> Result<SchemaRef, Error> {
    match shape {
        Shape::Nested => fields.push(Field::new(HITS, Hits::nested_type(ids), true).into()),
        Shape::Flat => fields.extend(Hits::schema(ids).fields().iter().cloned()),
    }
    for (place, field) in fields.iter().enumerate() {
        if fields[..place].iter().any(|other| other.name() == field.name()) {
            let expected = format!("columns of other names than {:?}", field.name());
            return Err(Error::invalid_parameter("queries", expected, "a column of that name"));
        }
    }
    let told = HashMap::from([(EXACT.to_owned(), exact.to_string())]);
    Ok(Arc::new(Schema::new(fields).with_metadata(told)))
}
