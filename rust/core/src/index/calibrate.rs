//! What it takes to reach a recall, measured on the index's own rows.

use serde::{Deserialize, Serialize};

use super::{
    Index,
    balance::{LastChoice, Work},
    look::{Asked, Look, places_of_rows},
};
use crate::{
    error::Result,
    exact::{self, Corpus},
    ids::{Id, IdType},
    metric::Family,
    monitor::{Monitor, Phase, Quiet},
    pool::Pool,
    recall::epsilon_for,
    vectors::Vectors,
};

/// Rows that play the query.
const QUERIES: usize = 256;
/// One in so many of them looks for more than [`BOUND_UP_TO`] neighbours: to find those takes long, and each tells much.
const DEEP_ONE_IN: usize = 4;
/// Rows that play it when work is measured: what is wanted there is no more than about what it is.
const WORKED: usize = 32;
/// Rows that play the corpus. Among fewer rows the nearest are further away and lie in more distant lists, so a
/// sample of a large table asks for more probes than needed, never for fewer.
const ROWS: usize = 1 << 18;
/// The numbers of neighbours that a curve is measured for.
const DEPTHS: [usize; 3] = [10, 100, 1000];
/// The most for which is measured what a bound loses, and what work it leaves: deeper, only lists are. That is what
/// a filter asks for, whose few allowed rows are among many others.
pub(super) const BOUND_UP_TO: usize = 100;

/// What was measured, one curve per depth.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    curves: Vec<Curve>,
    /// How far all but one in a hundred of the rows were from their nearest list, see [`Calibration::usual`].
    usual: f64,
}

/// The share of the `k` nearest rows that are found, against each of the two things that lose them. Every share is less
/// one standard error: the queries of a user are another sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The number of neighbours.
    pub k: usize,
    /// `(spread, share, lists)`, all ascending: neighbours whose list is looked into, and how many lists are.
    pub spread: Vec<(f64, f64, f64)>,
    /// `(epsilon, share)`, both ascending: neighbours that the error bound does not drop; empty where that was not measured.
    pub epsilon: Vec<(f64, f64)>,
    /// What the bound leaves to do, by ascending epsilon; empty where that was not measured.
    #[serde(default)]
    pub work: Vec<Work>,
}

impl Calibration {
    #[cfg(test)]
    pub(super) fn from_curves(curves: Vec<Curve>) -> Self {
        Self { curves, usual: 0.0 }
    }

    /// The measured curves.
    pub fn curves(&self) -> &[Curve] {
        &self.curves
    }

    /// The curve of the first depth that holds `k` neighbours, or the deepest one.
    pub(super) fn curve_for(&self, k: usize) -> Option<&Curve> {
        self.curves.iter().find(|curve| curve.k >= k).or(self.curves.last())
    }

    /// The most neighbours that a curve was measured for.
    pub(super) fn deepest(&self) -> usize {
        self.curves.last().map_or(0, |curve| curve.k)
    }

    /// How far a query like the rows is from its nearest list at most (`reach.rs` says how that is measured); 0 when nothing was measured, and for
    /// inner products, where how far says nothing about how unusual.
    pub fn usual(&self) -> f32 {
        self.usual as f32
    }

    /// The smallest spread whose lists hold `share` of the `k` nearest, and the mean number of lists it looks into. `None`
    /// if that was never met: every list then.
    pub(super) fn spread(&self, k: usize, share: f64) -> Option<(f32, f64)> {
        let met =
            |curve: &Curve| curve.spread.get(curve.spread.partition_point(|point| point.1 < share)).copied();
        let deeper =
            self.curves.iter().find(|curve| curve.k >= k).and_then(|curve| Some((curve.k, met(curve)?)));
        let shallower =
            self.curves.iter().rfind(|curve| curve.k <= k).and_then(|curve| Some((curve.k, met(curve)?)));
        let (spread, lists) = match (shallower, deeper) {
            (Some((from, near)), Some((to, far))) if from < to => {
                // Both grow about as a power of k, unless the nearest list was enough: from 0 nothing grows.
                let part = (k as f64 / from as f64).ln() / (to as f64 / from as f64).ln();
                let between = |near: f64, far: f64| {
                    if near > 0.0 { near * (far / near).max(1.0).powf(part) } else { far }
                };
                (between(near.0, far.0), between(near.2, far.2))
            }
            (_, Some((_, far))) => (far.0, far.2),
            // The k nearest fill a ball whose lists grow about as its surface.
            (Some((from, near)), None) => {
                let depth = k as f64 / from as f64;
                (near.0 * depth.powf(0.75), near.2 * depth.sqrt())
            }
            (None, None) => return None,
        };
        Some((spread as f32, lists))
    }

    /// The smallest epsilon at which the error bound keeps `share` of the `k` nearest.
    ///
    /// Less than the normal distribution asks for ([`epsilon_for`]): a neighbour is dropped only if its error exceeds
    /// its distance to the k-th best, too. Where nothing was measured the normal distribution decides.
    pub(super) fn epsilon(&self, k: usize, share: f64) -> f32 {
        let bounded = || self.curves.iter().filter(|curve| !curve.epsilon.is_empty());
        let curve = bounded().find(|curve| curve.k >= k).or(bounded().next_back());
        let measured = curve.and_then(|curve| first_to_reach(&curve.epsilon, share));
        let normal = epsilon_for(share);
        // Below 1 the rounding of the factors is not covered.
        measured.map_or(normal, |measured| normal.min(measured as f32)).max(1.0)
    }

    fn measure(index: &Index, vectors: &Vectors, pool: &Pool, monitor: &dyn Monitor) -> Result<Self> {
        monitor.advance(Phase::Calibrate, 0, 1);
        let corpus = Sample::new(vectors, ROWS, index.router().rotation().seed());
        let asked = Sample::new(vectors, QUERIES, index.router().rotation().seed().wrapping_add(1));
        let deepest = corpus.rows.len().saturating_sub(1).max(1);
        let depth = DEPTHS[DEPTHS.len() - 1].min(deepest);
        let (deep, others) = asked.split(DEEP_ONE_IN);
        let places = places_of_rows(index, vectors.len());
        let mut looks = Vec::with_capacity(QUERIES);
        for (asked, depth) in [(deep, depth), (others, depth.min(BOUND_UP_TO))] {
            let queries = asked.collect()?;
            // One neighbour more than asked for: the row itself is among them.
            let kernels = index.router().kernels();
            let truth =
                exact::search(&corpus, &queries, index.metric(), depth + 1, kernels, pool, &Quiet(monitor))?;
            looks.extend(pool.map(asked.rows.len(), |at| {
                let hits = truth.of_query(at).map(|hit| match truth.ids().get(hit) {
                    Id::Int64(row) => row as usize,
                    _ => 0,
                });
                let neighbours: Vec<usize> = hits.filter(|&row| row != asked.rows[at]).take(depth).collect();
                let mut query = vec![0.0; index.dim()];
                queries.copy_row(at, &mut query);
                Ok(Asked::new(index, vectors, &query).look(&neighbours, &places))
            })?);
        }
        let mut depths: Vec<usize> = DEPTHS.iter().map(|&k| k.min(depth)).collect();
        depths.dedup();
        let usual = match index.metric().family() {
            Family::L2 => {
                let mut nearest: Vec<f32> = looks.iter().map(|look| look.nearest).collect();
                nearest.sort_unstable_by(f32::total_cmp);
                nearest.get(nearest.len() * 99 / 100).copied().unwrap_or(0.0)
            }
            Family::Ip => 0.0,
        };
        Ok(Self { curves: depths.into_iter().map(|k| curve(k, &looks)).collect(), usual: f64::from(usual) })
    }
}

impl Index {
    /// Measures the index on the vectors it was built from, and borrows them.
    pub(super) fn calibrate(&mut self, vectors: Vectors, pool: &Pool, monitor: &dyn Monitor) -> Result<()> {
        self.calibration = Calibration::measure(self, &vectors, pool, monitor)?;
        self.last_choice = LastChoice::default();
        let seed = self.router().rotation().seed().wrapping_add(2);
        let asked = Sample::new(&vectors, WORKED, seed).collect()?;
        self.borrowed = Some(vectors);
        for at in 0..self.calibration.curves.len() {
            let k = self.calibration.curves[at].k;
            if k <= BOUND_UP_TO {
                self.calibration.curves[at].work = self.measure_work(&asked, k, pool)?;
            }
        }
        monitor.advance(Phase::Calibrate, 1, 1);
        Ok(())
    }
}

fn first_to_reach(points: &[(f64, f64)], share: f64) -> Option<f64> {
    points.get(points.partition_point(|point| point.1 < share)).map(|point| point.0)
}

fn curve(k: usize, looks: &[Look]) -> Curve {
    let looks: Vec<&Look> = looks.iter().filter(|look| k <= BOUND_UP_TO || look.spreads.len() >= k).collect();
    let spreads: Vec<Vec<f32>> =
        looks.iter().map(|look| look.spreads[..look.spreads.len().min(k)].to_vec()).collect();
    let epsilons = looks.iter().map(|look| {
        let needs = &look.needs[..look.needs.len().min(k)];
        let limit = needs.iter().fold(f32::NEG_INFINITY, |limit, need| limit.max(need.value));
        needs.iter().map(|need| need.epsilon(limit)).collect()
    });
    let epsilon = if k <= BOUND_UP_TO { points(&epsilons.collect::<Vec<_>>()) } else { Vec::new() };
    let spread = points(&spreads).into_iter().map(|(spread, share)| {
        let within = |look: &&Look| look.lists.partition_point(|&list| f64::from(list) <= spread);
        let lists: usize = looks.iter().map(within).sum();
        (spread, share, lists as f64 / looks.len() as f64)
    });
    Curve { k, spread: spread.collect(), epsilon, work: Vec::new() }
}

/// What share of the neighbours of each query a value keeps, less one standard error, at the values where it matters.
fn points(needs: &[Vec<f32>]) -> Vec<(f64, f64)> {
    let mut met: Vec<(f32, usize)> = needs
        .iter()
        .enumerate()
        .flat_map(|(query, needs)| needs.iter().map(move |&need| (need, query)))
        .collect();
    met.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let wanted = needs.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let mut found = vec![0_usize; needs.len()];
    // Counted in whole neighbours, so that everything found is a share of exactly 1.
    let (mut sum, mut squares) = (0, 0);
    let mut points: Vec<(f64, f64)> = Vec::new();
    for same in met.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        for &(_, query) in same {
            sum += 1;
            squares += 2 * found[query] + 1;
            found[query] += 1;
        }
        let share = share_less_error(sum, squares, needs.len(), wanted);
        // Every step of a long curve would fill the file; steps of a hundredth of what is still missing do not.
        let last = points.last().map_or(0.0, |point| point.1);
        if points.is_empty() || share - last >= (1.0 - last) * 0.01 || (sum == met.len() && share > last) {
            points.push((f64::from(same[0].0), share));
        }
    }
    points
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

    /// One in so many of the rows, and the others.
    fn split(self, one_in: usize) -> (Self, Self) {
        let rows = |chosen: bool| {
            let each = self.rows.iter().enumerate().filter(move |(at, _)| (at % one_in == 0) == chosen);
            each.map(|(_, &row)| row).collect()
        };
        let vectors = self.vectors;
        (Self { vectors, rows: rows(true) }, Self { vectors, rows: rows(false) })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(k: usize, spread: f64, lists: f64) -> Curve {
        Curve { k, spread: vec![(spread, 0.99, lists)], epsilon: Vec::new(), work: Vec::new() }
    }

    fn at(near: (f64, f64), far: (f64, f64), k: usize) -> (f32, f64) {
        let curves = vec![curve(10, near.0, near.1), curve(100, far.0, far.1)];
        Calibration::from_curves(curves).spread(k, 0.97).unwrap()
    }

    #[test]
    fn between_two_depths_the_spread_grows_from_one_to_the_other() {
        let (near, far) = ((2.0, 4.0), (18.0, 64.0));
        assert_eq!((at(near, far, 5), at(near, far, 10)), ((2.0, 4.0), (2.0, 4.0)));
        assert_eq!(at(near, far, 100), (18.0, 64.0));
        let mut last = (2.0, 4.0);
        for k in 11..100 {
            let next = at(near, far, k);
            assert!(next.0 > last.0 && next.1 > last.1 && next.0 < 18.0 && next.1 < 64.0, "{k}");
            last = next;
        }
        assert!(at(near, far, 200).0 > 18.0);
    }

    #[test]
    fn where_the_nearest_list_was_enough_the_deeper_curve_decides() {
        assert_eq!(at((0.0, 1.0), (500.0, 9.0), 20).0.to_bits(), 500.0_f32.to_bits());
        assert_eq!(at((0.0, 1.0), (0.0, 1.0), 20), (0.0, 1.0));
    }
}
