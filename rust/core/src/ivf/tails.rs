//! Fewer half-empty blocks: where a list's last block holds only a few rows, those that hardly care move to a list after
//! their nearest, into slots that are free there.
//!
//! Codes lie in blocks of 32, and a list's last block is on average half empty: with 170 rows a list that is a tenth of
//! all memory, and of all that a search scans. All rows of such a block are moved or none, for one that stays keeps it.

use std::ops::Range;

use super::{
    assign::{Assigned, Others},
    kmeans::by_list,
};
use crate::rabitq::BLOCK;

/// A block that holds more rows than this stays.
pub(super) const MOST: usize = BLOCK / 2;
/// And one of a list of which its rows would be more than one in so many.
const ONE_IN: usize = 4;

/// The list of each row: its nearest or one of those after it.
pub(super) fn even_out(assigned: &[Assigned], nlist: usize) -> Vec<u32> {
    let mut lists: Vec<u32> = assigned.iter().map(|row| row.list).collect();
    let (members, starts) = by_list(&lists, nlist);
    let of = |list: usize| &members[starts[list]..starts[list + 1]];
    let counts = (0..nlist).map(|list| of(list).len());
    let candidates = |list: usize| of(list).iter().map(|&row| (row, assigned[row as usize].others));
    for Move { row, host, .. } in moved(counts, candidates) {
        lists[row as usize] = host;
    }
    lists
}

/// Which rows move, each once. `counts` says how many rows each list has, `candidates` which of a list's rows may move,
/// and what is known of where to.
pub(super) fn moved<C: Iterator<Item = (u32, Others)>>(
    counts: impl Iterator<Item = usize>,
    candidates: impl Fn(usize) -> C,
) -> Vec<Move> {
    let (mut tails, mut moved) = (Tails::new(counts), Vec::new());
    // Lists whose last block is fuller come as hosts first: those with few rows in it are to be rid of it themselves.
    for hosts in [MOST + 1..BLOCK, 1..BLOCK] {
        for list in tails.few() {
            moved.extend(tails.empty(list, &hosts, &moves(candidates(list))));
        }
    }
    moved
}

/// A way to move a row.
#[derive(Clone, Copy)]
pub(super) struct Move {
    pub(super) row: u32,
    pub(super) host: u32,
    /// By how much the host is farther than the nearest list.
    farther: f32,
}

/// All ways to move some rows, the cheapest first.
fn moves(candidates: impl Iterator<Item = (u32, Others)>) -> Vec<Move> {
    let of_row = |(row, others): (u32, Others)| {
        others.into_iter().flatten().map(move |(host, farther)| Move { row, host, farther })
    };
    let mut moves: Vec<Move> = candidates.flat_map(of_row).collect();
    moves.sort_by(|a, b| a.farther.total_cmp(&b.farther).then((a.row, a.host).cmp(&(b.row, b.host))));
    moves
}

/// How full the last block of each list is.
struct Tails {
    /// How many rows each list has.
    rows: Vec<usize>,
    /// Lists that took rows in.
    host: Vec<bool>,
}

impl Tails {
    fn new(rows: impl Iterator<Item = usize>) -> Self {
        let rows: Vec<usize> = rows.collect();
        Self { host: vec![false; rows.len()], rows }
    }

    /// How many rows are in a list's last block; 0 if that is full, and for an empty list.
    fn tail(&self, list: usize) -> usize {
        self.rows[list] % BLOCK
    }

    /// Lists that a few rows keep from having a block less, those with the fewest first.
    fn few(&self) -> Vec<usize> {
        let few = |&list: &usize| {
            let tail = self.tail(list);
            (1..=MOST.min(self.rows[list] / ONE_IN)).contains(&tail) && !self.host[list]
        };
        let mut lists: Vec<usize> = (0..self.rows.len()).filter(few).collect();
        lists.sort_by_key(|&list| (self.tail(list), list));
        lists
    }

    /// The first of `moves` that find room in a last block that holds so many rows as `hosts` says, one of each row, if
    /// they are enough to empty the last block of `list`; otherwise none.
    fn empty(&mut self, list: usize, hosts: &Range<usize>, moves: &[Move]) -> Vec<Move> {
        let wanted = self.tail(list);
        if self.host[list] {
            return Vec::new();
        }
        let mut moved: Vec<Move> = Vec::with_capacity(wanted);
        for one in moves {
            if moved.len() == wanted {
                break;
            }
            let is_new = moved.iter().all(|other| other.row != one.row);
            if is_new && hosts.contains(&self.tail(one.host as usize)) {
                self.rows[one.host as usize] += 1;
                moved.push(*one);
            }
        }
        if moved.len() < wanted {
            moved.drain(..).for_each(|one| self.rows[one.host as usize] -= 1);
        }
        for one in &moved {
            self.host[one.host as usize] = true;
        }
        self.rows[list] -= moved.len();
        moved
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::SplitMix64;

    fn blocks(lists: &[u32], nlist: usize) -> Vec<usize> {
        let (_, starts) = by_list(lists, nlist);
        starts.windows(2).map(|span| (span[1] - span[0]).div_ceil(BLOCK)).collect()
    }

    /// Rows of lists on a ring: each is nearest to one list and next nearest to those beside it.
    fn ring(rows: usize, nlist: u32, seed: u64) -> Vec<Assigned> {
        let mut random = SplitMix64::new(seed);
        let each = |_| {
            let (list, side) = (random.below(u64::from(nlist)) as u32, random.below(2) as u32);
            let beside = [(list + 1) % nlist, (list + nlist - 1) % nlist];
            let farther = random.unit_f64() as f32;
            let others = [(beside[side as usize], farther), (beside[1 - side as usize], farther + 0.5)];
            Assigned { list, others: others.map(Some) }
        };
        (0..rows).map(each).collect()
    }

    #[test]
    fn most_half_empty_blocks_go() {
        let nlist = 100;
        for per_list in [80, 170, 400] {
            let rows = per_list * nlist as usize;
            let assigned = ring(rows, nlist, 7);
            let before: Vec<u32> = assigned.iter().map(|row| row.list).collect();
            let after = even_out(&assigned, nlist as usize);
            let free = |lists: &[u32]| blocks(lists, nlist as usize).iter().sum::<usize>() * BLOCK - rows;
            assert!(free(&after) * 2 < free(&before), "{} of {}", free(&after), free(&before));
            // Those that moved are those that it costs least.
            let farther =
                assigned.iter().zip(&after).filter(|(row, list)| row.list != **list).map(|(row, list)| {
                    row.others.into_iter().flatten().find(|other| other.0 == *list).unwrap().1
                });
            let (count, sum) = farther.fold((0, 0.0), |(count, sum), farther| (count + 1, sum + farther));
            assert!(sum < 0.3 * count as f32 && count * 10 < rows, "{sum} by {count}");
        }
    }

    #[test]
    fn all_rows_of_a_block_move_or_none() {
        let row =
            |list: u32, next: u32, farther: f32| Assigned { list, others: [Some((next, farther)), None] };
        // Two rows too many in list 0, of which one could go to list 1, which has one slot left.
        let mut assigned: Vec<Assigned> = (0..34).map(|at| row(0, 2, at as f32)).collect();
        assigned.extend((0..31).map(|_| row(1, 2, 1.0)));
        assigned[20].others[1] = Some((1, 50.0));
        let stays: Vec<u32> = assigned.iter().map(|row| row.list).collect();
        assert_eq!(even_out(&assigned, 3), stays);
        // One row less, and it goes.
        assigned.remove(0);
        let lists = even_out(&assigned, 3);
        assert_eq!(lists.iter().filter(|&&list| list == 1).count(), 32);
        assert_eq!(lists[19], 1);
    }

    proptest! {
        #[test]
        fn no_list_needs_more_blocks(rows in 0_usize..3000, nlist in 2_u32..40, seed: u64) {
            let assigned = ring(rows, nlist, seed);
            let before: Vec<u32> = assigned.iter().map(|row| row.list).collect();
            let after = even_out(&assigned, nlist as usize);
            let is_known = |row: &Assigned, list| row.list == list || row.others.into_iter().flatten().any(|other| other.0 == list);
            prop_assert!(assigned.iter().zip(&after).all(|(row, &list)| is_known(row, list)));
            let pairs = blocks(&after, nlist as usize).into_iter().zip(blocks(&before, nlist as usize));
            let mut left = 0;
            for (after, before) in pairs {
                prop_assert!(after <= before);
                left += before - after;
            }
            prop_assert!(left > 0 || after == before);
        }
    }
}
