//! Codes of the centroids themselves, so that only a few of many are compared with a vector exactly.
//!
//! Consecutive centroids form groups of 32, coded as what is left of them after subtracting the group's mean: an index
//! in small, whose lists are the groups. A vector is compared with the means, looks into the nearest groups, and what
//! the bound on the codes cannot rule out there gets its exact key. Nothing of this is stored: it follows from the
//! centroids.

use std::collections::BinaryHeap;

use super::{centroids::Centroids, groups::Groups, order::GROUP};
use crate::{
    key::Key,
    metric::Family,
    rabitq::{
        Around, BlockBounds, BlockFactors, ListTerms, Query, QueryTerms, block_bytes, code_bytes,
        encode_bits, pack_block,
    },
};

/// How sure it is that a centroid that should be found is not dropped, in standard deviations of the estimate.
const EPSILON: f32 = 3.0;
/// Groups that are looked into whatever their number, besides those that the wanted lists fill by themselves.
const FEWEST_GROUPS: usize = 32;
/// Of many groups, one in so many is looked into.
const ONE_IN: usize = 3;
/// Room for rounding, as a share of the numbers that a bound is added up from.
const ROUNDING: f32 = 1e-5;
/// Vectors compared with the means at once.
const VECTORS_AT_ONCE: usize = 16;

/// The codes of all centroids, group after group.
#[derive(Clone, Debug, Default)]
pub(super) struct Codes {
    groups: Groups,
    blocks: Vec<u8>,
    f_rescale: Vec<f32>,
    f_error: Vec<f32>,
    /// The constant part of an estimate of `-<x, c>`.
    f_add_ip: Vec<f32>,
    /// The constant part of an estimate of `|c|^2 / 2 - <x, c>`.
    f_add_l2: Vec<f32>,
}

impl Codes {
    pub(super) fn new(centroids: &Centroids) -> Self {
        let (kernels, dim, nlist) = (centroids.kernels(), centroids.dim(), centroids.nlist());
        let groups = Groups::new(centroids);
        let count = groups.len();
        let mut codes = Self { blocks: vec![0; count * block_bytes(dim)], ..Self::default() };
        let (mut residual, mut signs) = (vec![0.0; dim], Vec::new());
        let (mut packed, mut values) = (vec![0; block_bytes(dim)], Vec::new());
        let blocks = codes.blocks.chunks_exact_mut(block_bytes(dim)).zip(groups.means.chunks_exact(dim));
        for (group, (block, mean)) in blocks.enumerate() {
            let lists = group * GROUP..((group + 1) * GROUP).min(nlist);
            centroids.write_group(group, &mut values);
            let shifted: Vec<f32> =
                mean.iter().zip(centroids.mean()).map(|(mean, centre)| mean - centre).collect();
            let each = lists.clone().zip(values.chunks_exact(dim));
            for ((list, value), code) in each.zip(packed.chunks_exact_mut(code_bytes(dim))) {
                let parts = value.iter().zip(mean);
                residual.iter_mut().zip(parts).for_each(|(left, (value, mean))| *left = value - mean);
                let around = Around { family: Family::Ip, centroid: mean, shifted: &shifted };
                let factors = encode_bits(kernels, around, &residual, &mut signs, code).factors();
                codes.f_rescale.push(factors.f_rescale);
                codes.f_error.push(factors.f_error);
                codes.f_add_ip.push(factors.f_add);
                codes.f_add_l2.push(factors.f_add + centroids.half_norms()[list]);
            }
            pack_block(&packed, lists.len(), dim, block);
        }
        for factors in [&mut codes.f_rescale, &mut codes.f_error, &mut codes.f_add_ip, &mut codes.f_add_l2] {
            factors.resize(count * GROUP, 0.0);
        }
        codes.groups = groups;
        codes
    }

    /// The `wanted` nearest lists of each of several vectors, one after the other, in no order, all but always; of all lists
    /// if those are fewer.
    pub(super) fn nearest_of_each(&self, centroids: &Centroids, vectors: &[f32], wanted: usize) -> Vec<Key> {
        let groups = self.groups.len();
        let mut dots = vec![0.0; VECTORS_AT_ONCE * groups];
        let (mut search, mut lut) = (Search::new(self, centroids, Family::L2, wanted), Query::default());
        let (kernels, dim) = (centroids.kernels(), centroids.dim());
        let mut lists = Vec::with_capacity(vectors.len() / dim * wanted);
        let mut shifted = vec![0.0; dim];
        for tile in vectors.chunks(VECTORS_AT_ONCE * dim) {
            let dots = &mut dots[..tile.len() / dim * groups];
            kernels.dots_tile(tile, &self.groups.means, dim, dots);
            for (vector, dots) in tile.chunks_exact(dim).zip(dots.chunks_exact(groups)) {
                shifted
                    .iter_mut()
                    .zip(vector)
                    .zip(centroids.mean())
                    .for_each(|((to, value), mean)| *to = value - mean);
                lut.prepare(kernels, &shifted);
                search.run(vector, &lut, dots);
                lists.extend(search.best.heap.drain());
            }
        }
        lists
    }

    /// The `wanted` most promising lists for one query, sorted, all but always.
    pub(super) fn nearest(
        &self,
        centroids: &Centroids,
        family: Family,
        query: &[f32],
        lut: &Query,
        wanted: usize,
        found: &mut Vec<(f32, u32)>,
    ) {
        let mut dots = vec![0.0; self.groups.len()];
        centroids.kernels().dots(query, &self.groups.means, &mut dots);
        let mut search = Search::new(self, centroids, family, wanted);
        search.run(query, lut, &dots);
        let mut keys = search.best.heap.into_vec();
        keys.sort_unstable();
        found.clear();
        found.extend(keys.into_iter().map(|key| (key.value(), key.number())));
    }

    /// Bytes of memory it holds.
    pub(super) fn bytes(&self) -> usize {
        let factors = self.f_rescale.len() + self.f_error.len() + self.f_add_ip.len() + self.f_add_l2.len();
        self.groups.bytes() + self.blocks.len() + factors * size_of::<f32>()
    }
}

/// Looks for the best lists of one vector after the other.
struct Search<'a> {
    codes: &'a Codes,
    centroids: &'a Centroids,
    family: Family,
    groups: usize,
    /// Groups by how near their means are.
    order: Vec<Key>,
    best: Best,
}

impl<'a> Search<'a> {
    fn new(codes: &'a Codes, centroids: &'a Centroids, family: Family, wanted: usize) -> Self {
        let all = codes.groups.len();
        let groups = (FEWEST_GROUPS + wanted.div_ceil(GROUP) * 4).max(all / ONE_IN).min(all);
        Self { codes, centroids, family, groups, order: Vec::new(), best: Best::new(wanted) }
    }

    /// `dots` are the inner products of `vector` with the means.
    fn run(&mut self, vector: &[f32], lut: &Query, dots: &[f32]) {
        let squared = self.centroids.kernels().dot(vector, vector);
        let along = self.centroids.along_mean(vector);
        self.order.clear();
        self.order.extend(dots.iter().zip(&self.codes.groups.squares).zip(0_u32..).map(
            |((dot, square), list)| {
                let value = match self.family {
                    Family::L2 => 0.5 * square - dot,
                    Family::Ip => -dot,
                };
                Key::new(value, list)
            },
        ));
        if self.groups < self.order.len() {
            self.order.select_nth_unstable(self.groups - 1);
            self.order.truncate(self.groups);
        }
        self.order.sort_unstable();
        self.best.clear();
        for at in 0..self.order.len() {
            let group = self.order[at].number() as usize;
            let apart = (squared + self.codes.groups.squares[group] - 2.0 * dots[group]).max(0.0);
            self.scan((vector, along), lut, group, ListTerms { g_add: -dots[group], g_error: apart.sqrt() });
        }
    }

    /// Offers the lists of a group; a vector comes with its inner product with the mean.
    fn scan(&mut self, (vector, along): (&[f32], f32), lut: &Query, group: usize, terms: ListTerms) {
        let kernels = self.centroids.kernels();
        let f_add = match self.family {
            Family::L2 => &self.codes.f_add_l2,
            Family::Ip => &self.codes.f_add_ip,
        };
        let of_group = |factors: &'a [f32]| factors.as_chunks::<GROUP>().0.get(group);
        let (Some(f_add), Some(f_rescale), Some(f_error)) =
            (of_group(f_add), of_group(&self.codes.f_rescale), of_group(&self.codes.f_error))
        else {
            return;
        };
        let room = ROUNDING * (terms.g_add.abs() + terms.g_error * terms.g_error);
        let limit = |best: &Best| best.limit + best.limit.abs() * ROUNDING + room;
        let query = QueryTerms::new(lut, terms, EPSILON, limit(&self.best));
        let bytes = block_bytes(self.centroids.dim());
        let (mut sums, mut bounds) = ([0; GROUP], BlockBounds::default());
        kernels.scan_block(&self.codes.blocks[group * bytes..(group + 1) * bytes], lut.lut(), &mut sums);
        let factors = BlockFactors { f_add, f_rescale, f_error };
        let mut lanes = kernels.bounds(&sums, &factors, &query, &mut bounds);
        let count = (self.centroids.nlist() - group * GROUP).min(GROUP);
        lanes &= u32::MAX >> (GROUP - count);
        // The most promising one first: its exact key may spare the others theirs.
        let mut next = lowest(lanes, &bounds.estimate);
        while lanes != 0 {
            lanes &= !(1 << next);
            if bounds.lower[next] <= limit(&self.best) {
                let list = group * GROUP + next;
                let value = self.centroids.key(vector, along, list, self.family);
                self.best.offer(Key::new(value, list as u32));
            }
            next = lanes.trailing_zeros() as usize;
        }
    }
}

/// The lane with the lowest estimate.
fn lowest(mut lanes: u32, estimate: &[f32; GROUP]) -> usize {
    let mut lowest = (f32::INFINITY, lanes.trailing_zeros() as usize);
    while lanes != 0 {
        let lane = lanes.trailing_zeros() as usize;
        lanes &= lanes - 1;
        if estimate[lane] < lowest.0 {
            lowest = (estimate[lane], lane);
        }
    }
    lowest.1
}

/// The best lists so far.
struct Best {
    wanted: usize,
    heap: BinaryHeap<Key>,
    /// The worst key of `wanted` lists, infinity before there are as many.
    limit: f32,
}

impl Best {
    fn new(wanted: usize) -> Self {
        Self { wanted, heap: BinaryHeap::with_capacity(wanted + 1), limit: f32::INFINITY }
    }

    fn clear(&mut self) {
        self.heap.clear();
        self.limit = f32::INFINITY;
    }

    fn offer(&mut self, key: Key) {
        if self.heap.len() < self.wanted {
            self.heap.push(key);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && key < *worst
        {
            *worst = key;
        }
        if self.heap.len() == self.wanted {
            self.limit = self.heap.peek().map_or(f32::INFINITY, |worst| worst.value());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ivf::kmeans::assign, kernel::Kernels, random::SplitMix64};

    fn gaussian(random: &mut SplitMix64) -> f32 {
        let (u, v) = (1.0 - random.unit_f64(), random.unit_f64());
        ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
    }

    /// Centroids around corners, 64 of each in a row, and vectors around other centroids of the same corners.
    fn scene(corners: usize, dim: usize, vectors: usize) -> (Vec<f32>, Vec<f32>) {
        let mut random = SplitMix64::new(11);
        let places: Vec<f32> = (0..corners * dim).map(|_| gaussian(&mut random)).collect();
        let mut around = |corner: usize, spread: f32| -> Vec<f32> {
            let place = &places[corner * dim..(corner + 1) * dim];
            place.iter().map(|value| value + spread * gaussian(&mut random)).collect()
        };
        let centroids = (0..corners * 64).flat_map(|list| around(list / 64, 0.5)).collect();
        let vectors = (0..vectors).flat_map(|at| around(at % corners, 0.6)).collect();
        (centroids, vectors)
    }

    fn assigned(centroids: &Centroids, vectors: &[f32]) -> Vec<u32> {
        Codes::new(centroids).nearest_of_each(centroids, vectors, 1).into_iter().map(Key::number).collect()
    }

    #[test]
    fn assignment_agrees_with_the_exact_one() {
        for kernels in Kernels::available() {
            for dim in [64, 128, 384] {
                let (values, vectors) = scene(20, dim, 1000);
                let centroids = Centroids::learned(kernels, &values, dim);
                let exact = assign(kernels, &vectors, &centroids.all(), centroids.half_norms(), dim);
                let found = assigned(&centroids, &vectors);
                let same = found.iter().zip(&exact).filter(|(found, exact)| found == exact).count();
                assert!(same >= 995, "{same} of 1000 at {dim} dimensions");
            }
        }
    }

    #[test]
    fn the_nearest_lists_are_found_with_exact_keys() {
        let kernels = Kernels::detect().unwrap();
        let dim = 128;
        let (values, vectors) = scene(30, dim, 200);
        let centroids = Centroids::learned(kernels, &values, dim);
        let codes = Codes::new(&centroids);
        for family in [Family::L2, Family::Ip] {
            for wanted in [1, 10, 100] {
                let (mut met, mut found) = (0, Vec::new());
                for query in vectors.chunks_exact(dim) {
                    let shifted: Vec<f32> =
                        query.iter().zip(centroids.mean()).map(|(value, centre)| value - centre).collect();
                    let lut = Query::new(kernels, &shifted);
                    codes.nearest(&centroids, family, query, &lut, wanted, &mut found);
                    let along = centroids.along_mean(query);
                    let mut all: Vec<Key> = (0..centroids.nlist())
                        .map(|list| Key::new(centroids.key(query, along, list, family), list as u32))
                        .collect();
                    all.sort_unstable();
                    let exact: Vec<(f32, u32)> =
                        all[..wanted].iter().map(|key| (key.value(), key.number())).collect();
                    assert_eq!(found.len(), wanted);
                    assert!(found.is_sorted_by(|a, b| a.0 <= b.0));
                    met += found.iter().filter(|key| exact.contains(key)).count();
                }
                let share = met as f64 / (wanted * 200) as f64;
                assert!(share >= 0.995, "{share} of {wanted}, {family:?}");
            }
        }
    }

    #[test]
    fn every_centroid_can_be_found_whatever_their_number() {
        let kernels = Kernels::detect().unwrap();
        let (values, _) = scene(2, 64, 0);
        for count in [1, 2, 31, 32, 33, 64, 65, 128] {
            let values = &values[..count * 64];
            let centroids = Centroids::learned(kernels, values, 64);
            let found = assigned(&centroids, values);
            assert!(found.into_iter().eq(0..count as u32), "{count}");
        }
        let zeros = [0.0; 64 * 40];
        let centroids = Centroids::learned(kernels, &zeros, 64);
        assert_eq!(assigned(&centroids, &zeros[..64 * 3]), [0, 0, 0]);
    }
}
