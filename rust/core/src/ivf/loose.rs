//! The rows of a table that comes in parts which hardly care in which list they are.
//!
//! Which rows move so that fewer blocks are half empty ([`super::tails`]) is known at the end, when the table has gone by. So
//! the vectors of a few rows of each list are kept until then, those that it costs least to move: a quarter as many as were
//! kept to learn from, and the memory of those is free by then.

use std::{cmp::Ordering, collections::BinaryHeap};

use super::{
    assign::{Assigned, Others},
    tails::{MOST, moved},
};

/// Rows kept of each list: as many as ever leave one.
const KEPT_OF_EACH: usize = MOST;

/// Takes in every row of a table, and keeps a few.
#[derive(Debug)]
pub(crate) struct Loose {
    dim: usize,
    lists: Vec<List>,
}

#[derive(Clone, Debug, Default)]
struct List {
    rows: usize,
    /// The costliest on top, ready to be replaced.
    kept: BinaryHeap<Kept>,
}

#[derive(Clone, Debug)]
struct Kept {
    /// By how much the next list is farther than the nearest.
    farther: f32,
    row: u64,
    others: Others,
    vector: Vec<f32>,
}

impl Ord for Kept {
    fn cmp(&self, other: &Self) -> Ordering {
        self.farther.total_cmp(&other.farther).then(self.row.cmp(&other.row))
    }
}

impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Kept {}

/// Rows that leave the lists they are nearest to, ascending.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    pub(crate) rows: Vec<u64>,
    /// Where each goes.
    pub(crate) lists: Vec<u32>,
    /// The vectors, one after the other.
    pub(crate) values: Vec<f32>,
}

impl Loose {
    /// Of a table whose vectors have `dim` numbers, and that goes to `nlist` lists.
    pub(crate) fn new(nlist: usize, dim: usize) -> Self {
        Self { dim, lists: vec![List::default(); nlist] }
    }

    /// Takes in a row; `copy` writes its vector. What is kept does not depend on the order in which rows come.
    pub(crate) fn take(&mut self, row: u64, assigned: &Assigned, copy: impl FnOnce(&mut [f32])) {
        let list = &mut self.lists[assigned.list as usize];
        list.rows += 1;
        let others = assigned.others;
        let Some((_, farther)) = others[0] else { return };
        if list.kept.len() < KEPT_OF_EACH {
            let mut vector = vec![0.0; self.dim];
            copy(&mut vector);
            list.kept.push(Kept { farther, row, others, vector });
            return;
        }
        if let Some(mut top) = list.kept.peek_mut()
            && farther.total_cmp(&top.farther).then(row.cmp(&top.row)) == Ordering::Less
        {
            copy(&mut top.vector);
            (top.farther, top.row, top.others) = (farther, row, others);
        }
    }

    /// The rows that move, now that there are no more.
    pub(crate) fn into_moved(self) -> Moved {
        let counts: Vec<usize> = self.lists.iter().map(|list| list.rows).collect();
        let (mut kept, mut starts) = (Vec::new(), vec![0]);
        for list in self.lists {
            kept.extend(list.kept.into_sorted_vec());
            starts.push(kept.len());
        }
        let candidates =
            |list: usize| (starts[list]..starts[list + 1]).map(|at| (at as u32, kept[at].others));
        let mut moves = moved(counts.into_iter(), candidates);
        moves.sort_unstable_by_key(|one| kept[one.row as usize].row);
        let mut found = Moved::default();
        for one in moves {
            let row = &kept[one.row as usize];
            found.rows.push(row.row);
            found.lists.push(one.host);
            found.values.extend_from_slice(&row.vector);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{rabitq::BLOCK, random::SplitMix64};

    /// Rows of lists on a ring, each nearest to one list and next nearest to those beside it.
    fn ring(rows: u64, nlist: u32) -> Vec<Assigned> {
        let mut random = SplitMix64::new(5);
        let each = |_| {
            let list = random.below(u64::from(nlist)) as u32;
            let farther = random.unit_f64() as f32;
            let others = [((list + 1) % nlist, farther), ((list + nlist - 1) % nlist, farther + 0.1)];
            Assigned { list, others: others.map(Some) }
        };
        (0..rows).map(each).collect()
    }

    #[test]
    fn blocks_become_fewer_by_rows_that_hardly_care() {
        let (rows, nlist) = (9000, 60);
        let assigned = ring(rows, nlist);
        let take_all = |order: &mut dyn Iterator<Item = u64>| {
            let mut loose = Loose::new(nlist as usize, 2);
            for row in order {
                loose.take(row, &assigned[row as usize], |vector| vector.fill(row as f32));
            }
            loose.into_moved()
        };
        let moved = take_all(&mut (0..rows));
        let mut lists: Vec<u32> = assigned.iter().map(|row| row.list).collect();
        let blocks = |lists: &[u32]| -> usize {
            let count = |list| lists.iter().filter(|&&of_row| of_row == list).count();
            (0..nlist).map(|list| count(list).div_ceil(BLOCK)).sum()
        };
        let before = blocks(&lists);
        let (mut farther, each) =
            (0.0, moved.rows.iter().zip(&moved.lists).zip(moved.values.chunks_exact(2)));
        for ((&row, &list), vector) in each {
            let row_of = assigned[row as usize];
            farther += row_of.others.iter().flatten().find(|other| other.0 == list).unwrap().1;
            assert_eq!(vector, [row as f32; 2]);
            lists[row as usize] = list;
        }
        let free = |blocks: usize| blocks * BLOCK - rows as usize;
        assert!(free(blocks(&lists)) * 10 < free(before) * 7, "{} of {}", blocks(&lists), before);
        assert!(moved.rows.is_sorted_by(|a, b| a < b) && moved.rows.len() * 10 < rows as usize);
        assert!(farther < 0.2 * moved.rows.len() as f32, "{farther} by {}", moved.rows.len());
        let backwards = take_all(&mut (0..rows).rev());
        assert_eq!((backwards.rows, backwards.lists), (moved.rows, moved.lists));
        assert_eq!(backwards.values, moved.values);
    }

    #[test]
    fn one_list_keeps_its_rows() {
        let mut loose = Loose::new(1, 3);
        for row in 0..40 {
            loose.take(row, &Assigned { list: 0, others: [None; 2] }, |_| unreachable!());
        }
        assert!(loose.into_moved().rows.is_empty());
    }
}
