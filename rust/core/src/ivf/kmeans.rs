//! Lloyd's k-means on rows that lie in memory, with an eye on the sizes of the lists.
//!
//! The same to the last bit whatever the number of threads: inner products have a fixed arrangement, and the rows of a
//! list are added in their own order.

use crate::{
    error::{Error, Result},
    kernel::Kernels,
    monitor::Monitor,
    pool::Pool,
    random::SplitMix64,
};

/// Rows assigned by one task.
const TILE: usize = 256;
/// Rows whose inner products with all centroids are held at once.
const ROWS_AT_ONCE: usize = 16;
/// A list with fewer than this share of the mean size gives its centroid away.
const SMALL: f64 = 0.25;
/// A list with more than this many times the mean size is cut in two, if a centroid is to be had.
const LARGE: f64 = 1.75;

/// What all steps of a training need besides the rows.
#[derive(Clone, Copy)]
pub(super) struct Trainer<'a> {
    pub(super) kernels: Kernels,
    pub(super) dim: usize,
    pub(super) pool: &'a Pool,
    pub(super) monitor: &'a dyn Monitor,
}

impl Trainer<'_> {
    /// `nlist` centroids of `rows`, at most as many as there are rows, after `rounds` rounds of assign and update.
    pub(super) fn lloyd(
        &self,
        rows: &[f32],
        nlist: usize,
        rounds: usize,
        random: SplitMix64,
    ) -> Result<Means> {
        let first = first_centroids(rows, self.dim, nlist, random);
        let mut means = self.means(rows, &self.assign(rows, &first)?, &first)?;
        for round in 1..rounds {
            // What was cut in two needs a few rounds to settle.
            let centroids =
                if round + 1 < rounds { self.rebalance(rows, &means) } else { means.centroids.clone() };
            means = self.means(rows, &self.assign(rows, &centroids)?, &centroids)?;
        }
        Ok(means)
    }

    /// The list of each row.
    pub(super) fn assign(&self, rows: &[f32], centroids: &[f32]) -> Result<Vec<u32>> {
        let half_norms = half_norms(self.kernels, centroids, self.dim);
        let tiles: Vec<&[f32]> = rows.chunks(TILE * self.dim).collect();
        let lists = self.pool.map(tiles.len(), |tile| {
            self.check()?;
            Ok(assign(self.kernels, tiles[tile], centroids, &half_norms, self.dim))
        })?;
        Ok(lists.concat())
    }

    /// The mean of the rows of each list; a list without rows keeps its old centroid.
    pub(super) fn means(&self, rows: &[f32], lists: &[u32], old: &[f32]) -> Result<Means> {
        let dim = self.dim;
        let (members, starts) = by_list(lists, old.len() / dim);
        let means = self.pool.map(old.len() / dim, |list| {
            let members = &members[starts[list]..starts[list + 1]];
            if members.is_empty() {
                return Ok(old[list * dim..(list + 1) * dim].to_vec());
            }
            let mut sum = vec![0.0_f64; dim];
            for &row in members {
                let values = self::row(rows, dim, row);
                sum.iter_mut().zip(values).for_each(|(sum, &value)| *sum += f64::from(value));
            }
            let scale = 1.0 / members.len() as f64;
            Ok(sum.into_iter().map(|sum| (sum * scale) as f32).collect::<Vec<f32>>())
        })?;
        Ok(Means { centroids: means.concat(), members, starts })
    }

    /// Takes the centroids of the smallest lists and gives each to one of the largest, which is cut in two.
    ///
    /// Few rows lose their centroid and many get a nearer one, so that the error falls as the sizes come closer.
    pub(super) fn rebalance(&self, rows: &[f32], means: &Means) -> Vec<f32> {
        let dim = self.dim;
        let mut centroids = means.centroids.clone();
        let by_size = means.by_size();
        let mean = means.members.len() as f64 / by_size.len().max(1) as f64;
        let size = |list: usize| means.of(list).len();
        let small = by_size.iter().filter(|&&list| size(list) == 0 || (size(list) as f64) < mean * SMALL);
        let large = by_size.iter().rev().take_while(|&&list| size(list) as f64 > mean * LARGE);
        let large = large.filter_map(|&list| Some((list, self.furthest(rows, means, list)?)));
        for (&small, (large, furthest)) in small.zip(large) {
            // Half the typical distance from the centroid, to both sides of it.
            let scale = 0.5 * furthest.typical;
            let old = &means.centroids[large * dim..(large + 1) * dim];
            for (at, (value, centre)) in row(rows, dim, furthest.row).iter().zip(old).enumerate() {
                let step = scale * (value - centre);
                centroids[small * dim + at] = centre + step;
                centroids[large * dim + at] = centre - step;
            }
        }
        centroids
    }

    /// The centroids, those of empty lists replaced by the rows that are furthest from theirs. Only when there are
    /// fewer different rows than lists does one stay empty.
    pub(super) fn fill_empty(&self, rows: &[f32], means: &Means) -> Vec<f32> {
        let mut centroids = means.centroids.clone();
        let empty = means.by_size().into_iter().take_while(|&list| means.of(list).is_empty());
        let mut empty = empty.peekable();
        if empty.peek().is_none() {
            return centroids;
        }
        let mut far: Vec<(f32, u32)> = (0..means.starts.len() - 1)
            .flat_map(|list| {
                let centroid = row(&means.centroids, self.dim, list as u32);
                let apart =
                    |&member: &u32| (self.kernels.l2sq(row(rows, self.dim, member), centroid), member);
                let mut apart: Vec<(f32, u32)> = means.of(list).iter().map(apart).collect();
                apart.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                // The nearest one stays, so that no list is emptied in turn.
                apart.into_iter().skip(1).filter(|(squared, _)| *squared > 0.0)
            })
            .collect();
        far.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut taken: Vec<&[f32]> = Vec::new();
        for (_, member) in far {
            let values = row(rows, self.dim, member);
            if taken.contains(&values) {
                continue;
            }
            let Some(list) = empty.next() else { break };
            centroids[list * self.dim..(list + 1) * self.dim].copy_from_slice(values);
            taken.push(values);
        }
        centroids
    }

    /// The row of a list that is furthest from the centroid; `None` when none is away from it.
    fn furthest(&self, rows: &[f32], means: &Means, list: usize) -> Option<Furthest> {
        let centroid = &means.centroids[list * self.dim..(list + 1) * self.dim];
        let (mut furthest, mut total) = ((0.0_f32, None), 0.0_f64);
        for &member in means.of(list) {
            let squared = self.kernels.l2sq(row(rows, self.dim, member), centroid);
            total += f64::from(squared);
            if squared > furthest.0 {
                furthest = (squared, Some(member));
            }
        }
        let typical = (total / means.of(list).len() as f64 / f64::from(furthest.0)).sqrt() as f32;
        furthest.1.map(|row| Furthest { row, typical })
    }

    /// Stops the work when somebody asks for it.
    pub(super) fn check(&self) -> Result<()> {
        if self.monitor.interrupted() { Err(Error::Interrupted) } else { Ok(()) }
    }
}

/// The means of the lists, and which rows they are the means of.
pub(super) struct Means {
    pub(super) centroids: Vec<f32>,
    /// Rows sorted by list.
    pub(super) members: Vec<u32>,
    /// Where each list starts among the members, and the end.
    pub(super) starts: Vec<usize>,
}

impl Means {
    /// The rows of a list.
    pub(super) fn of(&self, list: usize) -> &[u32] {
        &self.members[self.starts[list]..self.starts[list + 1]]
    }

    /// The lists, the smallest first.
    fn by_size(&self) -> Vec<usize> {
        let mut lists: Vec<usize> = (0..self.starts.len() - 1).collect();
        lists.sort_by_key(|&list| self.of(list).len());
        lists
    }
}

/// A row far from its centroid.
struct Furthest {
    row: u32,
    /// The typical distance of the list's rows from the centroid, as a share of this one's.
    typical: f32,
}

/// One of several rows.
pub(super) fn row(rows: &[f32], dim: usize, at: u32) -> &[f32] {
    &rows[at as usize * dim..(at as usize + 1) * dim]
}

/// Half the squared length of each centroid.
pub(super) fn half_norms(kernels: Kernels, centroids: &[f32], dim: usize) -> Vec<f32> {
    centroids.chunks_exact(dim).map(|centroid| 0.5 * kernels.dot(centroid, centroid)).collect()
}

/// Different rows, drawn evenly.
fn first_centroids(rows: &[f32], dim: usize, nlist: usize, mut random: SplitMix64) -> Vec<f32> {
    let count = rows.len() / dim;
    let mut order: Vec<usize> = (0..count).collect();
    // The first nlist steps of a Fisher-Yates shuffle.
    for at in 0..nlist.min(count) {
        let other = at + random.below((count - at) as u64) as usize;
        order.swap(at, other);
    }
    order[..nlist.min(count)].iter().flat_map(|&row| &rows[row * dim..(row + 1) * dim]).copied().collect()
}

/// The nearest centroid of each row: the one that minimises `|c|^2 / 2 - <x, c>`, the first of equals.
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
    // Eight searches side by side, which the compiler turns into one of eight lanes.
    const LANES: usize = 8;
    let mut best = [(f32::INFINITY, 0_u32); LANES];
    let (dots, dots_rest) = dots.as_chunks::<LANES>();
    let (norms, norms_rest) = half_norms.as_chunks::<LANES>();
    for (at, (dots, norms)) in (0_u32..).step_by(LANES).zip(dots.iter().zip(norms)) {
        for lane in 0..LANES {
            let key = norms[lane] - dots[lane];
            if key < best[lane].0 {
                best[lane] = (key, at + lane as u32);
            }
        }
    }
    let rest = (0_u32..).skip(dots.len() * LANES);
    let rest = dots_rest.iter().zip(norms_rest).zip(rest).map(|((dot, norm), list)| (norm - dot, list));
    let first = |a: (f32, u32), b: (f32, u32)| if (b.0, b.1) < (a.0, a.1) { b } else { a };
    best.into_iter().chain(rest).fold((f32::INFINITY, 0), first).1
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
