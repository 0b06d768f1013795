//! `ruvector_distance`: the distance between two vectors, row by row.

use std::sync::Arc;

use arrow_array::Array;
use ruvector_core::{Error, Metric, Unwatched, pairs};

use super::search::too_few;
use crate::{
    capi::{Column, Kind, Output, Scalar, Type},
    hits::pool_for,
    refusal::Result,
    vectors::VectorColumn,
};

/// `ruvector_distance(a, b, metric)`.
pub(super) fn distance() -> Scalar {
    Scalar {
        name: c"ruvector_distance",
        overloads: vec![[Kind::Any, Kind::Any, Kind::Varchar].map(Type::plain).into()],
        returns: Type::plain(Kind::Float),
        volatile: false,
        call: Arc::new(|columns, answer| {
            let [a, b, metric] = columns else {
                return Err(too_few());
            };
            run(*a, *b, metric, answer)
        }),
    }
}

fn run(a: Column<'_>, b: Column<'_>, metric: &Column<'_>, answer: &mut Output<'_>) -> Result<()> {
    let (a, b) = (VectorColumn::new(a, "a")?, VectorColumn::new(b, "b")?);
    let mut groups: Vec<(Metric, Vec<usize>)> = Vec::new();
    for row in 0..answer.rows() {
        let name = metric.text(row);
        let name = name.ok_or_else(|| Error::invalid_parameter("metric", "a name", "NULL"))?;
        match groups.last_mut().filter(|group| group.0.name() == name) {
            Some(group) => group.1.push(row),
            None => groups.push((name.parse()?, vec![row])),
        }
    }
    let dim = a.dim().or_else(|| b.dim());
    for (metric, rows) in groups {
        let Some(dim) = dim else {
            answer.set_all_null();
            break;
        };
        let distances = a.lend(&rows, ("a", dim), |a| {
            b.lend(&rows, ("a", dim), |b| {
                let pool = pool_for(rows.len().saturating_mul(dim))?;
                Ok(pairs::distances(a, b, metric, &pool, &Unwatched)?)
            })
        })?;
        for (at, &row) in rows.iter().enumerate() {
            if distances.is_null(at) {
                answer.set_null(row);
            } else if let Some(values) = answer.values::<f32>() {
                values[row] = distances.value(at);
            }
        }
    }
    Ok(())
}
