//! From a query to the lists it looks into, nearest first.

use super::reach::{Breadth, Reach, farness};
use crate::{ivf::router::Router, key::Key, metric::Family, rabitq::Query};

/// Lists sorted before the first look at whether they are enough.
const AT_FIRST: usize = 32;

/// The lists of one query.
pub(super) struct Route {
    /// At least those looked into, sorted, the others behind them or missing.
    keys: Vec<Key>,
    within: usize,
}

impl Route {
    /// A route from the keys of all lists.
    pub(super) fn of_all(keys: &[f32], breadth: Breadth, family: Family, squared_norm: f32) -> Self {
        let mut keys: Vec<Key> = keys.iter().zip(0..).map(|(&key, list)| Key::new(key, list)).collect();
        let within = nearest_first(&mut keys, breadth, family, squared_norm);
        Self { keys, within }
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
            let within = nearest_first(&mut keys, reach.breadth, router.metric().family(), squared_norm);
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

/// Sorts as many of `keys` as `breadth` takes, and says how many that is: at least one.
fn nearest_first(keys: &mut [Key], breadth: Breadth, family: Family, squared_norm: f32) -> usize {
    match breadth {
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
                let upto = (2 * sorted).max(AT_FIRST).min(keys.len());
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

/// Brings the `count` smallest to the front, sorted.
fn sort_up_to(keys: &mut [Key], count: usize) {
    if count < keys.len() {
        keys.select_nth_unstable(count - 1);
    }
    keys[..count].sort_unstable();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nearest_lists_come_sorted_and_ties_by_number() {
        let mut keys: Vec<Key> = [(3.0, 0), (1.0, 1), (-2.0, 2), (1.0, 3), (-2.5, 4)]
            .map(|(key, list)| Key::new(key, list))
            .to_vec();
        assert_eq!(nearest_first(&mut keys, Breadth::Nprobe(3), Family::L2, 1.0), 3);
        let first: Vec<_> = keys[..3].iter().map(|key| (key.value(), key.number())).collect();
        assert_eq!(first, [(-2.5, 4), (-2.0, 2), (1.0, 1)]);
    }

    #[test]
    fn a_query_of_zeros_starts_with_one_list() {
        let mut keys = [Key::new(0.0, 0), Key::new(0.0, 1)];
        assert_eq!(
            nearest_first(&mut keys, Breadth::Spread { spread: 1.0, usual: 0.0, least: 1 }, Family::Ip, 0.0),
            1
        );
    }

    proptest! {
        #[test]
        fn spread_takes_the_longest_prefix_of_the_sorted_lists(
            raw in prop::collection::vec(0_u16..500, 1..200), spread in 0.0_f32..3000.0,
        ) {
            let mut keys: Vec<Key> = raw.iter().zip(0..).map(|(&key, list)| Key::new(f32::from(key), list)).collect();
            let mut sorted = keys.clone();
            sorted.sort_unstable();
            let taken = nearest_first(&mut keys, Breadth::Spread { spread, usual: 0.0, least: 1 }, Family::Ip, 1.0);
            let fits = |at: usize| at as f32 * (sorted[at].value() - sorted[0].value()) <= spread;
            prop_assert_eq!(taken, (0..sorted.len()).take_while(|&at| fits(at)).count());
            prop_assert_eq!(&keys[..taken], &sorted[..taken]);
        }
    }
}
