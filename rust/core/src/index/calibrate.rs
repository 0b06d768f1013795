//! What it takes to reach a recall, measured on the index's own rows.

use serde::{Deserialize, Serialize};

use super::Index;
use crate::{
    error::Result,
    exact::{self, Corpus},
    ids::{Id, IdType},
    monitor::{Monitor, Phase},
    pool::Pool,
    rabitq::BLOCK,
    vectors::Vectors,
};

/// Rows that play the query.
const QUERIES: usize = 256;
/// Rows that play the corpus. Among fewer rows the nearest are further away and lie in more distant lists, so a
/// sample of a large table asks for more probes than needed, never for fewer.
const ROWS: usize = 1 << 18;
/// The numbers of neighbours that a curve is measured for.
const DEPTHS: [usize; 2] = [10, 100];

/// Recall against `nprobe`, one curve per depth.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    curves: Vec<Curve>,
}

/// The share of the `k` nearest rows that lie in the `nprobe` most promising lists, less one standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The number of neighbours.
    pub k: usize,
    /// `(nprobe, share)`, both ascending.
    pub points: Vec<(usize, f64)>,
}

impl Calibration {
    /// The measured curves.
    pub fn curves(&self) -> &[Curve] {
        &self.curves
    }

    /// The fewest probes that keep the lists' part in a `recall` of the `k` nearest. Half of what may be lost is left
    /// to the error bound ([`crate::recall::epsilon_for`]) and to the luck of the sample. Every list if the target was
    /// never met.
    pub fn nprobe(&self, k: usize, recall: f64, nlist: usize) -> usize {
        let Some(curve) = self.curves.iter().find(|curve| curve.k >= k).or(self.curves.last()) else {
            return nlist;
        };
        let target = 1.0 - (1.0 - recall) / 2.0;
        let met =
            curve.points.iter().find(|(_, share)| *share >= target).map_or(nlist, |(nprobe, _)| *nprobe);
        // Beyond the deepest curve the k nearest fill a ball whose lists grow about as its surface.
        let deeper = (k as f64 / curve.k as f64).max(1.0).sqrt();
        ((met as f64 * deeper).ceil() as usize).clamp(1, nlist)
    }

    /// Measures an index on the vectors it was built from.
    pub(super) fn measure(
        index: &Index,
        vectors: &Vectors,
        pool: &Pool,
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        monitor.advance(Phase::Calibrate, 0, 1);
        let corpus = Sample::new(vectors, ROWS, index.router().rotation().seed());
        let asked = Sample::new(vectors, QUERIES, index.router().rotation().seed().wrapping_add(1));
        let queries = asked.collect()?;
        let depth = DEPTHS[DEPTHS.len() - 1].min(corpus.rows.len().saturating_sub(1)).max(1);
        // One neighbour more than asked for: the row itself is among them.
        let kernels = index.router().kernels();
        let truth = exact::search(&corpus, &queries, index.metric(), depth + 1, kernels, pool, monitor)?;
        let list_of = lists_of_rows(index, vectors.len());
        let ranks = pool.map(asked.rows.len(), |at| {
            let hits = truth.of_query(at).map(|hit| match truth.ids().get(hit) {
                Id::Int64(row) => row as usize,
                _ => 0,
            });
            let neighbours: Vec<usize> = hits.filter(|&row| row != asked.rows[at]).take(depth).collect();
            Ok(ranks_of(index, &queries, at, &neighbours, &list_of))
        })?;
        monitor.advance(Phase::Calibrate, 1, 1);
        let mut depths: Vec<usize> = DEPTHS.iter().map(|&k| k.min(depth)).collect();
        depths.dedup();
        Ok(Self { curves: depths.into_iter().map(|k| curve(k, &ranks, index.router().nlist())).collect() })
    }
}

/// How many lists have to be probed to meet each neighbour.
fn ranks_of(
    index: &Index,
    queries: &Vectors,
    query: usize,
    neighbours: &[usize],
    list_of: &[u32],
) -> Vec<usize> {
    let router = index.router();
    let (mut widened, mut scratch) = (vec![0.0; router.dim()], Vec::new());
    let mut projected = vec![0.0; router.padded_dim()];
    router.project(queries.row(query, &mut widened), &mut scratch, &mut projected);
    let mut keys = Vec::new();
    router.keys(&projected, &mut keys);
    keys.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut rank = vec![0; keys.len()];
    for (at, (_, list)) in keys.iter().enumerate() {
        rank[*list as usize] = at + 1;
    }
    neighbours.iter().map(|&row| rank[list_of[row] as usize]).collect()
}

fn lists_of_rows(index: &Index, rows: usize) -> Vec<u32> {
    let mut list_of = vec![0; rows];
    for segment in index.segments() {
        for slot in segment.slots() {
            list_of[segment.row(slot) as usize] = segment.list_id[slot / BLOCK];
        }
    }
    list_of
}

/// What was found after each number of probes, less one standard error: the queries of a user are another sample.
fn curve(k: usize, ranks: &[Vec<usize>], nlist: usize) -> Curve {
    let mut met: Vec<Vec<usize>> = vec![Vec::new(); nlist + 1];
    for (query, ranks) in ranks.iter().enumerate() {
        for &rank in ranks.iter().take(k) {
            met[rank].push(query);
        }
    }
    let wanted = ranks.first().map_or(0, |ranks| ranks.len().min(k)).max(1);
    let mut found = vec![0_usize; ranks.len()];
    // Counted in whole neighbours, so that everything found is a share of exactly 1.
    let (mut sum, mut squares) = (0, 0);
    let mut points: Vec<(usize, f64)> = Vec::new();
    for (nprobe, met) in met.into_iter().enumerate().skip(1) {
        for query in met {
            sum += 1;
            squares += 2 * found[query] + 1;
            found[query] += 1;
        }
        let share = share_less_error(sum, squares, ranks.len(), wanted);
        // Every step of a long curve would fill the file; steps of a hundredth of what is still missing do not.
        let last = points.last().map_or(0.0, |point| point.1);
        if points.is_empty() || share - last >= (1.0 - last) * 0.01 || (nprobe == nlist && share > last) {
            points.push((nprobe, share));
        }
    }
    Curve { k, points }
}

/// The mean share of `wanted` neighbours that `queries` found, less the standard error of that mean.
fn share_less_error(sum: usize, squares: usize, queries: usize, wanted: usize) -> f64 {
    let count = queries as f64;
    let mean = sum as f64 / count;
    let variance = (squares as f64 / count - mean * mean).max(0.0);
    ((mean - (variance / count).sqrt()) / wanted as f64).clamp(0.0, 1.0)
}

/// Some rows of a column, as a corpus whose ids are the row numbers.
struct Sample<'a> {
    vectors: &'a Vectors,
    rows: Vec<usize>,
}

impl<'a> Sample<'a> {
    fn new(vectors: &'a Vectors, wanted: usize, seed: u64) -> Self {
        Self { vectors, rows: vectors.sample_rows(wanted, seed) }
    }

    fn collect(&self) -> Result<Vectors> {
        let vectors = self.vectors;
        let mut values = vec![0.0; self.rows.len() * vectors.dim()];
        for (&row, target) in self.rows.iter().zip(values.chunks_exact_mut(vectors.dim())) {
            vectors.copy_row(row, target);
        }
        Vectors::from_f32("calibration", vectors.dim(), values.into())
    }
}

impl Corpus for Sample<'_> {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn vector<'a>(&'a self, at: usize, scratch: &'a mut [f32]) -> Option<&'a [f32]> {
        Some(self.vectors.row(self.rows[at], scratch))
    }

    fn id(&self, at: usize) -> Id<'_> {
        Id::Int64(self.rows[at] as i64)
    }

    fn id_type(&self) -> IdType {
        IdType::Int64
    }
}
