//! Lloyd's k-means on rows that lie in memory, the same to the last bit whatever the number of threads.

use crate::{
    error::{Error, Result},
    kernel::Kernels,
    monitor::{Monitor, Phase},
    pool::Pool,
    random::SplitMix64,
};

/// Rounds of assign and update. Recall of the lists stops improving after about this many.
const ROUNDS: usize = 8;
/// Sets the draw of the first centroids apart from other draws with the same seed: "kmeans" in ASCII.
const STREAM: u64 = 0x6b6d_6561_6e73;
/// Rows assigned by one task.
const TILE: usize = 256;
/// Rows whose inner products with all centroids are held at once.
const ROWS_AT_ONCE: usize = 16;

/// `nlist` centroids of `rows` (`dim` values each), at most as many as there are rows.
pub(super) fn train(
    kernels: Kernels,
    rows: &[f32],
    dim: usize,
    nlist: usize,
    seed: u64,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<Vec<f32>> {
    let mut centroids = first_centroids(rows, dim, nlist, seed);
    for _ in 0..ROUNDS {
        if monitor.interrupted() {
            return Err(Error::Interrupted);
        }
        let lists = assign_all(kernels, rows, &centroids, dim, pool, monitor)?;
        centroids = update(rows, &centroids, &lists, dim, pool)?;
        monitor.advance(Phase::Train, 1, ROUNDS);
    }
    Ok(centroids)
}

/// Distinct rows, drawn evenly.
fn first_centroids(rows: &[f32], dim: usize, nlist: usize, seed: u64) -> Vec<f32> {
    let count = rows.len() / dim;
    let mut random = SplitMix64::new(seed ^ STREAM);
    let mut order: Vec<usize> = (0..count).collect();
    // The first nlist steps of a Fisher-Yates shuffle.
    for at in 0..nlist.min(count) {
        let other = at + random.below((count - at) as u64) as usize;
        order.swap(at, other);
    }
    order[..nlist.min(count)].iter().flat_map(|&row| &rows[row * dim..(row + 1) * dim]).copied().collect()
}

fn assign_all(
    kernels: Kernels,
    rows: &[f32],
    centroids: &[f32],
    dim: usize,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<Vec<u32>> {
    let half_norms: Vec<f32> =
        centroids.chunks_exact(dim).map(|centroid| 0.5 * kernels.dot(centroid, centroid)).collect();
    let tiles: Vec<&[f32]> = rows.chunks(TILE * dim).collect();
    let lists = pool.map(tiles.len(), |tile| {
        if monitor.interrupted() {
            return Err(Error::Interrupted);
        }
        Ok(assign(kernels, tiles[tile], centroids, &half_norms, dim))
    })?;
    Ok(lists.concat())
}

/// The nearest centroid of each row: the one that maximises `<x, c> - |c|^2 / 2`, the first of equals.
pub(super) fn assign(
    kernels: Kernels,
    rows: &[f32],
    centroids: &[f32],
    half_norms: &[f32],
    dim: usize,
) -> Vec<u32> {
    let nlist = half_norms.len();
    let mut dots = vec![0.0; ROWS_AT_ONCE * nlist];
    let mut lists = Vec::with_capacity(rows.len() / dim);
    for tile in rows.chunks(ROWS_AT_ONCE * dim) {
        let dots = &mut dots[..tile.len() / dim * nlist];
        kernels.dots_tile(tile, centroids, dim, dots);
        lists.extend(dots.chunks_exact(nlist).map(|dots| nearest(dots, half_norms)));
    }
    lists
}

fn nearest(dots: &[f32], half_norms: &[f32]) -> u32 {
    let mut best = (f32::NEG_INFINITY, 0);
    for ((dot, half_norm), list) in dots.iter().zip(half_norms).zip(0_u32..) {
        let score = dot - half_norm;
        if score > best.0 {
            best = (score, list);
        }
    }
    best.1
}

/// Means of the rows of each list. Rows are added in their own order, so threads cannot change a bit.
fn update(rows: &[f32], old: &[f32], lists: &[u32], dim: usize, pool: &Pool) -> Result<Vec<f32>> {
    let nlist = old.len() / dim;
    let (members, starts) = by_list(lists, nlist);
    let means = pool.map(nlist, |list| {
        let members = &members[starts[list]..starts[list + 1]];
        let mut sum = vec![0.0_f64; dim];
        for &row in members {
            let row = &rows[row as usize * dim..(row as usize + 1) * dim];
            sum.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        let scale = 1.0 / (members.len().max(1) as f64);
        Ok(sum.into_iter().map(|sum| (sum * scale) as f32).collect::<Vec<f32>>())
    })?;
    let mut centroids = means.concat();
    refill_empty(&mut centroids, &starts, dim);
    Ok(centroids)
}

/// Rows sorted by list, and where each list starts: a counting sort, stable.
pub(super) fn by_list(lists: &[u32], nlist: usize) -> (Vec<u32>, Vec<usize>) {
    let mut starts = vec![0; nlist + 1];
    for &list in lists {
        starts[list as usize + 1] += 1;
    }
    for list in 0..nlist {
        starts[list + 1] += starts[list];
    }
    let mut next = starts.clone();
    let mut members = vec![0; lists.len()];
    for (&list, row) in lists.iter().zip(0_u32..) {
        members[next[list as usize]] = row;
        next[list as usize] += 1;
    }
    (members, starts)
}

/// A list that lost all its rows takes half of the largest one: both centroids step apart by one part in 1024, and
/// the next round divides the rows between them.
fn refill_empty(centroids: &mut [f32], starts: &[usize], dim: usize) {
    let mut sizes: Vec<usize> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for empty in 0..sizes.len() {
        if sizes[empty] > 0 {
            continue;
        }
        let Some(largest) = (0..sizes.len()).max_by_key(|&list| (sizes[list], std::cmp::Reverse(list)))
        else {
            return;
        };
        for at in 0..dim {
            let value = centroids[largest * dim + at];
            let step = if at % 2 == 0 { 1.0 / 1024.0 } else { -1.0 / 1024.0 };
            centroids[empty * dim + at] = value * (1.0 + step);
            centroids[largest * dim + at] = value * (1.0 - step);
        }
        sizes[empty] = sizes[largest] / 2;
        sizes[largest] -= sizes[empty];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::Unwatched;

    /// `per` rows around each of `clusters` far-apart corners.
    fn clustered(clusters: usize, per: usize, dim: usize) -> Vec<f32> {
        let mut random = SplitMix64::new(1);
        let corners: Vec<f32> = (0..clusters * dim).map(|_| random.unit_f64() as f32 * 100.0).collect();
        (0..clusters * per)
            .flat_map(|row| {
                let corner = &corners[row % clusters * dim..(row % clusters + 1) * dim];
                corner.iter().map(|value| value + random.unit_f64() as f32).collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn threads_and_levels_do_not_change_a_bit() {
        let rows = clustered(7, 40, 20);
        let reference = train(
            Kernels::for_level(crate::kernel::Level::Scalar).unwrap(),
            &rows,
            20,
            9,
            3,
            &Pool::Inline,
            &Unwatched,
        )
        .unwrap();
        for kernels in Kernels::available() {
            for threads in [1, 2, 4] {
                let pool = Pool::new(Some(threads)).unwrap();
                assert_eq!(train(kernels, &rows, 20, 9, 3, &pool, &Unwatched).unwrap(), reference);
            }
        }
    }

    #[test]
    fn no_list_stays_empty_when_rows_repeat() {
        let kernels = Kernels::detect().unwrap();
        let rows = [vec![1.0_f32; 4 * 90], clustered(3, 10, 4)].concat();
        let centroids = train(kernels, &rows, 4, 8, 0, &Pool::Inline, &Unwatched).unwrap();
        assert_eq!(centroids.len(), 8 * 4);
        assert!(centroids.iter().all(|value| value.is_finite()));
    }

    #[test]
    fn an_interrupted_training_says_so() {
        struct Stop;
        impl Monitor for Stop {
            fn interrupted(&self) -> bool {
                true
            }
        }
        let kernels = Kernels::detect().unwrap();
        let error = train(kernels, &[0.0; 64], 4, 2, 0, &Pool::Inline, &Stop).unwrap_err();
        assert!(matches!(error, Error::Interrupted));
    }
}
