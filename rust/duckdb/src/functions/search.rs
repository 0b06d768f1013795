//! `ruvector_search` and its kin: one list of hits per row. A chunk is one search over all of its rows.

use std::{ffi::CStr, sync::Arc};

use ruvector_core::{Error, Filter, Hits, Unwatched, live::Snapshot};

use super::Shared;
use crate::{
    capi::{Column, Entry, Kind, Output, Scalar, Type},
    filter::{Given, entry},
    hits::{Answers, Shape, pool_for},
    options::{self, OptionColumns, Options},
    refusal::{Refusal, Result},
    vectors::VectorColumn,
};

/// The name of a function and the shape of its answer.
pub(super) type Search = (&'static CStr, Shape);

pub(super) const SEARCH: Search = (c"ruvector_search", Shape::Numbers);
pub(super) const SEARCH_TEXT: Search = (c"ruvector_search_text", Shape::Texts);
pub(super) const PINNED: Search = (c"__ruvector_search", Shape::Each);
pub(super) const PINNED_INT: Search = (c"__ruvector_search_int", Shape::Numbers);
pub(super) const PINNED_TEXT: Search = (c"__ruvector_search_text", Shape::Texts);

/// Rows that ask the same of the same index.
struct Group {
    ask: Ask,
    rows: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq)]
struct Ask {
    index: Index,
    reach: Reach,
    options: Options,
    /// Where the filter lies among all items.
    filter: Option<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Index {
    Named(String),
    Pinned(u64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Reach {
    Nearest(i64),
    Within(f64),
}

/// `ruvector_search(index, query, k)`, and the same with a struct of options.
pub(super) fn by_name(shared: &Arc<Shared>, (name, shape): Search) -> Scalar {
    let shared = Arc::clone(shared);
    let parameters = || vec![Type::plain(Kind::Varchar), Type::plain(Kind::Any), Type::plain(Kind::BigInt)];
    let with_options = parameters().into_iter().chain([Type::plain(Kind::Any)]).collect();
    Scalar {
        name,
        overloads: vec![parameters(), with_options],
        returns: hits_type(shape),
        // An index may change between two runs of a prepared statement, whose constants would be computed once.
        volatile: true,
        call: Arc::new(move |columns, answer| {
            let [index, query, k, options @ ..] = columns else { return Err(too_few()) };
            let index_at = |row| {
                let name = index.text(row).map(|name| Index::Named(name.to_owned()));
                name.ok_or_else(|| Error::invalid_parameter("index", "a name or a path", "NULL").into())
            };
            let reach = nearest(k);
            run(&shared, (&index_at, &reach), *query, options.first(), shape, answer)
        }),
    }
}

/// The same by a pin: `__ruvector_search(pin, query, k, options)` and its kin.
pub(super) fn by_pin(shared: &Arc<Shared>, (name, shape): Search) -> Scalar {
    let shared = Arc::clone(shared);
    pinned(name, Kind::BigInt, shape, move |columns, answer| {
        let [pin, query, k, options] = columns else { return Err(too_few()) };
        run(&shared, (&pin_at(pin), &nearest(k)), *query, Some(options), shape, answer)
    })
}

/// `__ruvector_within(pin, query, radius, options)`.
pub(super) fn within_by_pin(shared: &Arc<Shared>) -> Scalar {
    let shared = Arc::clone(shared);
    pinned(c"__ruvector_within", Kind::Double, Shape::Each, move |columns, answer| {
        let [pin, query, radius, options] = columns else { return Err(too_few()) };
        let reach = |row: usize| {
            let values = radius.values::<f64>().unwrap_or_default();
            let given = (!radius.is_null(row)).then(|| values.get(row).copied()).flatten();
            options::radius(given)?;
            Ok(Reach::Within(given.unwrap_or_default()))
        };
        run(&shared, (&pin_at(pin), &reach), *query, Some(options), Shape::Each, answer)
    })
}

fn pinned(
    name: &'static CStr,
    third: Kind,
    shape: Shape,
    call: impl Fn(&[Column<'_>], &mut Output<'_>) -> Result<()> + Send + Sync + 'static,
) -> Scalar {
    let parameters = [Kind::UBigInt, Kind::Any, third, Kind::Any].map(Type::plain).into();
    let returns = hits_type(shape);
    Scalar { name, overloads: vec![parameters], returns, volatile: false, call: Arc::new(call) }
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

fn pin_at<'a>(pin: &'a Column<'a>) -> impl Fn(usize) -> Result<Index> + 'a {
    move |row| {
        let number = pin.values::<u64>().and_then(|pins| pins.get(row).copied());
        number.filter(|_| !pin.is_null(row)).map(Index::Pinned).ok_or_else(too_few)
    }
}

fn nearest<'a>(k: &'a Column<'a>) -> impl Fn(usize) -> Result<Reach> + 'a {
    move |row| {
        let values = k.values::<i64>().unwrap_or_default();
        let given = (!k.is_null(row)).then(|| values.get(row).copied()).flatten();
        options::count("k", given)?;
        Ok(Reach::Nearest(given.unwrap_or_default()))
    }
}

pub(super) fn too_few() -> Refusal {
    Refusal("called with too few arguments".into())
}

type AtRow<'a, T> = &'a dyn Fn(usize) -> Result<T>;

fn run(
    shared: &Shared,
    (index_at, reach_at): (AtRow<'_, Index>, AtRow<'_, Reach>),
    query: Column<'_>,
    options: Option<&Column<'_>>,
    shape: Shape,
    answer: &mut Output<'_>,
) -> Result<()> {
    let queries = VectorColumn::new(query, "query")?;
    let options = options.map_or_else(|| Ok(OptionColumns::none()), OptionColumns::of)?;
    let mut groups: Vec<Group> = Vec::new();
    let mut places = Vec::with_capacity(answer.rows());
    for row in 0..answer.rows() {
        let filter = options.filter.filter(|lists| !lists.is_null(row));
        let filter = filter.map(|lists| entry(&lists, lists.items().and_then(|items| items.1), row));
        let (index, reach) = (index_at(row)?, reach_at(row)?);
        let ask = Ask { index, reach, options: options.row(row), filter };
        // Nearly always the one of the row before.
        let known = groups.iter().rposition(|group| group.ask == ask);
        let at = known.unwrap_or_else(|| {
            groups.push(Group { ask, rows: Vec::new() });
            groups.len() - 1
        });
        places.push((!queries.is_null(row)).then_some((at, groups[at].rows.len())));
        groups[at].rows.push(row);
    }
    let searches = groups.iter().map(|group| group.search(shared, &queries, options.filter));
    let searches = searches.collect::<Result<Vec<Hits>>>()?;
    Answers { searches: &searches, rows: &places }.write(shape, answer)
}

impl Group {
    fn search(&self, shared: &Shared, queries: &VectorColumn<'_>, filters: Option<Column<'_>>) -> Result<Hits> {
        let (snapshot, pinned_filter) = match &self.ask.index {
            Index::Named(name) => (shared.registry.find(name)?.snapshot, None),
            Index::Pinned(number) => {
                let pin = shared.pins.get(*number)?;
                (pin.snapshot, pin.filter)
            }
        };
        let filter = match (self.ask.filter, filters) {
            (Some(_), Some(lists)) => Some(Given::of_column(&lists, self.rows[0])?.of(&snapshot)?),
            _ => pinned_filter,
        };
        let width = ("the index", snapshot.index().dim());
        queries.lend(&self.rows, width, |vectors| {
            let work = vectors.len().saturating_mul(snapshot.len()).saturating_mul(vectors.dim()) / 32;
            Ok(self.ask.answer(&snapshot, vectors, filter, work)?)
        })
    }
}

impl Ask {
    fn answer(
        &self,
        snapshot: &Snapshot,
        queries: &ruvector_core::Vectors,
        filter: Option<Arc<Filter>>,
        work: usize,
    ) -> Result<Hits> {
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
