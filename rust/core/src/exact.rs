//! Exact search: every query against every row. The truth that tests and recall are measured by.

use crate::{
    distance::Prepared,
    error::{Error, Result},
    hits::Hits,
    ids::{Id, IdType, Ids},
    kernel::Kernels,
    metric::{Family, Metric},
    monitor::{Monitor, Phase},
    pool::Pool,
    topk::{Candidate, TopK, merge_topk},
    vectors::Vectors,
};

/// Queries that share one pass over the rows.
const QUERIES_AT_ONCE: usize = 16;
/// Rows compared at once: with the queries they stay in the second-level cache up to about 1,500 dimensions.
const ROWS_AT_ONCE: usize = 64;
/// How many rows ahead of the one that is read memory is fetched.
const AHEAD: usize = 8;
/// Rows searched by one task.
const ROWS_PER_TASK: usize = 16 * 1024;

/// Rows that can be searched exactly.
pub trait Corpus: Sync {
    /// The number of places, empty ones included.
    fn len(&self) -> usize;
    /// Whether there are no places.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The vector at a place, or `None` where there is none. `scratch` holds `dim` values.
    fn vector<'a>(&'a self, at: usize, scratch: &'a mut [f32]) -> Option<&'a [f32]>;
    /// The vector at a place will be asked for soon.
    fn expect(&self, _at: usize) {}
    /// The id at a place.
    fn id(&self, at: usize) -> Id<'_>;
    /// The type of the ids.
    fn id_type(&self) -> IdType;
}

/// A vector column with its ids; row numbers where there are none.
pub struct Column<'a> {
    /// The vectors.
    pub vectors: &'a Vectors,
    /// One id per row.
    pub ids: Option<&'a Ids>,
}

impl Corpus for Column<'_> {
    fn len(&self) -> usize {
        self.vectors.len()
    }

    fn vector<'a>(&'a self, at: usize, scratch: &'a mut [f32]) -> Option<&'a [f32]> {
        (!self.vectors.is_null(at)).then(|| self.vectors.row(at, scratch))
    }

    fn id(&self, at: usize) -> Id<'_> {
        self.ids.map_or(Id::Int64(at as i64), |ids| ids.get(at))
    }

    fn id_type(&self) -> IdType {
        self.ids.map_or(IdType::Int64, Ids::id_type)
    }
}

/// The `k` nearest rows of `corpus` for each query, by exact distances. A null query has no hits.
///
/// The caller has checked that queries and rows are finite and equally wide.
///
/// # Errors
/// [`Error::InvalidParameter`] for a `k` of 0, [`Error::Interrupted`] when the monitor says so.
pub fn search(
    corpus: &dyn Corpus,
    queries: &Vectors,
    metric: Metric,
    k: usize,
    kernels: Kernels,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<Hits> {
    check_k(k)?;
    let parts = corpus.len().div_ceil(ROWS_PER_TASK).max(1);
    let tiles = queries.len().div_ceil(QUERIES_AT_ONCE);
    let found = pool.map(tiles * parts, |task| {
        if monitor.interrupted() {
            return Err(Error::Interrupted);
        }
        let (tile, part) = (task / parts, task % parts);
        let queries = prepare(queries, tile, metric, kernels);
        let rows = part * ROWS_PER_TASK..((part + 1) * ROWS_PER_TASK).min(corpus.len());
        let found = Tile::new(corpus, metric, kernels, queries).search(rows, k);
        monitor.advance(Phase::Search, 1, tiles * parts);
        Ok(found)
    })?;
    let rows: Vec<_> = found.chunks(parts).flat_map(|parts| merge_parts(k, parts)).collect();
    Ok(Hits::new(corpus.id_type(), metric, true, &rows))
}

/// Refuses a `k` that asks for nothing.
///
/// # Errors
/// [`Error::InvalidParameter`].
pub fn check_k(k: usize) -> Result<()> {
    if k == 0 { Err(Error::invalid_parameter("k", "at least 1", "0")) } else { Ok(()) }
}

type Found<'a> = Vec<Option<Vec<Candidate<'a>>>>;

fn merge_parts<'a>(k: usize, parts: &[Found<'a>]) -> Found<'a> {
    let queries = parts.first().map_or(0, Vec::len);
    (0..queries)
        .map(|query| {
            parts[0][query].as_ref()?;
            Some(merge_topk(k, parts.iter().filter_map(|part| part[query].clone())))
        })
        .collect()
}

fn prepare(queries: &Vectors, tile: usize, metric: Metric, kernels: Kernels) -> Vec<Option<Prepared>> {
    let mut scratch = vec![0.0; queries.dim()];
    let rows = tile * QUERIES_AT_ONCE..((tile + 1) * QUERIES_AT_ONCE).min(queries.len());
    rows.map(|row| {
        (!queries.is_null(row)).then(|| Prepared::new(kernels, metric, queries.row(row, &mut scratch)))
    })
    .collect()
}

/// A few queries on their way through the rows.
struct Tile<'a> {
    corpus: &'a dyn Corpus,
    metric: Metric,
    kernels: Kernels,
    queries: Vec<Option<Prepared>>,
    /// The queries that are not null, back to back, as the tiled kernel wants them.
    flat: Vec<f32>,
    dim: usize,
}

impl<'a> Tile<'a> {
    fn new(corpus: &'a dyn Corpus, metric: Metric, kernels: Kernels, queries: Vec<Option<Prepared>>) -> Self {
        let flat: Vec<f32> = queries.iter().flatten().flat_map(Prepared::values).copied().collect();
        let dim = queries.iter().flatten().next().map_or(0, |query| query.values().len());
        Self { corpus, metric, kernels, queries, flat, dim }
    }

    fn search(self, rows: std::ops::Range<usize>, k: usize) -> Found<'a> {
        let valid = self.queries.iter().flatten().count();
        let mut best: Vec<TopK<'a>> = (0..valid).map(|_| TopK::new(k)).collect();
        if let ([best], Some(query)) = (&mut best[..], self.queries.iter().flatten().next()) {
            self.search_alone(query, rows.clone(), best);
        } else if valid > 0 {
            let (mut block, mut places) = (Vec::with_capacity(ROWS_AT_ONCE * self.dim), Vec::new());
            let mut scratch = vec![0.0; self.dim];
            let mut values = vec![0.0; valid * ROWS_AT_ONCE];
            for start in rows.clone().step_by(ROWS_AT_ONCE) {
                block.clear();
                places.clear();
                for at in start..(start + ROWS_AT_ONCE).min(rows.end) {
                    self.corpus.expect(at + AHEAD);
                    if let Some(vector) = self.corpus.vector(at, &mut scratch) {
                        block.extend_from_slice(vector);
                        places.push(at);
                    }
                }
                let values = &mut values[..valid * places.len()];
                self.values(&block, values);
                self.offer(&places, values, &mut best);
            }
        }
        let mut best = best.into_iter();
        self.queries
            .iter()
            .map(|query| query.as_ref().and_then(|_| best.next()).map(TopK::into_sorted))
            .collect()
    }

    /// One query needs no copy of the rows: there is nobody to share it with.
    fn search_alone(&self, query: &Prepared, rows: std::ops::Range<usize>, best: &mut TopK<'a>) {
        let mut scratch = vec![0.0; self.dim];
        for at in rows {
            self.corpus.expect(at + AHEAD);
            let Some(vector) = self.corpus.vector(at, &mut scratch) else { continue };
            let value = query.value(self.kernels, vector);
            if value <= best.limit() {
                best.push(Candidate { value, id: self.corpus.id(at) });
            }
        }
    }

    /// The values of every query with every row of the block, query after query.
    fn values(&self, block: &[f32], values: &mut [f32]) {
        let rows = block.len() / self.dim;
        if rows == 0 {
            return;
        }
        match self.metric.family() {
            Family::L2 => self.kernels.l2sq_tile(&self.flat, block, self.dim, values),
            Family::Ip => {
                self.kernels.dots_tile(&self.flat, block, self.dim, values);
                for (at, row) in block.chunks_exact(self.dim).enumerate() {
                    let scale = self.metric.scale_of(self.kernels, row);
                    for values in values.chunks_exact_mut(rows) {
                        values[at] = Prepared::value_of_dot(values[at], scale);
                    }
                }
            }
        }
    }

    fn offer(&self, places: &[usize], values: &[f32], best: &mut [TopK<'a>]) {
        if places.is_empty() {
            return;
        }
        for (best, values) in best.iter_mut().zip(values.chunks_exact(places.len())) {
            for (&at, &value) in places.iter().zip(values) {
                if value <= best.limit() {
                    best.push(Candidate { value, id: self.corpus.id(at) });
                }
            }
        }
    }
}
