//! What one row would have needed to find its neighbours, were it a query.

use super::{Index, calibrate::BOUND_UP_TO, reach::farness};
use crate::{
    distance::Prepared,
    key::Key,
    rabitq::{BLOCK, Factors, list_terms},
    segment::Segment,
    vectors::Vectors,
};

/// What one query needed.
pub(super) struct Look {
    /// The spread that finds each neighbour, the nearest first.
    pub(super) spreads: Vec<f32>,
    /// What it takes to keep each of the nearest.
    pub(super) needs: Vec<Need>,
    /// The spread from which on each list is looked into, ascending.
    pub(super) lists: Vec<f32>,
    /// How far the nearest list is.
    pub(super) nearest: f32,
}

/// What it takes to keep one neighbour.
pub(super) struct Need {
    /// How many standard deviations its estimate lies beyond its distance.
    error: f32,
    /// Its distance, and one standard deviation of its estimate.
    pub(super) value: f32,
    sigma: f32,
}

impl Need {
    /// The epsilon at which a bound keeps it while `limit` is the distance to beat.
    pub(super) fn epsilon(&self, limit: f32) -> f32 {
        let spare = (limit - self.value) / self.sigma;
        if self.sigma > 0.0 { (self.error - spare).max(0.0) } else { 0.0 }
    }
}

/// A row that plays the query.
pub(super) struct Asked<'a> {
    index: &'a Index,
    vectors: &'a Vectors,
    query: Prepared,
    rotated: Vec<f32>,
    shifted: Vec<f32>,
    squared_norm: f32,
    /// Each list's key, and its place among them.
    keys: Vec<f32>,
    ranks: Vec<usize>,
}

impl<'a> Asked<'a> {
    pub(super) fn new(index: &'a Index, vectors: &'a Vectors, query: &[f32]) -> Self {
        let router = index.router();
        let (mut scratch, mut rotated) = (Vec::new(), vec![0.0; router.padded_dim()]);
        router.project(query, &mut scratch, &mut rotated);
        let mut keys = vec![0.0; router.nlist()];
        router.keys_tile(&rotated, &mut keys);
        let mut sorted: Vec<Key> = keys.iter().zip(0..).map(|(&key, list)| Key::new(key, list)).collect();
        sorted.sort_unstable();
        let mut ranks = vec![0; sorted.len()];
        for (rank, key) in sorted.into_iter().enumerate() {
            ranks[key.number() as usize] = rank;
        }
        let kernels = router.kernels();
        let squared_norm = kernels.dot(&rotated, &rotated);
        let mut shifted = vec![0.0; rotated.len()];
        router.shift(&rotated, &mut shifted);
        let query = Prepared::new(kernels, index.metric(), query);
        Self { index, vectors, query, rotated, shifted, squared_norm, keys, ranks }
    }

    pub(super) fn look(&self, neighbours: &[usize], places: &[Place]) -> Look {
        let family = self.index.metric().family();
        let farness = |list: usize| farness(family, self.keys[list], self.squared_norm);
        let nearest = self.ranks.iter().position(|&rank| rank == 0).map_or(0.0, farness);
        let spread = |list: usize| self.ranks[list] as f32 * (farness(list) - nearest).max(0.0);
        let mut lists: Vec<f32> = (0..self.keys.len()).map(spread).collect();
        lists.sort_unstable_by(f32::total_cmp);
        let list_of = |&row: &usize| {
            let (segment, slot) = places[row];
            self.index.segments()[segment as usize].list_id[slot as usize / BLOCK] as usize
        };
        let mut scratch = vec![0.0; self.index.dim()];
        let needs = neighbours.iter().take(BOUND_UP_TO).map(|row| {
            let (segment, slot) = places[*row];
            let segment = &self.index.segments()[segment as usize];
            let value = self.query.value(self.index.router().kernels(), self.vectors.row(*row, &mut scratch));
            let (estimate, sigma) = self.estimate(segment, slot as usize, list_of(row));
            Need { error: (estimate - value) / sigma, value, sigma }
        });
        let needs = needs.collect();
        Look { spreads: neighbours.iter().map(|row| spread(list_of(row))).collect(), needs, lists, nearest }
    }

    /// A row's estimate and its standard deviation, with the query as it is: the look-up table's error has room of its
    /// own in the bound.
    fn estimate(&self, segment: &Segment, slot: usize, list: usize) -> (f32, f32) {
        let router = self.index.router();
        let kernels = router.kernels();
        let factors =
            segment.factors(slot / BLOCK).map_or_else(Factors::default, |block| block.lane(slot % BLOCK));
        let code = segment.code_of(slot, router.padded_dim());
        let signs: Vec<f32> =
            (0..router.padded_dim()).map(|at| f32::from(code[at / 8] >> (at % 8) & 1) - 0.5).collect();
        let centroid = router.centroid(list);
        let terms = list_terms(router.metric().family(), kernels, &self.rotated, &centroid);
        let along = kernels.dot(&self.shifted, &signs);
        (factors.f_add + terms.g_add + factors.f_rescale * along, factors.f_error * terms.g_error)
    }
}

/// The segment and the slot of a row.
pub(super) type Place = (u32, u32);

pub(super) fn places_of_rows(index: &Index, rows: usize) -> Vec<Place> {
    let mut places = vec![(0, 0); rows];
    for (segment, at) in index.segments().iter().zip(0..) {
        for slot in segment.slots() {
            places[segment.row(slot) as usize] = (at, slot as u32);
        }
    }
    places
}
