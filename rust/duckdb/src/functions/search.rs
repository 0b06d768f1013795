//! `ruvector_search` and its kin: one list of hits per row. A chunk is one search over all of its rows.

use std::{ffi::CStr, sync::Arc};

use ruvector_core::{Error, Filter, Hits, Unwatched, Vectors, live::Snapshot};

use super::{Shared, columns::pattern};
use crate::{
    capi::{Column, Entry, Kind, Output, Scalar, Type},
    filter::{Given, entry},
    hits::{Answers, Shape, pool_for},
    options::{self, OptionColumns, Options},
    refusal::{Refusal, Result},
    statements::State,
    vectors::VectorColumn,
};

/// `ruvector_search(index, query, k)`, and the same with a struct of options.
pub(super) fn nearest(shared: &Arc<Shared>, name: &'static CStr, shape: Shape) -> Scalar {
    let shared = Arc::clone(shared);
    let parameters = || [Kind::Varchar, Kind::Any, Kind::BigInt].map(Type::plain);
    let with_options = parameters().into_iter().chain([Type::plain(Kind::Any)]).collect();
    Scalar {
        name,
        overloads: vec![parameters().into(), with_options],
        returns: hits_type(shape),
        // An index may change between two runs of a prepared statement, whose constants are computed once.
        volatile: true,
        call: Arc::new(move |columns, answer| {
            let [index, query, k, options @ ..] = columns else { return Err(too_few()) };
            let chunk = Chunk::new(*index, *query, Reaches::Nearest(*k), options.first())?;
            chunk.run(&shared, shape, answer)
        }),
    }
}

/// `__ruvector_search(index, query, k, options, statement, columns)` and its kin, for the macros.
pub(super) fn of_statement(shared: &Arc<Shared>, name: &'static CStr, shape: Shape) -> Scalar {
    by_statement(shared, name, (Kind::BigInt, |k| Reaches::Nearest(k)), shape)
}

/// `__ruvector_within(index, query, radius, options, statement, columns)`, likewise.
pub(super) fn within_of_statement(shared: &Arc<Shared>) -> Scalar {
    by_statement(shared, c"__ruvector_within", (Kind::Double, |radius| Reaches::Within(radius)), Shape::Each)
}

fn by_statement(
    shared: &Arc<Shared>,
    name: &'static CStr,
    (kind, reaches): (Kind, fn(Column<'_>) -> Reaches<'_>),
    shape: Shape,
) -> Scalar {
    let shared = Arc::clone(shared);
    let parameters = [Kind::Varchar, Kind::Any, kind, Kind::Any, Kind::Varchar, Kind::Varchar];
    Scalar {
        name,
        overloads: vec![parameters.map(Type::plain).into()],
        returns: hits_type(shape),
        volatile: false,
        call: Arc::new(move |columns, answer| {
            let [index, query, reach, options, statement, planned] = columns else { return Err(too_few()) };
            let mut chunk = Chunk::new(*index, *query, reaches(*reach), Some(options))?;
            chunk.statement = Some((*statement, *planned));
            chunk.run(&shared, shape, answer)
        }),
    }
}

fn hits_type(shape: Shape) -> Type {
    let distance = (c"distance", Kind::Float);
    let fields: &[_] = match shape {
        Shape::Numbers => &[(c"id", Kind::BigInt), distance],
        Shape::Texts => &[(c"id", Kind::Varchar), distance],
        Shape::Each => {
            &[(c"id_int", Kind::BigInt), (c"id_uint", Kind::UBigInt), (c"id_text", Kind::Varchar), distance]
        }
    };
    Type::list(&Type::record(fields))
}

pub(super) fn too_few() -> Refusal {
    Refusal("called with too few arguments".into())
}

/// How far to look, row by row.
enum Reaches<'a> {
    Nearest(Column<'a>),
    Within(Column<'a>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Reach {
    Nearest(i64),
    Within(f64),
}

impl Reaches<'_> {
    fn at(&self, row: usize) -> Result<Reach> {
        match self {
            Self::Nearest(column) => {
                let given = column.values::<i64>().and_then(|values| values.get(row).copied());
                let given = given.filter(|_| !column.is_null(row));
                options::count("k", given)?;
                Ok(Reach::Nearest(given.unwrap_or_default()))
            }
            Self::Within(column) => {
                let given = column.values::<f64>().and_then(|values| values.get(row).copied());
                let given = given.filter(|_| !column.is_null(row));
                options::radius(given)?;
                Ok(Reach::Within(given.unwrap_or_default()))
            }
        }
    }
}

/// What the rows of a chunk ask.
struct Chunk<'a> {
    index: Column<'a>,
    queries: VectorColumn<'a>,
    reaches: Reaches<'a>,
    options: OptionColumns<'a>,
    /// The statement, and the columns that were planned for it.
    statement: Option<(Column<'a>, Column<'a>)>,
}

/// Rows that ask the same of the same index.
struct Group<'a> {
    ask: Ask<'a>,
    rows: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq)]
struct Ask<'a> {
    index: &'a str,
    reach: Reach,
    options: Options,
    /// Where the filter lies among all items.
    filter: Option<Entry>,
    /// The statement, and the columns that were planned for it.
    statement: Option<(&'a str, &'a str)>,
}

impl<'a> Chunk<'a> {
    fn new(
        index: Column<'a>,
        query: Column<'a>,
        reaches: Reaches<'a>,
        options: Option<&Column<'a>>,
    ) -> Result<Self> {
        let options = options.map_or_else(|| Ok(OptionColumns::none()), OptionColumns::of)?;
        Ok(Self { index, queries: VectorColumn::new(query, "query")?, reaches, options, statement: None })
    }

    fn run(&self, shared: &Shared, shape: Shape, answer: &mut Output<'_>) -> Result<()> {
        let mut groups: Vec<Group<'_>> = Vec::new();
        let mut places = Vec::with_capacity(answer.rows());
        for row in 0..answer.rows() {
            let ask = self.ask(row)?;
            // Nearly always the one of the row before.
            let known = groups.iter().rposition(|group| group.ask == ask);
            let at = known.unwrap_or_else(|| {
                groups.push(Group { ask, rows: Vec::new() });
                groups.len() - 1
            });
            places.push((!self.queries.is_null(row)).then_some((at, groups[at].rows.len())));
            groups[at].rows.push(row);
        }
        let searches = groups.iter().map(|group| group.search(shared, self));
        let searches = searches.collect::<Result<Vec<Hits>>>()?;
        Answers { searches: &searches, rows: &places }.write(shape, answer)
    }

    fn ask(&self, row: usize) -> Result<Ask<'a>> {
        let index = self.index.text(row);
        let index = index.ok_or_else(|| Error::invalid_parameter("index", "a name or a path", "NULL"))?;
        let filter = self.options.filter.and_then(|lists| match lists.items() {
            // A NULL of the type of a list is one of no rows, as `list` gives it.
            Some(_) if lists.is_null(row) => Some(Entry { offset: 0, length: 0 }),
            Some((_, width)) => Some(entry(&lists, width, row)),
            None => (!lists.is_null(row)).then_some(Entry { offset: 0, length: 1 }),
        });
        let statement = self.statement.map(|(statement, planned)| {
            (statement.text(row).unwrap_or_default(), planned.text(row).unwrap_or_default())
        });
        Ok(Ask { index, reach: self.reaches.at(row)?, options: self.options.row(row), filter, statement })
    }
}

impl Group<'_> {
    fn search(&self, shared: &Shared, chunk: &Chunk<'_>) -> Result<Hits> {
        let index = self.ask.index;
        let state = match self.ask.statement {
            Some((statement, planned)) => {
                let state = shared.statements.state(statement, index, &shared.registry)?;
                if !planned.is_empty() && planned != pattern(state.snapshot.id_type()) {
                    let what = format!("the ids of {index:?} have another type by now, prepare anew");
                    return Err(Refusal(format!("index: {what}")));
                }
                state
            }
            None => Arc::new(State::new(shared.registry.find(index)?.snapshot)),
        };
        let filter = match (self.ask.filter, chunk.options.filter) {
            (Some(Entry { length: 0, .. }), _) => Some(Arc::default()),
            (Some(_), Some(lists)) => Some(state.allowed(Given::of_column(&lists, self.rows[0])?)?),
            _ => None,
        };
        let snapshot = &state.snapshot;
        let width = ("the index", snapshot.index().dim());
        chunk.queries.lend(&self.rows, width, |queries| self.ask.answer(snapshot, queries, filter))
    }
}

impl Ask<'_> {
    fn answer(&self, snapshot: &Snapshot, queries: &Vectors, filter: Option<Arc<Filter>>) -> Result<Hits> {
        let work = queries.len().saturating_mul(snapshot.len()).saturating_mul(queries.dim()) / 32;
        let pool = pool_for(work)?;
        Ok(match self.reach {
            Reach::Nearest(k) => {
                let params = self.options.search(snapshot, Some(k), filter)?;
                snapshot.search(queries, &params, &pool, &Unwatched)?
            }
            Reach::Within(radius) => {
                let effort = self.options.effort(snapshot)?;
                let radius = options::radius(Some(radius))?;
                snapshot.within(queries, radius, effort, filter.as_ref(), &pool, &Unwatched)?
            }
        })
    }
}
