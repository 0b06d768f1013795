//! A snapshot that shows fewer rows.

use super::Snapshot;
use crate::ids::Ids;

impl Snapshot {
    /// The same state without the rows that have these ids; ids that no row has are ignored. Searching it costs no more,
    /// and nobody else sees fewer rows for it.
    #[must_use]
    pub fn without(&self, ids: &Ids) -> Self {
        let mut next = self.clone();
        for at in 0..ids.len() {
            if let Some(place) = next.find(ids.get(at)) {
                next.prepare();
                next.kill(place);
            }
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        Index, Live, Pool, Unwatched, Vectors,
        ids::{Id, Ids},
        index::{BuildParams, Effort, SearchParams},
    };

    #[test]
    fn hidden_rows_are_found_by_nobody_who_looks_here() {
        let column = |rows: std::ops::Range<i64>| {
            let values: Vec<f32> = rows.flat_map(|row| [row as f32, 0.0]).collect();
            Vectors::from_f32("v", 2, values.into()).unwrap()
        };
        let ids = |ids: &[i64]| Ids::Int64(ids.to_vec().into());
        let (pool, params) = (Pool::Inline, BuildParams::default());
        let names: Vec<i64> = (0..50).collect();
        let index = Index::build(column(0..50), Some(&ids(&names)), &params, &pool, &Unwatched).unwrap();
        let live = Live::new(index);
        for recent in [false, true] {
            if recent {
                live.add(Some(&ids(&[50, 51])), &column(50..52), &pool, &Unwatched).unwrap();
            }
            let (whole, fewer) = (live.snapshot(), live.snapshot().without(&ids(&[3, 51, 99])));
            let gone = 1 + usize::from(recent);
            assert_eq!(fewer.len() + gone, whole.len());
            assert!(whole.contains(Id::Int64(3)) && !fewer.contains(Id::Int64(3)));
            let ask = SearchParams { k: 60, effort: Effort::Exact, ..SearchParams::default() };
            let found = fewer.search(&column(3..4), &ask, &pool, &Unwatched).unwrap();
            assert_eq!(found.len(), fewer.len());
            assert!((0..found.len()).all(|at| ![Id::Int64(3), Id::Int64(51)].contains(&found.ids().get(at))));
            assert_eq!(whole.search(&column(3..4), &ask, &pool, &Unwatched).unwrap().len(), whole.len());
        }
    }
}
