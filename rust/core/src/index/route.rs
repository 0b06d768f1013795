//! From a query to the lists it looks into, nearest first.

use std::cmp::Ordering;

use super::reach::{Breadth, farness};
use crate::metric::Family;

/// A list and the router's key for it: smaller is nearer.
pub(super) type Key = (f32, u32);

/// Lists sorted before the first look at whether they are enough.
const AT_FIRST: usize = 32;

/// Sorts as many of `keys` as `breadth` takes, and says how many that is: at least one.
pub(super) fn nearest_first(keys: &mut [Key], breadth: Breadth, family: Family, squared_norm: f32) -> usize {
    match breadth {
        Breadth::Nprobe(nprobe) => {
            let nprobe = nprobe.clamp(1, keys.len());
            sort_up_to(keys, nprobe);
            nprobe
        }
        // A query of zeros is as far from every list as from any other.
        Breadth::Spread(_) if family == Family::Ip && squared_norm <= 0.0 => {
            sort_up_to(keys, 1);
            1
        }
        Breadth::Spread(spread) => {
            let (mut sorted, mut taken) = (0, 0);
            while taken == sorted && sorted < keys.len() {
                let upto = (2 * sorted).max(AT_FIRST).min(keys.len());
                sort_up_to(&mut keys[sorted..], upto - sorted);
                sorted = upto;
                let nearest = farness(family, keys[0].0, squared_norm);
                let within = |at: usize| {
                    at as f32 * (farness(family, keys[at].0, squared_norm) - nearest) <= spread || at == 0
                };
                while taken < sorted && within(taken) {
                    taken += 1;
                }
            }
            taken
        }
    }
}

/// Sorts all of `keys`.
pub(super) fn sort(keys: &mut [Key]) {
    keys.sort_unstable_by(by_key);
}

/// Brings the `count` smallest to the front, sorted.
fn sort_up_to(keys: &mut [Key], count: usize) {
    if count < keys.len() {
        keys.select_nth_unstable_by(count - 1, by_key);
    }
    sort(&mut keys[..count]);
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that sorting asks for")]
fn by_key(a: &Key, b: &Key) -> Ordering {
    a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nearest_lists_come_sorted_and_ties_by_number() {
        let mut keys = vec![(3.0, 0), (1.0, 1), (2.0, 2), (1.0, 3), (0.5, 4)];
        assert_eq!(nearest_first(&mut keys, Breadth::Nprobe(3), Family::L2, 1.0), 3);
        assert_eq!(keys[..3], [(0.5, 4), (1.0, 1), (1.0, 3)]);
    }

    #[test]
    fn a_query_of_zeros_starts_with_one_list() {
        let mut keys = vec![(0.0, 0), (0.0, 1)];
        assert_eq!(nearest_first(&mut keys, Breadth::Spread(1.0), Family::Ip, 0.0), 1);
    }

    proptest! {
        #[test]
        fn spread_takes_the_longest_prefix_of_the_sorted_lists(
            raw in prop::collection::vec(0_u16..500, 1..200), spread in 0.0_f32..3000.0,
        ) {
            let mut keys: Vec<Key> = raw.iter().zip(0..).map(|(&key, list)| (f32::from(key), list)).collect();
            let mut sorted = keys.clone();
            sort(&mut sorted);
            let taken = nearest_first(&mut keys, Breadth::Spread(spread), Family::Ip, 1.0);
            let fits = |at: usize| at as f32 * (sorted[at].0 - sorted[0].0) <= spread;
            prop_assert_eq!(taken, (0..sorted.len()).take_while(|&at| fits(at)).count());
            prop_assert_eq!(&keys[..taken], &sorted[..taken]);
        }
    }
}
