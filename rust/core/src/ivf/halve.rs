//! Parts that are much larger than the others, cut into halves.
//!
//! In many dimensions clusters that lie apart are about as far from each other as from anything else. A centroid that is
//! the mean of several of them is shorter than one that lies in a single one, so it is nearer to all the rest, whose rows
//! make it shorter still: one part ends up with most of the table, and its training with most of the work, on one thread.

use super::kmeans::{Trainer, row};

/// Parts of at most `most` rows: `members`, whose parts begin at `starts`, in a new order, and where they begin then.
///
/// A part that is too large is cut at the median along the line between two of its rows that are far apart. Clusters lie
/// along it as points do, so that most of them stay whole.
pub(super) fn halve(
    trainer: Trainer<'_>,
    rows: &[f32],
    mut members: Vec<u32>,
    starts: &[usize],
    most: usize,
) -> (Vec<u32>, Vec<usize>) {
    let mut ends = vec![0];
    let mut whole: Vec<(usize, usize)> = starts.windows(2).rev().map(|pair| (pair[0], pair[1])).collect();
    while let Some((start, end)) = whole.pop() {
        let part = &mut members[start..end];
        if part.len() <= most.max(1) {
            ends.push(end);
            continue;
        }
        let middle = part.len() / 2;
        let mut along = along_widest(trainer, rows, part);
        let by_value = |a: &(f32, u32), b: &(f32, u32)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        along.select_nth_unstable_by(middle, by_value);
        part.iter_mut().zip(&along).for_each(|(member, (_, row))| *member = *row);
        let (low, high) = part.split_at_mut(middle);
        low.sort_unstable();
        high.sort_unstable();
        whole.extend([(start + middle, end), (start, start + middle)]);
    }
    (members, ends)
}

/// How far along the line from a row to the one farthest from it each row of a part lies. The row to begin with is the
/// farthest from the first one.
fn along_widest(trainer: Trainer<'_>, rows: &[f32], part: &[u32]) -> Vec<(f32, u32)> {
    let of = |member: u32| row(rows, trainer.dim, member);
    let farthest = |from: u32| {
        let mut farthest = (0.0, from);
        for &member in part {
            let squared = trainer.kernels.l2sq(of(from), of(member));
            if squared > farthest.0 {
                farthest = (squared, member);
            }
        }
        farthest.1
    };
    let from = farthest(part[0]);
    let to = farthest(from);
    let line: Vec<f32> = of(to).iter().zip(of(from)).map(|(to, from)| to - from).collect();
    part.iter().map(|&member| (trainer.kernels.dot(of(member), &line), member)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kernel::Kernels, monitor::Unwatched, pool::Pool, random::SplitMix64};

    #[test]
    fn no_part_is_too_large_and_none_loses_a_row() {
        let dim = 6;
        let mut random = SplitMix64::new(2);
        let mut rows: Vec<f32> = (0..500 * dim).map(|_| random.unit_f64() as f32).collect();
        rows[..200 * dim].fill(0.5);
        let trainer =
            Trainer { kernels: Kernels::detect().unwrap(), dim, pool: &Pool::Inline, monitor: &Unwatched };
        let members: Vec<u32> = (0..500).rev().collect();
        for starts in [vec![0, 500], vec![0, 0, 350, 360, 500], vec![0, 10, 20, 500]] {
            for most in [0, 1, 7, 120, 500] {
                let (halved, ends) = halve(trainer, &rows, members.clone(), &starts, most);
                assert!(ends.is_sorted() && ends.windows(2).all(|pair| pair[1] - pair[0] <= most.max(1)));
                assert!(starts.iter().all(|start| ends.contains(start)));
                for part in starts.windows(2) {
                    let sorted = |members: &[u32]| {
                        let mut sorted = members[part[0]..part[1]].to_vec();
                        sorted.sort_unstable();
                        sorted
                    };
                    assert_eq!(sorted(&halved), sorted(&members));
                }
            }
        }
    }
}
