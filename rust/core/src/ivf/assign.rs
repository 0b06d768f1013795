//! Which list a row belongs to.

use std::sync::Arc;

use super::{codes::Codes, router::Router};
use crate::{
    key::{Key, sort_up_to},
    metric::Family,
};

/// Where a row belongs, and where it could.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Assigned {
    /// The nearest list.
    pub(crate) list: u32,
    /// Those after it.
    pub(super) others: Others,
}

/// Two lists after the nearest, or fewer, the nearer one first; each with how much farther it is than the nearest: half the
/// difference of the squared distances.
pub(super) type Others = [Option<(u32, f32)>; 2];

/// Assigns rows to the lists of a router. With many lists it has their codes, which are quicker there than to rank all by
/// bytes, and are kept no longer than it lives.
pub struct Assigner<'a> {
    router: &'a Router,
    codes: Option<Arc<Codes>>,
}

impl<'a> Assigner<'a> {
    /// Of so many rows that making codes does not matter.
    pub fn new(router: &'a Router) -> Self {
        Self { router, codes: router.codes() }
    }

    /// The list of each of several projected rows: the centroid nearest by Euclidean distance, the first of equals.
    ///
    /// With many lists, a row in a few hundred goes to one that is not the nearest but nearly so.
    pub fn assign(&self, rows: &[f32]) -> Vec<u32> {
        self.nearest_of_each(rows, 1).into_iter().map(Key::number).collect()
    }

    /// The list of each of several projected rows, as [`Assigner::assign`] finds it, and those after it.
    pub(super) fn assign_and_more(&self, rows: &[f32]) -> Vec<Assigned> {
        let wanted = self.router.nlist().min(3);
        let mut keys = self.nearest_of_each(rows, wanted);
        let assigned = keys.chunks_exact_mut(wanted).map(|keys| {
            keys.sort_unstable();
            let other = |at| keys.get(at).map(|key: &Key| (key.number(), key.value() - keys[0].value()));
            Assigned { list: keys[0].number(), others: [other(1), other(2)] }
        });
        assigned.collect()
    }

    /// The keys of the `wanted` nearest lists of each of several projected rows, one after the other, in no order.
    fn nearest_of_each(&self, rows: &[f32], wanted: usize) -> Vec<Key> {
        let centroids = self.router.centroids();
        if let Some(codes) = &self.codes {
            return codes.nearest_of_each(centroids, rows, wanted);
        }
        let nearest = rows.chunks_exact(centroids.dim()).flat_map(|row| {
            let along = centroids.along_mean(row);
            let key = |list| centroids.key(row, along, list as usize, Family::L2);
            let mut keys: Vec<Key> =
                (0..centroids.nlist() as u32).map(|list| Key::new(key(list), list)).collect();
            sort_up_to(&mut keys, wanted);
            keys.truncate(wanted);
            keys
        });
        nearest.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kernel::Kernels, metric::Metric, random::SplitMix64, rotate::Rotation};

    #[test]
    fn the_lists_after_the_nearest_are_known() {
        let mut random = SplitMix64::new(2);
        for (rows, nlist) in [(40, 1), (40, 2), (40, 3), (300, 17), (500, 300)] {
            let mut column = |rows: usize| -> Vec<f32> {
                (0..rows * 64).map(|_| (random.unit_f64() - 0.3) as f32).collect()
            };
            let (values, rows) = (column(nlist), column(rows));
            let rotation = Rotation::new(64, 0);
            let kernels = Kernels::detect().unwrap();
            let router = Router::new(Metric::Cosine, rotation, &values, kernels).unwrap();
            let assigner = Assigner::new(&router);
            assert_eq!(assigner.codes.is_some(), nlist == 300);
            let found = assigner.assign_and_more(&rows);
            let lists: Vec<u32> = found.iter().map(|row| row.list).collect();
            assert_eq!(lists, assigner.assign(&rows));
            let mut met = 0;
            for (row, found) in rows.chunks_exact(64).zip(&found) {
                let along = router.centroids().along_mean(row);
                let key = |list: u32| router.centroids().key(row, along, list as usize, Family::L2);
                let mut keys: Vec<(f32, u32)> = (0..nlist as u32).map(|list| (key(list), list)).collect();
                keys.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                let other = |at: usize| keys.get(at).map(|key| (key.1, key.0 - keys[0].0));
                met += usize::from(found.others == [other(1), other(2)]);
            }
            assert!(met * 100 >= 99 * found.len(), "{met} of {}", found.len());
        }
    }
}
