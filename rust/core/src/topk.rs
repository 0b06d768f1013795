//! The k best, in a total order: by distance, and between equal distances by id.

use std::{cmp::Ordering, collections::BinaryHeap};

use crate::ids::Id;

/// One row that may be among the nearest.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The value of the metric's family (see [`crate::metric::Metric::finish`]); never NaN.
    pub value: f32,
    /// The row's id, which decides between equal values.
    pub id: Id<'a>,
}

impl Ord for Candidate<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        // Adding zero folds -0.0 into +0.0, which total_cmp would tell apart though they are one distance.
        (self.value + 0.0).total_cmp(&(other.value + 0.0)).then_with(|| self.id.cmp(&other.id))
    }
}

impl PartialOrd for Candidate<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate<'_> {}

/// A bounded max-heap: the worst of the k best is on top, ready to be beaten.
#[derive(Debug)]
pub struct TopK<'a> {
    k: usize,
    heap: BinaryHeap<Candidate<'a>>,
}

impl<'a> TopK<'a> {
    /// An empty selection of at most `k`.
    pub fn new(k: usize) -> Self {
        // k may be far above the number of rows that will ever come: let the heap grow.
        Self { k, heap: BinaryHeap::with_capacity(k.min(1024)) }
    }

    /// The value a row must not exceed to have a chance; infinite while there is room.
    pub fn limit(&self) -> f32 {
        if self.heap.len() < self.k {
            f32::INFINITY
        } else {
            self.heap.peek().map_or(f32::NEG_INFINITY, |top| top.value)
        }
    }

    /// Whether `k` rows were found.
    pub fn is_full(&self) -> bool {
        self.heap.len() >= self.k
    }

    /// Offers one row.
    pub fn push(&mut self, candidate: Candidate<'a>) {
        if self.heap.len() < self.k {
            self.heap.push(candidate);
        } else if let Some(mut top) = self.heap.peek_mut()
            && candidate < *top
        {
            *top = candidate;
        }
    }

    /// The rows found, best first.
    pub fn into_sorted(self) -> Vec<Candidate<'a>> {
        self.heap.into_sorted_vec()
    }
}

/// The k best of several selections. Associative and commutative: shards may be merged in any order and grouping.
pub fn merge_topk<'a>(k: usize, parts: impl IntoIterator<Item = Vec<Candidate<'a>>>) -> Vec<Candidate<'a>> {
    let mut best = TopK::new(k);
    for candidate in parts.into_iter().flatten() {
        best.push(candidate);
    }
    best.into_sorted()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidates(raw: &[(u8, i64)]) -> Vec<Candidate<'_>> {
        raw.iter().map(|&(value, id)| Candidate { value: f32::from(value), id: Id::Int64(id) }).collect()
    }

    fn naive(k: usize, mut all: Vec<Candidate<'_>>) -> Vec<Candidate<'_>> {
        all.sort();
        all.truncate(k);
        all
    }

    proptest! {
        #[test]
        fn equals_sort_and_truncate(raw in prop::collection::vec((0_u8..6, 0_i64..50), 0..60), k in 0_usize..12) {
            let mut best = TopK::new(k);
            for candidate in candidates(&raw) {
                best.push(candidate);
            }
            prop_assert_eq!(best.into_sorted(), naive(k, candidates(&raw)));
        }

        #[test]
        fn merging_forgets_order_and_grouping(
            raw in prop::collection::vec((0_u8..6, 0_i64..50), 0..60), cut in 0_usize..60, k in 0_usize..12,
        ) {
            let all = candidates(&raw);
            let (left, right) = all.split_at(cut.min(all.len()));
            let (left, right) = (naive(k, left.to_vec()), naive(k, right.to_vec()));
            let one_way = merge_topk(k, [left.clone(), right.clone()]);
            prop_assert_eq!(&one_way, &merge_topk(k, [right, left]));
            prop_assert_eq!(one_way, naive(k, all));
        }
    }

    #[test]
    fn the_limit_is_the_worst_of_a_full_heap() {
        let mut best = TopK::new(2);
        assert!(best.limit().is_infinite());
        for candidate in candidates(&[(5, 0), (3, 1), (4, 2)]) {
            best.push(candidate);
        }
        assert!((best.limit() - 4.0).abs() < f32::EPSILON);
        assert!(TopK::new(0).limit() < f32::MIN);
    }

    #[test]
    fn signed_zeros_are_one_distance() {
        let zero = |value, id| Candidate { value, id: Id::Int64(id) };
        assert_eq!(naive(1, vec![zero(0.0, 1), zero(-0.0, 2)])[0].id, Id::Int64(1));
    }
}
