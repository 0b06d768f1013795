//! `ruvector_knn` and `ruvector_within` over a query that is known when the statement is planned.

use std::{ffi::CStr, sync::Arc};

use ruvector_core::{Error, Hits, Unwatched, Vectors, ids::IdType};

use super::Shared;
use crate::{
    capi::{Arguments, Columns, Kind, Named, Rows, TableFunction, Type, Value},
    filter::Given,
    hits::{kind_of, pool_for, write_distances, write_ids},
    options::{self, NAMED, Options},
    refusal::{Refusal, Result},
};

/// The nearest rows, or all rows within a radius.
pub(super) struct Neighbours {
    pub(super) shared: Arc<Shared>,
    pub(super) within: bool,
}

/// What is asked.
pub(super) struct Asked {
    index: String,
    id_type: IdType,
    /// `None` asks for nothing.
    query: Option<Vec<f32>>,
    reach: Reach,
    options: Options,
    filter: Option<Given>,
}

enum Reach {
    Nearest(Option<i64>),
    Within(f32),
}

/// The answer, and how much of it has been given.
pub(super) struct Answer {
    hits: Hits,
    at: usize,
}

impl TableFunction for Neighbours {
    type Bound = Asked;
    type Run = Option<Answer>;

    fn name(&self) -> &'static CStr {
        if self.within { c"ruvector_within" } else { c"ruvector_knn" }
    }

    fn parameters(&self) -> Vec<Type> {
        let query = Type::list(&Type::plain(Kind::Double));
        let mut parameters = vec![Type::plain(Kind::Varchar), query];
        if self.within {
            parameters.push(Type::plain(Kind::Double));
        }
        parameters
    }

    fn named(&self) -> Vec<Named> {
        let mut named = NAMED.to_vec();
        if self.within {
            named.retain(|(name, _)| !matches!(name.to_bytes(), b"epsilon" | b"rerank"));
        } else {
            named.push((c"k", Kind::BigInt));
        }
        named.push((c"filter", Kind::Any));
        named
    }

    fn bind(&self, arguments: &Arguments<'_>) -> Result<(Asked, Columns)> {
        let index = name(arguments, 0)?;
        let snapshot = self.shared.registry.find(&index)?.snapshot;
        let query =
            arguments.at(1).filter(|query| !query.is_null()).map(|query| vector(&query)).transpose()?;
        if let Some(query) = &query {
            let (expected, actual) = (snapshot.index().dim(), query.len());
            if expected != actual {
                let (expected_by, actual_by) = ("the index".into(), "query".into());
                return Err(Error::DimensionMismatch { expected_by, expected, actual_by, actual }.into());
            }
        }
        let options = Options::of_arguments(arguments);
        let filter = arguments.named(c"filter").map_or(Ok(None), |filter| Given::of_value(&filter))?;
        let (reach, rows) = if self.within {
            options.effort(&snapshot)?;
            let radius = arguments.at(2).and_then(|radius| radius.real());
            (Reach::Within(options::radius(radius)?), None)
        } else {
            let k = arguments.named(c"k").map_or(Some(10), |k| k.whole());
            let params = options.search(&snapshot, k, None)?;
            (Reach::Nearest(k), Some(params.k.min(snapshot.len())))
        };
        let id_type = snapshot.id_type();
        let columns = vec![(c"id", kind_of(id_type)), (c"distance", Kind::Float)];
        Ok((Asked { index, id_type, query, reach, options, filter }, Columns { columns, rows }))
    }

    fn start(&self, asked: &Asked) -> Result<Self::Run> {
        let snapshot = self.shared.registry.find(&asked.index)?.snapshot;
        if snapshot.id_type() != asked.id_type {
            let index = &asked.index;
            return Err(Refusal(format!(
                "index: the ids of {index:?} have another type by now, prepare anew"
            )));
        }
        let Some(query) = &asked.query else { return Ok(None) };
        let query = Vectors::from_f32("query", query.len(), query.clone().into())?;
        let filter = asked.filter.as_ref().map(|filter| filter.of(&snapshot)).transpose()?;
        let pool = pool_for(snapshot.len().saturating_mul(query.dim()) / 32)?;
        let hits = match &asked.reach {
            Reach::Nearest(k) => {
                let params = asked.options.search(&snapshot, *k, filter)?;
                snapshot.search(&query, &params, &pool, &Unwatched)?
            }
            Reach::Within(radius) => {
                let effort = asked.options.effort(&snapshot)?;
                snapshot.within(&query, *radius, effort, filter.as_ref(), &pool, &Unwatched)?
            }
        };
        Ok(Some(Answer { hits, at: 0 }))
    }

    fn next(&self, _: &Asked, run: &mut Self::Run, rows: &mut Rows<'_>) -> Result<usize> {
        let Some(Answer { hits, at }) = run else { return Ok(0) };
        let count = (hits.len() - *at).min(rows.capacity());
        let span = *at..*at + count;
        rows.write(0, count, |column| write_ids(hits.ids(), span.clone(), column))?;
        rows.write(1, count, |column| write_distances(hits, span.clone(), column))?;
        *at += count;
        Ok(count)
    }
}

/// The name of an index, at a place among the arguments.
pub(super) fn name(arguments: &Arguments<'_>, place: u64) -> Result<String> {
    let name = arguments.at(place).and_then(|name| name.text());
    Ok(name.ok_or_else(|| Error::invalid_parameter("index", "a name or a path", "NULL"))?)
}

fn vector(query: &Value) -> Result<Vec<f32>> {
    let element = |(at, value): (usize, Value)| {
        value.real().map(|value| value as f32).ok_or_else(|| {
            let reason = format!("element {at} is null, expected a number");
            Error::InvalidVector { column: "query".into(), row: 0, reason }.into()
        })
    };
    query.items().enumerate().map(element).collect()
}
