//! What searches of several indexes tell each other while they run: how far the `k`-th best row is at most.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

/// For each query a distance beyond which no row can be among the `k` best of all that is searched. Searches of indexes
/// that share no row, by one metric and for one `k`, may share it: see [`super::Index::search_sharing`].
///
/// The values are those that the search compares, before [`crate::Metric::finish`].
#[derive(Debug)]
pub struct SharedBounds {
    limits: Vec<AtomicU32>,
    compared: AtomicUsize,
}

impl SharedBounds {
    /// Nothing is known yet about this many queries.
    pub fn new(queries: usize) -> Self {
        let unknown = || AtomicU32::new(f32::INFINITY.to_bits());
        Self { limits: (0..queries).map(|_| unknown()).collect(), compared: AtomicUsize::new(0) }
    }

    /// How many rows were compared exactly by all searches together.
    pub fn compared(&self) -> usize {
        self.compared.load(Relaxed)
    }

    pub(super) fn of(&self, query: usize) -> Option<Bound<'_>> {
        self.limits.get(query).map(|limit| Bound { limit, compared: &self.compared })
    }
}

/// That of one query.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound<'b> {
    limit: &'b AtomicU32,
    compared: &'b AtomicUsize,
}

impl Bound<'_> {
    pub(super) fn limit(self) -> f32 {
        f32::from_bits(self.limit.load(Relaxed))
    }

    /// Says that `k` rows are no farther than this.
    pub(super) fn lower(self, limit: f32) {
        let lower = |now: u32| (limit < f32::from_bits(now)).then_some(limit.to_bits());
        // An error is the limit that is lower already.
        let _ = self.limit.fetch_update(Relaxed, Relaxed, lower);
    }

    pub(super) fn count(self, compared: usize) {
        self.compared.fetch_add(compared, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::SharedBounds;
    use crate::{
        Hits, Index, Pool, Unwatched, Vectors,
        ids::Ids,
        index::{BuildParams, SearchParams},
        random::SplitMix64,
    };

    #[test]
    fn what_others_have_found_nearer_is_not_compared() {
        let mut random = SplitMix64::new(3);
        let mut column = |rows: usize, at: f32| {
            let values: Vec<f32> = (0..rows * 16).map(|_| at + random.unit_f64() as f32).collect();
            Vectors::from_f32("v", 16, values.into()).unwrap()
        };
        let build = |vectors: Vectors, first: i64| {
            let ids = Ids::Int64((first..first + vectors.len() as i64).collect::<Vec<_>>().into());
            Index::build(vectors, Some(&ids), &BuildParams::default(), &Pool::Inline, &Unwatched).unwrap()
        };
        let (near, far) = (build(column(2000, 0.0), 0), build(column(2000, 1.0), 10_000));
        let (few, queries) = (build(column(5, 0.0), 20_000), column(20, 0.0));
        let params = SearchParams::default();
        let search = |index: &Index, bounds: Option<&SharedBounds>| {
            index.search_sharing(&queries, &params, bounds, &Pool::Inline, &Unwatched).unwrap()
        };
        let (alone, together, unshared) =
            (SharedBounds::new(20), SharedBounds::new(20), SharedBounds::new(20));
        let whole = [&few, &near, &far].map(|index| search(index, None));
        // A table of five rows says nothing about the tenth.
        let parts = [&few, &near, &far].map(|index| search(index, Some(&together)));
        search(&few, Some(&alone));
        search(&near, Some(&alone));
        let before = alone.compared();
        search(&far, Some(&alone));
        assert_eq!(alone.compared(), before, "each row of it is farther than the tenth");
        search(&far, Some(&unshared));
        assert!(unshared.compared() >= 200);
        let merge = |parts: &[Hits; 3]| parts[0].merge(&parts[1], 10).merge(&parts[2], 10);
        let (whole, parts) = (merge(&whole), merge(&parts));
        assert_eq!((whole.to_batch().unwrap(), whole.len()), (parts.to_batch().unwrap(), 200));
    }
}
