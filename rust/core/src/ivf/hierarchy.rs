//! k-means in two levels: a few coarse clusters first, each then divided into its share of the lists.
//!
//! A round of Lloyd's algorithm compares every row with every centroid. With the square root of the number of lists as
//! coarse clusters, a row is only compared with its own cluster's part of them. What is lost at the borders between the
//! clusters, a few rounds over all centroids win back: in each of them a row is compared with the centroids around its
//! last one.

use std::cmp::Reverse;

use super::{
    halve::halve,
    kmeans::{Means, Trainer, assign, by_list, half_norms, row},
    order,
};
use crate::{error::Result, monitor::Phase, pool::Pool, random::SplitMix64};

/// Sets the draw of the first centroids apart from other draws with the same seed: "kmeans" in ASCII.
const STREAM: u64 = 0x6b6d_6561_6e73;
/// Up to this many lists, one level is cheap enough.
const ONE_LEVEL: usize = 64;
/// Rounds of each level.
const ROUNDS: usize = 10;
/// Rows per coarse cluster that the first level looks at.
const COARSE_SAMPLE: usize = 256;
/// A coarse cluster with more than so many times its share of the rows is cut into halves.
const LARGEST: usize = 4;
/// Rounds over all centroids.
const REFINEMENTS: usize = 4;
/// Attempts to give every list a row, when there are many equal rows.
const FILLINGS: usize = 3;
/// Centroids that a row is compared with when refining.
const AROUND: usize = 48;
/// Centroids whose neighbours are found by one task.
const LISTS_AT_ONCE: usize = 16;

/// `nlist` centroids of `rows`, at most as many as there are rows, ordered so that neighbours in number are
/// neighbours in space.
pub(super) fn train(trainer: Trainer<'_>, rows: &[f32], nlist: usize, seed: u64) -> Result<Vec<f32>> {
    let random = SplitMix64::new(seed ^ STREAM);
    let nlist = nlist.min(rows.len() / trainer.dim);
    let mut means = if nlist <= ONE_LEVEL {
        let means = trainer.lloyd(rows, nlist, ROUNDS, random)?;
        trainer.monitor.advance(Phase::Train, 1, 1);
        means
    } else {
        two_levels(trainer, rows, nlist, &random)?
    };
    for _ in 0..FILLINGS {
        if (0..nlist).all(|list| !means.of(list).is_empty()) {
            break;
        }
        let centroids = trainer.fill_empty(rows, &means);
        let lists = assign_around(trainer, rows, &means, &centroids)?;
        means = trainer.means(rows, &lists, &centroids)?;
    }
    Ok(order::near_to_near(trainer.kernels, &trainer.fill_empty(rows, &means), trainer.dim))
}

fn two_levels(trainer: Trainer<'_>, rows: &[f32], nlist: usize, random: &SplitMix64) -> Result<Means> {
    let dim = trainer.dim;
    let count = rows.len() / dim;
    let parts = (nlist as f64).sqrt() as usize;
    let few = every(rows, dim, count.div_ceil(parts * COARSE_SAMPLE));
    let coarse = trainer.lloyd(&few, parts, ROUNDS, random.fork(0))?.centroids;
    drop(few);
    let (members, starts) = by_list(&trainer.assign(rows, &coarse)?, parts);
    let (members, starts) = halve(trainer, rows, members, &starts, count * LARGEST / parts);
    let parts = starts.len() - 1;
    let steps = 1 + parts + REFINEMENTS;
    trainer.monitor.advance(Phase::Train, 1, steps);
    let sizes: Vec<usize> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let shares = shares(&sizes, nlist);
    let fine = trainer.pool.map(parts, |part| {
        // The parts run side by side; inside of one there is nothing to be shared out.
        let alone = Trainer { pool: &Pool::Inline, ..trainer };
        let own = gather(rows, dim, &members[starts[part]..starts[part + 1]]);
        let centroids = alone.lloyd(&own, shares[part], ROUNDS, random.fork(1 + part as u64))?.centroids;
        let lists = alone.assign(&own, &centroids)?;
        trainer.monitor.advance(Phase::Train, 1, steps);
        Ok((centroids, lists))
    })?;
    let (mut centroids, mut lists) = (Vec::with_capacity(nlist * dim), vec![0; count]);
    for (part, (own, own_lists)) in fine.into_iter().enumerate() {
        let first = (centroids.len() / dim) as u32;
        for (&member, list) in members[starts[part]..starts[part + 1]].iter().zip(own_lists) {
            lists[member as usize] = first + list;
        }
        centroids.extend(own);
    }
    for round in 0..REFINEMENTS {
        trainer.check()?;
        let means = trainer.means(rows, &lists, &centroids)?;
        // What was cut in two needs a few rounds to settle.
        let settled = round + 2 < REFINEMENTS;
        centroids = if settled { trainer.rebalance(rows, &means) } else { means.centroids.clone() };
        lists = assign_around(trainer, rows, &means, &centroids)?;
        trainer.monitor.advance(Phase::Train, 1, steps);
    }
    trainer.means(rows, &lists, &centroids)
}

/// Every `step`th row.
fn every(rows: &[f32], dim: usize, step: usize) -> Vec<f32> {
    rows.chunks_exact(dim).step_by(step).flatten().copied().collect()
}

fn gather(rows: &[f32], dim: usize, members: &[u32]) -> Vec<f32> {
    members.iter().flat_map(|&member| row(rows, dim, member)).copied().collect()
}

/// How many of `nlist` lists each cluster gets: one if it has a row, the others in proportion to the other rows, the
/// largest remainders first. So it never has more lists than rows. There are at least `nlist` rows, and no more
/// clusters than lists.
fn shares(sizes: &[usize], nlist: usize) -> Vec<usize> {
    let clusters = sizes.iter().filter(|&&size| size > 0).count();
    let (rows, spare) = ((sizes.iter().sum::<usize>() - clusters).max(1), nlist - clusters);
    let weight = |size: usize| size.saturating_sub(1) * spare;
    let mut shares: Vec<usize> =
        sizes.iter().map(|&size| usize::from(size > 0) + weight(size) / rows).collect();
    let left = nlist - shares.iter().sum::<usize>();
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&part| (Reverse(weight(sizes[part]) % rows), part));
    for &part in &order[..left] {
        shares[part] += 1;
    }
    shares
}

/// The list of each row: the nearest of the centroids around the mean of the list it was in.
fn assign_around(trainer: Trainer<'_>, rows: &[f32], means: &Means, centroids: &[f32]) -> Result<Vec<u32>> {
    let dim = trainer.dim;
    let nlist = centroids.len() / dim;
    let half_norms = half_norms(trainer.kernels, centroids, dim);
    let tasks = trainer.pool.map(nlist.div_ceil(LISTS_AT_ONCE), |task| {
        trainer.check()?;
        let lists = task * LISTS_AT_ONCE..((task + 1) * LISTS_AT_ONCE).min(nlist);
        let mut dots = vec![0.0; lists.len() * nlist];
        let anchors = &means.centroids[lists.start * dim..lists.end * dim];
        trainer.kernels.dots_tile(anchors, centroids, dim, &mut dots);
        let mut assigned = Vec::new();
        for (list, dots) in lists.zip(dots.chunks_exact(nlist)) {
            let around = around(dots, &half_norms);
            let own = gather(rows, dim, means.of(list));
            let near = gather(centroids, dim, &around);
            let norms: Vec<f32> = around.iter().map(|&list| half_norms[list as usize]).collect();
            let nearest = assign(trainer.kernels, &own, &near, &norms, dim);
            assigned.extend(nearest.into_iter().map(|at| around[at as usize]));
        }
        Ok(assigned)
    })?;
    let mut lists = vec![0; means.members.len()];
    for (&member, list) in means.members.iter().zip(tasks.into_iter().flatten()) {
        lists[member as usize] = list;
    }
    Ok(lists)
}

/// The lists nearest to an anchor, ascending by number.
fn around(dots: &[f32], half_norms: &[f32]) -> Vec<u32> {
    let keys = dots.iter().zip(half_norms).zip(0_u32..).map(|((dot, norm), list)| (norm - dot, list));
    let mut keys: Vec<(f32, u32)> = keys.collect();
    if keys.len() > AROUND {
        keys.select_nth_unstable_by(AROUND - 1, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        keys.truncate(AROUND);
    }
    let mut lists: Vec<u32> = keys.into_iter().map(|(_, list)| list).collect();
    lists.sort_unstable();
    lists
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::Unwatched;
    use crate::{error::Error, kernel::Kernels, monitor::Monitor};
    use proptest::prelude::*;

    fn gaussian(random: &mut SplitMix64) -> f32 {
        let (u, v) = (1.0 - random.unit_f64(), random.unit_f64());
        ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
    }

    /// Rows around corners that touch each other; some corners have many more rows than others.
    fn clustered(rows: usize, dim: usize, corners: usize) -> Vec<f32> {
        let mut random = SplitMix64::new(1);
        let places: Vec<f32> = (0..corners * dim).map(|_| gaussian(&mut random)).collect();
        (0..rows)
            .flat_map(|_| {
                let corner = (random.unit_f64() * random.unit_f64() * corners as f64) as usize;
                let place = &places[corner * dim..(corner + 1) * dim];
                place.iter().map(|value| value + 0.5 * gaussian(&mut random)).collect::<Vec<_>>()
            })
            .collect()
    }

    fn trainer(kernels: Kernels, dim: usize, pool: &Pool) -> Trainer<'_> {
        Trainer { kernels, dim, pool, monitor: &Unwatched }
    }

    /// The mean squared distance to the nearest centroid, and the sizes of the lists.
    fn measure(rows: &[f32], centroids: &[f32], dim: usize) -> (f64, Vec<usize>) {
        let kernels = Kernels::detect().unwrap();
        let norms = half_norms(kernels, centroids, dim);
        let lists = assign(kernels, rows, centroids, &norms, dim);
        let mut sizes = vec![0; norms.len()];
        let mut total = 0.0;
        for (values, &list) in rows.chunks_exact(dim).zip(&lists) {
            sizes[list as usize] += 1;
            total += f64::from(kernels.l2sq(values, row(centroids, dim, list)));
        }
        (total / lists.len() as f64, sizes)
    }

    /// Standard deviation of the sizes by their mean.
    fn unevenness(sizes: &[usize]) -> f64 {
        let mean = sizes.iter().sum::<usize>() as f64 / sizes.len() as f64;
        let squares: f64 = sizes.iter().map(|&size| (size as f64 - mean).powi(2)).sum();
        (squares / sizes.len() as f64).sqrt() / mean
    }

    /// Lloyd's algorithm and nothing else.
    fn plain_lloyd(rows: &[f32], dim: usize, nlist: usize) -> Vec<f32> {
        let kernels = Kernels::detect().unwrap();
        let pool = Pool::Inline;
        let trainer = trainer(kernels, dim, &pool);
        let mut centroids = trainer.lloyd(rows, nlist, 0, SplitMix64::new(5)).unwrap().centroids;
        for _ in 0..12 {
            let lists = trainer.assign(rows, &centroids).unwrap();
            centroids = trainer.means(rows, &lists, &centroids).unwrap().centroids;
        }
        centroids
    }

    #[test]
    fn lists_are_even_and_the_error_is_that_of_full_rounds() {
        let pool = Pool::new(None).unwrap();
        for (rows, dim, nlist) in [(16_000, 24, 250), (6000, 64, 100), (3000, 16, 40)] {
            let rows = clustered(rows, dim, 37);
            let trained = train(trainer(Kernels::detect().unwrap(), dim, &pool), &rows, nlist, 0).unwrap();
            let (error, sizes) = measure(&rows, &trained, dim);
            let (plain_error, plain_sizes) = measure(&rows, &plain_lloyd(&rows, dim, nlist), dim);
            assert!(error <= plain_error * 1.02, "{nlist} lists: {error} against {plain_error}");
            let (uneven, plain) = (unevenness(&sizes), unevenness(&plain_sizes));
            assert!(uneven < plain * 0.95, "{nlist} lists: {uneven} against {plain}");
            let mean = rows.len() / dim / nlist;
            assert!(sizes.iter().all(|&size| size > 0 && size <= 4 * mean), "{sizes:?}");
        }
    }

    #[test]
    fn clusters_as_far_from_each_other_as_from_anything_else_are_shared_out() {
        let (corners, dim, each, nlist) = (300, 192, 20, 200);
        let mut random = SplitMix64::new(8);
        let places: Vec<f32> = (0..corners * dim).map(|_| gaussian(&mut random)).collect();
        let rows: Vec<f32> = (0..corners * each)
            .flat_map(|at| {
                let place = &places[at % corners * dim..(at % corners + 1) * dim];
                place.iter().map(|value| value + 0.3 * gaussian(&mut random)).collect::<Vec<_>>()
            })
            .collect();
        let trainer = trainer(Kernels::detect().unwrap(), dim, &Pool::Inline);
        let (error, sizes) = measure(&rows, &train(trainer, &rows, nlist, 0).unwrap(), dim);
        let (plain_error, plain_sizes) = measure(&rows, &plain_lloyd(&rows, dim, nlist), dim);
        assert!(error <= plain_error * 1.02, "{error} against {plain_error}");
        let (uneven, plain) = (unevenness(&sizes), unevenness(&plain_sizes));
        assert!(uneven < plain * 0.95, "{uneven} against {plain}");
    }

    #[test]
    fn threads_and_levels_do_not_change_a_bit() {
        let rows = clustered(4000, 20, 7);
        let scalar = Kernels::for_level(crate::kernel::Level::Scalar).unwrap();
        for nlist in [9, 90] {
            let reference = train(trainer(scalar, 20, &Pool::Inline), &rows, nlist, 3).unwrap();
            for kernels in Kernels::available() {
                for threads in [1, 2, 4] {
                    let pool = Pool::new(Some(threads)).unwrap();
                    assert_eq!(train(trainer(kernels, 20, &pool), &rows, nlist, 3).unwrap(), reference);
                }
            }
        }
    }

    #[test]
    fn no_list_stays_empty_when_rows_repeat() {
        let kernels = Kernels::detect().unwrap();
        for (copies, others, nlist) in [(90, 30, 8), (4000, 300, 200)] {
            let rows = [vec![1.0; 4 * copies], clustered(others, 4, 3)].concat();
            let centroids = train(trainer(kernels, 4, &Pool::Inline), &rows, nlist, 0).unwrap();
            let (_, sizes) = measure(&rows, &centroids, 4);
            assert!(sizes.iter().all(|&size| size > 0), "{sizes:?}");
        }
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
        for nlist in [2, 100] {
            let trainer = Trainer { monitor: &Stop, ..trainer(kernels, 4, &Pool::Inline) };
            let error = train(trainer, &clustered(400, 4, 3), nlist, 0).unwrap_err();
            assert!(matches!(error, Error::Interrupted));
        }
    }

    #[test]
    fn shares_are_in_proportion_and_possible() {
        assert_eq!(shares(&[10, 30, 60], 10), [2, 3, 5]);
        assert_eq!(shares(&[1, 0, 10_000, 2], 100), [1, 0, 98, 1]);
        assert_eq!(shares(&[0, 1, 5], 6), [0, 1, 5]);
        assert_eq!(shares(&[7, 7, 7], 8), [3, 3, 2]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn any_shape_trains(count in 1_usize..300, dim in 1_usize..130, nlist in 1_usize..320, equal: bool) {
            let rows = if equal { vec![0.25; count * dim] } else { clustered(count, dim, 5) };
            let kernels = Kernels::detect().unwrap();
            let centroids = train(trainer(kernels, dim, &Pool::Inline), &rows, nlist, 0).unwrap();
            prop_assert_eq!(centroids.len(), nlist.min(count) * dim);
            prop_assert!(centroids.iter().all(|value| value.is_finite()));
            let (error, sizes) = measure(&rows, &centroids, dim);
            if equal {
                prop_assert!(error <= 0.0);
            } else {
                // With a list for nearly every row, rows may be as near to the next list but for the last bits of a key.
                let empty = sizes.iter().filter(|&&size| size == 0).count();
                let most = if 2 * nlist > count { sizes.len() / 64 } else { 0 };
                prop_assert!(empty <= most, "{:?}", sizes);
            }
        }
    }
}
