//! In which order the queries of a batch are answered: those of one region of space one after the other.
//!
//! They look into the same lists and compare the same rows, which are then still in a cache: a tenth of the time where
//! many rows are compared (1,000 queries of 200,000 rows around 100 centres), nothing where queries have little in common
//! (500 of WordNet's glosses). Sorting by the nearest list and not only by its group was no better for what it costs. What
//! a query finds does not depend on it.

use super::Index;
use crate::{error::Result, pool::Pool, vectors::Vectors};

/// Fewer queries are answered as they come: there is hardly another one in the same region.
const WORTHWHILE: usize = 128;
/// Queries whose regions are found by one task.
const QUERIES_PER_TASK: usize = 256;

impl Index {
    /// The rows of a column of queries, in the order in which to answer them.
    pub(super) fn by_region(&self, queries: &Vectors, pool: &Pool) -> Result<Vec<usize>> {
        if queries.len() < WORTHWHILE || !self.router().has_regions() {
            return Ok((0..queries.len()).collect());
        }
        let tasks = queries.len().div_ceil(QUERIES_PER_TASK);
        let regions = pool.map(tasks, |task| {
            let rows = task * QUERIES_PER_TASK..((task + 1) * QUERIES_PER_TASK).min(queries.len());
            let (mut widened, mut dots) = (vec![0.0; queries.dim()], Vec::new());
            let region = |row: usize| {
                if queries.is_null(row) {
                    return (0, row);
                }
                (self.router().region(queries.row(row, &mut widened), &mut dots), row)
            };
            Ok(rows.map(region).collect::<Vec<_>>())
        })?;
        let mut regions = regions.concat();
        regions.sort_unstable();
        Ok(regions.into_iter().map(|(_, row)| row).collect())
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        Index, Metric, Pool, Unwatched, Vectors,
        index::{BuildParams, SearchParams},
        random::SplitMix64,
    };

    #[test]
    fn the_order_has_every_query_once_and_changes_no_answer() {
        let (rows, dim) = (17_000, 8);
        let mut random = SplitMix64::new(4);
        let values: Vec<f32> = (0..rows * dim).map(|_| random.unit_f64() as f32).collect();
        let table = Vectors::from_f32("v", dim, values.clone().into()).unwrap();
        let there = crate::Filter::from_rows((0..300).filter(|row| row % 7 != 2), 300);
        let queries = Vectors::from_f32("q", dim, values[..300 * dim].to_vec().into()).unwrap().only(&there);
        for metric in Metric::ALL {
            let params = BuildParams { metric, nlist: Some(300), ..BuildParams::default() };
            let index = Index::build(table.clone(), None, &params, &Pool::Inline, &Unwatched).unwrap();
            let mut order = index.by_region(&queries, &Pool::new(Some(2)).unwrap()).unwrap();
            assert!(!order.is_sorted());
            order.sort_unstable();
            assert!(order.into_iter().eq(0..300));
            let params = SearchParams::default();
            let hits = index.search(&queries, &params, &Pool::Inline, &Unwatched).unwrap();
            for row in 0..300 {
                let one = values[row * dim..(row + 1) * dim].to_vec();
                let one = Vectors::from_f32("q", dim, one.into()).unwrap();
                let alone = index.search(&one, &params, &Pool::Inline, &Unwatched).unwrap();
                let expected: Vec<f32> = alone.distances().to_vec();
                let found: Vec<f32> = hits.of_query(row).map(|hit| hits.distances()[hit]).collect();
                assert_eq!(found, if row % 7 == 2 { Vec::new() } else { expected });
            }
        }
    }
}
