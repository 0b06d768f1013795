//! `ruvector_recall`: how many of the true neighbours a search finds, asked of rows of the index itself.

use std::{ffi::CStr, sync::Arc};

use ruvector_core::{
    Unwatched, Vectors,
    ids::Ids,
    index::{Effort, SearchParams},
    live::Snapshot,
    recall::recall_at_k,
};

use super::{Shared, knn::name};
use crate::{
    capi::{Arguments, Columns, Kind, Named, Rows, TableFunction, Type},
    hits::pool_for,
    options::Options,
    refusal::Result,
};

/// The rows that play the queries.
const QUERIES: usize = 200;

pub(super) struct Recall(pub(super) Arc<Shared>);

pub(super) struct Asked {
    index: String,
    k: Option<i64>,
    options: Options,
}

impl TableFunction for Recall {
    type Bound = Asked;
    type Run = Option<(usize, f64)>;

    fn name(&self) -> &'static CStr {
        c"ruvector_recall"
    }

    fn parameters(&self) -> Vec<Type> {
        vec![Type::plain(Kind::Varchar)]
    }

    fn named(&self) -> Vec<Named> {
        vec![
            (c"k", Kind::BigInt),
            (c"recall", Kind::Double),
            (c"nprobe", Kind::BigInt),
            (c"epsilon", Kind::Double),
        ]
    }

    fn bind(&self, arguments: &Arguments<'_>) -> Result<(Asked, Columns)> {
        let index = name(arguments, 0)?;
        let snapshot = self.0.registry.find(&index)?.snapshot;
        let k = arguments.named(c"k").map_or(Some(10), |k| k.whole());
        let options = Options::of_arguments(arguments);
        options.search(&snapshot, k, None)?;
        let columns = vec![(c"queries", Kind::BigInt), (c"recall", Kind::Double)];
        Ok((Asked { index, k, options }, Columns { columns, rows: Some(1) }))
    }

    fn start(&self, asked: &Asked) -> Result<Self::Run> {
        let snapshot = self.0.registry.find(&asked.index)?.snapshot;
        let params = asked.options.search(&snapshot, asked.k, None)?;
        Ok(Some(measure(&snapshot, &params)?))
    }

    fn next(&self, _: &Asked, run: &mut Self::Run, rows: &mut Rows<'_>) -> Result<usize> {
        let Some((queries, recall)) = run.take() else { return Ok(0) };
        rows.write(0, 1, |column| {
            column.values::<i64>().unwrap_or_default().fill(queries as i64);
            Ok(())
        })?;
        rows.write(1, 1, |column| {
            column.values::<f64>().unwrap_or_default().fill(recall);
            Ok(())
        })?;
        Ok(1)
    }
}

fn measure(snapshot: &Snapshot, params: &SearchParams) -> Result<(usize, f64)> {
    let ids = snapshot.ids();
    let count = ids.len().min(QUERIES);
    let spread = Ids::collect(ids.id_type(), (0..count).map(|at| ids.get(at * ids.len() / count.max(1))));
    let dim = snapshot.index().dim();
    let queries = Vectors::from_f32("query", dim, snapshot.reconstruct(&spread)?.into())?;
    let pool = pool_for(count.saturating_mul(snapshot.len()).saturating_mul(dim))?;
    let exact = SearchParams { effort: Effort::Exact, ..params.clone() };
    let truth = snapshot.search(&queries, &exact, &pool, &Unwatched)?;
    let found = snapshot.search(&queries, params, &pool, &Unwatched)?;
    Ok((count, recall_at_k(&found, &truth)?))
}
