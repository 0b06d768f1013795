//! From a query to the lists it looks into, nearest first.

use super::reach::{Breadth, Reach, farness};
use crate::{
    ivf::router::{KeyScratch, Router},
    kernel::Kernels,
    key::{Key, sort_up_to},
    metric::Family,
    rabitq::Query,
};

/// How many lists ahead of the one compared a centroid is fetched from memory.
const AHEAD: usize = 2;
/// Limits tried at most until about as many keys pass as are wanted.
const TRIES: usize = 8;
/// Lists sorted at least before the first look at whether they are enough.
const AT_FIRST: usize = 8;

/// Finds the lists of one query after the other, by the cheapest way there is.
pub(super) struct Guide<'a> {
    router: &'a Router,
    reach: Reach,
    way: Way,
    keys: Vec<f32>,
    scratch: KeyScratch,
    masks: Vec<u32>,
}

/// How lists are found.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// All of them are ranked by bytes, for several queries at once.
    Bytes,
    /// Codes of the centroids leave most lists out.
    Codes,
    /// All of them are ranked exactly, for several queries at once.
    Exact,
}

impl<'a> Guide<'a> {
    pub(super) fn new(router: &'a Router, reach: Reach) -> Self {
        let way = match () {
            () if router.ranks_by_bytes() => Way::Bytes,
            () if router.finds_by_code(reach.lists) => Way::Codes,
            () => Way::Exact,
        };
        Self { router, reach, way, keys: Vec::new(), scratch: KeyScratch::default(), masks: Vec::new() }
    }

    /// Says which queries come next, rotated, and the same shifted.
    pub(super) fn look_at(&mut self, rotated: &[f32], shifted: &[f32]) {
        match self.way {
            Way::Bytes => {
                self.router.nearly_keys_tile(rotated, shifted, &mut self.scratch, &mut self.keys);
            }
            Way::Codes => {}
            Way::Exact => {
                self.keys.resize(rotated.len() / self.router.padded_dim() * self.router.nlist(), 0.0);
                self.router.keys_tile(rotated, &mut self.keys);
            }
        }
    }

    /// The route of one of them, by its number; `query` is made of it.
    pub(super) fn route(&mut self, at: usize, rotated: &[f32], query: &Query, squared_norm: f32) -> Route {
        let (router, reach) = (self.router, self.reach);
        let nlist = router.nlist();
        let (keys, masks) = (&self.keys, &mut self.masks);
        let keys = || &keys[at * nlist..(at + 1) * nlist];
        match self.way {
            Way::Bytes => Route::of_nearly(router, rotated, keys(), reach, squared_norm, masks),
            Way::Codes => Route::by_code(router, rotated, query, reach, squared_norm),
            Way::Exact => Route::of_all(keys(), reach, router.metric().family(), squared_norm),
        }
    }
}

/// The lists of one query.
pub(super) struct Route {
    /// At least those looked into, sorted, the others behind them or missing.
    keys: Vec<Key>,
    within: usize,
}

impl Route {
    /// A route from the keys of all lists.
    pub(super) fn of_all(keys: &[f32], reach: Reach, family: Family, squared_norm: f32) -> Self {
        let mut keys: Vec<Key> = keys.iter().zip(0..).map(|(&key, list)| Key::new(key, list)).collect();
        let within = nearest_first(&mut keys, reach, family, squared_norm);
        Self { keys, within }
    }

    /// A route by keys that are nearly right: those of the lists that it leads to become exact, and stay in their order.
    pub(super) fn of_nearly(
        router: &Router,
        rotated: &[f32],
        keys: &[f32],
        reach: Reach,
        squared_norm: f32,
        masks: &mut Vec<u32>,
    ) -> Self {
        let (family, kernels) = (router.metric().family(), router.kernels());
        let mut nearest = promising(kernels, keys, reach.lists, masks);
        let mut within = nearest_first(&mut nearest, reach, family, squared_norm);
        if within == nearest.len() && within < keys.len() {
            nearest = promising(kernels, keys, keys.len(), masks);
            within = nearest_first(&mut nearest, reach, family, squared_norm);
        }
        let centroids = router.centroids();
        let along = centroids.along_mean(rotated);
        for at in 0..within {
            if let Some(next) = nearest[..within].get(at + AHEAD) {
                centroids.prefetch(next.number() as usize);
            }
            let list = nearest[at].number();
            nearest[at] = Key::new(centroids.key(rotated, along, list as usize, family), list);
        }
        Self { keys: nearest, within }
    }

    /// A route through the codes of the centroids, which leaves most lists out.
    pub(super) fn by_code(
        router: &Router,
        rotated: &[f32],
        query: &Query,
        reach: Reach,
        squared_norm: f32,
    ) -> Self {
        let (mut wanted, mut found) = (reach.lists, Vec::new());
        loop {
            router.nearest(rotated, query, wanted, &mut found);
            let mut keys: Vec<Key> = found.iter().map(|&(key, list)| Key::new(key, list)).collect();
            let within = nearest_first(&mut keys, reach, router.metric().family(), squared_norm);
            let enough = within < keys.len() || reach.breadth == Breadth::Nprobe(within);
            if enough || keys.len() == router.nlist() {
                return Self { keys, within };
            }
            wanted *= 4;
        }
    }

    /// The lists looked into, nearest first.
    pub(super) fn within(&self) -> &[Key] {
        &self.keys[..self.within]
    }

    /// All other lists, nearest first.
    pub(super) fn beyond(&self, router: &Router, rotated: &[f32]) -> Vec<Key> {
        let mut keys = Vec::new();
        router.keys(rotated, &mut keys);
        let mut within: Vec<u32> = self.within().iter().map(|key| key.number()).collect();
        within.sort_unstable();
        let others = keys.into_iter().filter(|(_, list)| within.binary_search(list).is_err());
        let mut others: Vec<Key> = others.map(|(key, list)| Key::new(key, list)).collect();
        others.sort_unstable();
        others
    }
}

/// The keys of at least as many lists as are wanted, of few more where keys differ: the smallest ones, in the order of
/// lists. `masks` is room that is used again.
///
/// Counting how many keys a limit lets pass is so quick that a limit is found by trying, where half an order, of all keys
/// or of a sample, takes as long as several queries' products with all centroids.
fn promising(kernels: Kernels, keys: &[f32], wanted: usize, masks: &mut Vec<u32>) -> Vec<Key> {
    masks.resize(keys.len().div_ceil(32), 0);
    let found = if 2 * wanted < keys.len() { count_about(kernels, keys, wanted, masks) } else { 0 };
    if found < wanted {
        return keys.iter().zip(0..).map(|(&key, list)| Key::new(key, list)).collect();
    }
    let mut nearest = Vec::with_capacity(found);
    for (&mask, first) in masks.iter().zip((0_u32..).step_by(32)) {
        let mut mask = mask;
        while mask != 0 {
            let list = first + mask.trailing_zeros();
            mask &= mask - 1;
            nearest.push(Key::new(keys[list as usize], list));
        }
    }
    nearest
}

/// Finds a limit that lets as many keys pass as are wanted, or up to twice as many, leaves these in `masks`, and says how
/// many they are. More pass where keys are equal; fewer than wanted say that there is no such limit.
fn count_about(kernels: Kernels, keys: &[f32], wanted: usize, masks: &mut [u32]) -> usize {
    let (smallest, mean) = smallest_and_mean(keys);
    let (mut low, mut high) = ((smallest, 1), (mean, kernels.at_most(keys, mean, masks)));
    if high.1 < wanted {
        let largest = keys.iter().fold(smallest, |largest, &key| largest.max(key));
        (low, high) = (high, (largest, keys.len()));
    }
    for _ in 0..TRIES {
        if (wanted..=2 * wanted).contains(&high.1) {
            break;
        }
        // Keys far below the mean become fewer by about the same factor with every step.
        let ln = |count: usize| (count.max(1) as f32).ln();
        let part = (ln(wanted + wanted / 2) - ln(low.1)) / (ln(high.1) - ln(low.1));
        let between = low.0 + (high.0 - low.0) * part.clamp(0.1, 0.9);
        let count = kernels.at_most(keys, between, masks);
        if count < wanted {
            low = (between, count);
        } else {
            high = (between, count);
        }
    }
    kernels.at_most(keys, high.0, masks)
}

fn smallest_and_mean(keys: &[f32]) -> (f32, f32) {
    let (mut smallest, mut sums) = ([f32::INFINITY; 16], [0.0; 16]);
    for keys in keys.chunks(16) {
        for ((smallest, sum), key) in smallest.iter_mut().zip(&mut sums).zip(keys) {
            (*smallest, *sum) = (smallest.min(*key), *sum + key);
        }
    }
    let smallest = smallest.into_iter().fold(f32::INFINITY, f32::min);
    (smallest, sums.into_iter().sum::<f32>() / keys.len() as f32)
}

/// Sorts as many of `keys` as `breadth` takes, and says how many that is: at least one.
fn nearest_first(keys: &mut [Key], reach: Reach, family: Family, squared_norm: f32) -> usize {
    match reach.breadth {
        Breadth::Nprobe(nprobe) => {
            let nprobe = nprobe.clamp(1, keys.len());
            sort_up_to(keys, nprobe);
            nprobe
        }
        // A query of zeros is as far from every list as from any other.
        Breadth::Spread { .. } if family == Family::Ip && squared_norm <= 0.0 => {
            sort_up_to(keys, 1);
            1
        }
        Breadth::Spread { mut spread, usual, least } => {
            let (mut sorted, mut taken) = (0, 0);
            if let Some(nearest) = keys.iter().min().filter(|_| usual > 0.0) {
                spread *= (farness(family, nearest.value(), squared_norm) / usual).max(1.0).powi(2);
            }
            while taken == sorted && sorted < keys.len() {
                let upto = (2 * sorted).max(reach.lists).max(AT_FIRST).min(keys.len());
                sort_up_to(&mut keys[sorted..], upto - sorted);
                sorted = upto;
                let nearest = farness(family, keys[0].value(), squared_norm);
                let within = |at: usize| {
                    at < least.max(1)
                        || at as f32 * (farness(family, keys[at].value(), squared_norm) - nearest) <= spread
                };
                while taken < sorted && within(taken) {
                    taken += 1;
                }
            }
            taken
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{metric::Metric, random::SplitMix64, rotate::Rotation};

    /// A router of many centroids around few corners, and queries near some of them.
    fn scene(metric: Metric, lists: usize, dim: usize) -> (Router, Vec<f32>) {
        let mut random = SplitMix64::new(4);
        let corners: Vec<f32> = (0..16 * dim).map(|_| random.unit_f64() as f32 - 0.5).collect();
        let mut around = |at: usize| {
            let corner = &corners[at % 16 * dim..(at % 16 + 1) * dim];
            corner.iter().map(|value| value + 0.3 * (random.unit_f64() as f32 - 0.5)).collect::<Vec<_>>()
        };
        let centroids: Vec<f32> = (0..lists).flat_map(&mut around).collect();
        let queries = (0..20).flat_map(&mut around).collect();
        let kernels = Kernels::detect().unwrap();
        (Router::new(metric, Rotation::new(dim, 0), &centroids, kernels).unwrap(), queries)
    }

    #[test]
    fn every_way_leads_to_nearly_the_same_lists_with_exact_keys() {
        for (lists, dim, way) in [(10, 64, Way::Exact), (900, 128, Way::Bytes), (1100, 1024, Way::Codes)] {
            for metric in [Metric::L2Sq, Metric::Ip] {
                let (router, queries) = scene(metric, lists, dim);
                let wanted = lists.min(40);
                let reach = Reach { lists: wanted, ..reach(Breadth::Nprobe(wanted)) };
                let mut guide = Guide::new(&router, reach);
                assert!(guide.way == way, "{lists} x {dim}");
                let (mut shifted, mut met) = (vec![0.0; queries.len()], 0);
                for (query, shifted) in queries.chunks_exact(dim).zip(shifted.chunks_exact_mut(dim)) {
                    router.shift(query, shifted);
                }
                guide.look_at(&queries, &shifted);
                let each = queries.chunks_exact(dim).zip(shifted.chunks_exact(dim));
                for (at, (query, shifted)) in each.enumerate() {
                    let table = Query::new(router.kernels(), shifted);
                    let route = guide.route(at, query, &table, 1.0);
                    let mut exact = Vec::new();
                    router.keys(query, &mut exact);
                    assert_eq!(route.within().len(), wanted);
                    let is_exact = |key: &Key| *key == Key::new(exact[key.number() as usize].0, key.number());
                    assert!(route.within().iter().all(is_exact));
                    exact.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
                    let nearest: Vec<u32> = exact[..wanted].iter().map(|key| key.1).collect();
                    met += route.within().iter().filter(|key| nearest.contains(&key.number())).count();
                    let beyond = route.beyond(&router, query);
                    let mut all: Vec<u32> =
                        route.within().iter().chain(&beyond).map(|key| key.number()).collect();
                    all.sort_unstable();
                    assert!(all.into_iter().eq(0..lists as u32), "each list once");
                }
                let share = met as f64 / (20 * wanted) as f64;
                assert!(share > 0.98, "{metric}, {lists} x {dim}: {share}");
            }
        }
    }

    fn reach(breadth: Breadth) -> Reach {
        Reach { breadth, lists: 1, enough: 0, allowed: 0.0, epsilon: 1.0 }
    }

    #[test]
    fn nearest_lists_come_sorted_and_ties_by_number() {
        let mut keys: Vec<Key> = [(3.0, 0), (1.0, 1), (-2.0, 2), (1.0, 3), (-2.5, 4)]
            .map(|(key, list)| Key::new(key, list))
            .to_vec();
        assert_eq!(nearest_first(&mut keys, reach(Breadth::Nprobe(3)), Family::L2, 1.0), 3);
        let first: Vec<_> = keys[..3].iter().map(|key| (key.value(), key.number())).collect();
        assert_eq!(first, [(-2.5, 4), (-2.0, 2), (1.0, 1)]);
    }

    #[test]
    fn a_query_of_zeros_starts_with_one_list() {
        let mut keys = [Key::new(0.0, 0), Key::new(0.0, 1)];
        let reach = reach(Breadth::Spread { spread: 1.0, usual: 0.0, least: 1 });
        assert_eq!(nearest_first(&mut keys, reach, Family::Ip, 0.0), 1);
    }

    proptest! {
        #[test]
        fn promising_keys_are_the_smallest(
            raw in prop::collection::vec(0_u16..500, 1..900), wanted in 1_usize..100,
        ) {
            let keys: Vec<f32> = raw.iter().map(|&key| f32::from(key)).collect();
            let mut found = promising(Kernels::detect().unwrap(), &keys, wanted, &mut Vec::new());
            let mut all: Vec<Key> = keys.iter().zip(0..).map(|(&key, list)| Key::new(key, list)).collect();
            found.sort_unstable();
            all.sort_unstable();
            prop_assert!(!found.is_empty());
            prop_assert_eq!(&found[..], &all[..found.len()]);
            prop_assert!(found.len() == all.len() || found[found.len() - 1].value() < all[found.len()].value());
        }

        #[test]
        fn spread_takes_the_longest_prefix_of_the_sorted_lists(
            raw in prop::collection::vec(0_u16..500, 1..200), spread in 0.0_f32..3000.0,
        ) {
            let mut keys: Vec<Key> = raw.iter().zip(0..).map(|(&key, list)| Key::new(f32::from(key), list)).collect();
            let mut sorted = keys.clone();
            sorted.sort_unstable();
            let reach = reach(Breadth::Spread { spread, usual: 0.0, least: 1 });
            let taken = nearest_first(&mut keys, reach, Family::Ip, 1.0);
            let fits = |at: usize| at as f32 * (sorted[at].value() - sorted[0].value()) <= spread;
            prop_assert_eq!(taken, (0..sorted.len()).take_while(|&at| fits(at)).count());
            prop_assert_eq!(&keys[..taken], &sorted[..taken]);
        }
    }
}
