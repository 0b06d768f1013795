//! Searching under a filter: how far to look, and when it is cheaper to compare all allowed rows.

use super::Index;
use crate::{
    exact::Corpus,
    filter::Filter,
    hits::Hits,
    ids::{Id, IdType},
    kernel::Kernels,
    rabitq::BLOCK,
    segment::Segment,
    vectors::Vectors,
};

/// What an exact distance costs, in codes scanned: a vector is 32 times as long as its code, and lies apart.
const CODES_PER_VECTOR: usize = 16;
/// A search that filters much looks into about one row in so many.
const USUALLY_SCANNED: usize = 4;

impl Index {
    /// How far to look for the `k` nearest allowed rows: into the lists that hold so many of all rows that `k` allowed
    /// ones are among them.
    pub(super) fn behind(&self, filter: &Filter, k: usize, share: f64) -> Option<Behind> {
        let (calibration, deep) = (self.calibration(), self.depth_behind(filter, k));
        let (spread, lists) = calibration.spread(deep, share)?;
        let beyond = deep as f64 / calibration.deepest().max(1) as f64;
        if beyond <= 1.0 {
            return Some(Behind { spread, lists, least: 1, enough: 0 });
        }
        // Beyond what was measured the nearest no longer fill one ball (a cluster is used up, and the others are all about
        // as far), so that the lists grow with their number and not, as without a filter, with its root; and their
        // number says more than their distance.
        let lists = lists * beyond.sqrt();
        let (spread, least) = ((f64::from(spread) * beyond) as f32, lists.ceil() as usize);
        Some(Behind { spread, lists, least, enough: self.enough(filter, lists) })
    }

    /// How many of the nearest rows hold `k` allowed ones, with two standard deviations to spare: what a calibration for
    /// all rows has to be asked for.
    pub(super) fn depth_behind(&self, filter: &Filter, k: usize) -> usize {
        let share = filter.count().clamp(1, self.len()) as f64 / self.len() as f64;
        let spread = 2.0 * (k as f64 * (1.0 - share)).sqrt();
        (((k as f64 + spread) / share).ceil() as usize).min(self.len())
    }

    /// How many allowed rows a query should see at least: twice those that so many lists hold on average.
    fn enough(&self, filter: &Filter, lists: f64) -> usize {
        let each = filter.count() as f64 / self.router().nlist() as f64;
        ((2.0 * lists * each).ceil() as usize).min(filter.count())
    }

    /// Whether comparing all allowed rows is cheaper than scanning lists until `k` of them are found.
    pub(super) fn is_sparse(&self, filter: &Filter, k: usize) -> bool {
        let scanned = (self.len() / USUALLY_SCANNED).max(self.depth_behind(filter, k));
        filter.count().saturating_mul(CODES_PER_VECTOR) <= scanned
    }

    /// An answer without hits.
    pub(crate) fn no_hits(&self, queries: &Vectors) -> Hits {
        let rows: Vec<_> = (0..queries.len()).map(|row| (!queries.is_null(row)).then(Vec::new)).collect();
        Hits::new(self.id_type(), self.metric(), true, &rows)
    }
}

/// How far to look behind a filter.
pub(super) struct Behind {
    pub(super) spread: f32,
    /// The mean number of lists.
    pub(super) lists: f64,
    /// So many lists at least, and so many allowed rows.
    pub(super) least: usize,
    pub(super) enough: usize,
}

/// The allowed rows of an index, searched exactly.
pub(super) enum Allowed<'a> {
    /// By the numbers that they have in the column that the index borrows: where a row is coded tells its id alone, and is
    /// looked up for those few that are among the nearest.
    Borrowed { index: &'a Index, vectors: &'a Vectors, rows: Vec<u64> },
    /// By where they are coded.
    Coded { index: &'a Index, places: Vec<(&'a Segment, usize)> },
}

impl<'a> Allowed<'a> {
    pub(super) fn new(index: &'a Index, filter: &Filter) -> Self {
        if index.finds_rows() {
            if let Some(vectors) = index.borrowed_only() {
                return Self::Borrowed { index, vectors, rows: filter.rows().collect() };
            }
            let places = filter.rows().filter_map(|row| index.place_of_row(row)).collect();
            return Self::Coded { index, places };
        }
        let kernels = index.router().kernels();
        let blocks = index
            .segments()
            .iter()
            .flat_map(|segment| (0..segment.blocks()).map(move |block| (segment, block)));
        let places = blocks.flat_map(|(segment, block)| {
            let mask = mask(kernels, segment, block, Some(filter));
            (0..BLOCK)
                .filter(move |lane| mask >> lane & 1 == 1)
                .map(move |lane| (segment, block * BLOCK + lane))
        });
        Self::Coded { index, places: places.collect() }
    }
}

/// A bit for each slot of a block that holds a row which may be returned.
pub(super) fn mask(kernels: Kernels, segment: &Segment, block: usize, filter: Option<&Filter>) -> u32 {
    let taken = u32::MAX.checked_shr(32 - u32::from(segment.count[block])).unwrap_or(0);
    let Some(filter) = filter else { return taken };
    taken & filter.mask(kernels, segment.first_row[block], &segment.rows, block)
}

impl Corpus for Allowed<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Borrowed { rows, .. } => rows.len(),
            Self::Coded { places, .. } => places.len(),
        }
    }

    fn vector<'a>(&'a self, at: usize, scratch: &'a mut [f32]) -> Option<&'a [f32]> {
        match self {
            Self::Borrowed { index, vectors, rows } => {
                index.place_of_row(rows[at]).map(|_| vectors.row(rows[at] as usize, scratch))
            }
            Self::Coded { index, places } => index.vector_of(places[at].0, places[at].1, scratch),
        }
    }

    fn expect(&self, at: usize) {
        match self {
            Self::Borrowed { index, vectors, rows } => {
                if let Some(&row) = rows.get(at).filter(|&&row| row < vectors.len() as u64) {
                    index.router().kernels().prefetch(vectors.row_bytes(row as usize));
                }
            }
            Self::Coded { index, places } => {
                if let Some(&(segment, slot)) = places.get(at) {
                    index.prefetch(segment, slot);
                }
            }
        }
    }

    fn id(&self, at: usize) -> Id<'_> {
        match self {
            Self::Borrowed { index, rows, .. } => match index.place_of_row(rows[at]) {
                Some((segment, slot)) => segment.id(slot),
                None => Id::Int64(rows[at] as i64),
            },
            Self::Coded { places, .. } => places[at].0.id(places[at].1),
        }
    }

    fn id_type(&self) -> IdType {
        match self {
            Self::Borrowed { index, .. } | Self::Coded { index, .. } => index.id_type(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        Metric, Pool, Unwatched,
        index::{BuildParams, Effort, SearchParams},
        random::SplitMix64,
    };

    fn rows(rows: usize, dim: usize, seed: u64) -> Vectors {
        let mut random = SplitMix64::new(seed);
        let values: Vec<f32> = (0..rows * dim).map(|_| random.unit_f64() as f32 - 0.5).collect();
        Vectors::from_f32("embedding", dim, values.into()).unwrap()
    }

    fn found(index: &Index, queries: &Vectors, params: &SearchParams) -> Vec<Vec<i64>> {
        let hits = index.search(queries, params, &Pool::Inline, &Unwatched).unwrap();
        let id = |at| if let Id::Int64(id) = hits.ids().get(at) { id } else { -1 };
        (0..hits.num_queries()).map(|query| hits.of_query(query).map(id).collect()).collect()
    }

    #[test]
    fn only_allowed_rows_are_found_and_all_that_there_are() {
        let (table, queries) = (rows(3000, 24, 1), rows(20, 24, 2));
        for metric in Metric::ALL {
            let params = BuildParams { metric, ..BuildParams::default() };
            let index = Index::build(table.clone(), None, &params, &Pool::Inline, &Unwatched).unwrap();
            let everything = SearchParams { k: 3000, effort: Effort::Exact, ..SearchParams::default() };
            let truth = found(&index, &queries, &everything);
            for every in [1, 2, 10, 100, 500, 5000] {
                let filter = Filter::from_rows((0..3000).filter(|row| row % every == 1 % every), 3000);
                let params =
                    SearchParams { filter: Some(Arc::new(filter.clone())), ..SearchParams::default() };
                let (mut met, mut wanted) = (0, 0);
                for effort in [Effort::Exact, Effort::Recall(0.99), Effort::Nprobe(1)] {
                    let answers = found(&index, &queries, &SearchParams { effort, ..params.clone() });
                    for (answer, truth) in answers.iter().zip(&truth) {
                        let expected: Vec<i64> = truth
                            .iter()
                            .copied()
                            .filter(|&row| filter.contains(row as u64))
                            .take(10)
                            .collect();
                        assert_eq!(answer.len(), expected.len(), "{metric}, 1 of {every}, {effort:?}");
                        assert!(answer.iter().all(|&row| filter.contains(row as u64)));
                        if effort == Effort::Exact {
                            assert_eq!(answer, &expected);
                        } else if effort == Effort::Recall(0.99) {
                            met += expected.iter().filter(|row| answer.contains(row)).count();
                            wanted += expected.len();
                        }
                    }
                }
                assert!(met as f64 >= 0.98 * wanted as f64, "{metric}, 1 of {every}: {met} of {wanted}");
            }
        }
    }

    #[test]
    fn clusters_that_a_filter_uses_up_cost_no_recall() {
        let (rows, dim, clusters) = (20_000, 16, 100);
        let mut random = SplitMix64::new(5);
        let corners: Vec<f32> = (0..clusters * dim).map(|_| random.unit_f64() as f32 * 8.0).collect();
        let mut near = |at: usize| {
            let corner = &corners[at % clusters * dim..(at % clusters + 1) * dim];
            corner.iter().map(|value| value + random.unit_f64() as f32).collect::<Vec<_>>()
        };
        let mut column = |rows: usize| {
            let values: Vec<f32> = (0..rows).flat_map(&mut near).collect();
            Vectors::from_f32("embedding", dim, values.into()).unwrap()
        };
        let (table, queries) = (column(rows), column(50));
        let index = Index::build(table, None, &BuildParams::default(), &Pool::Inline, &Unwatched).unwrap();
        for every in [10_u64, 30, 60, 200] {
            let allowed = (0..rows as u64).filter(|row| row.wrapping_mul(0x9E37_79B9_7F4A_7C15) % every == 0);
            let filter = Some(Arc::new(Filter::from_rows(allowed, rows as u64)));
            let ask = |effort| {
                let params = SearchParams { effort, filter: filter.clone(), ..SearchParams::default() };
                index.search(&queries, &params, &Pool::Inline, &Unwatched).unwrap()
            };
            let recall =
                crate::recall::recall_at_k(&ask(SearchParams::default().effort), &ask(Effort::Exact))
                    .unwrap();
            assert!(recall > 0.97, "1 of {every}: {recall}");
        }
    }

    /// The nearest lists of a query hold no row that is allowed, or few, though half of all rows are.
    #[test]
    fn a_filter_that_follows_the_clusters_costs_no_recall() {
        let (rows, dim, clusters) = (20_000, 16, 100);
        let mut random = SplitMix64::new(6);
        let corners: Vec<f32> = (0..clusters * dim).map(|_| random.unit_f64() as f32 * 3.0).collect();
        let mut near = |at: usize| {
            let corner = &corners[at % clusters * dim..(at % clusters + 1) * dim];
            corner.iter().map(|value| value + random.unit_f64() as f32).collect::<Vec<_>>()
        };
        let mut column = |rows: usize| {
            let values: Vec<f32> = (0..rows).flat_map(&mut near).collect();
            Vectors::from_f32("embedding", dim, values.into()).unwrap()
        };
        let (table, queries) = (column(rows), column(100));
        let index = Index::build(table, None, &BuildParams::default(), &Pool::Inline, &Unwatched).unwrap();
        for some in [0, 20] {
            // All rows of every second cluster, and one in so many of the others.
            let allowed = |row: &u64| row.is_multiple_of(2) || (some > 0 && (row / 100).is_multiple_of(some));
            let filter = Some(Arc::new(Filter::from_rows((0..rows as u64).filter(allowed), rows as u64)));
            let ask = |effort| {
                let params = SearchParams { effort, filter: filter.clone(), ..SearchParams::default() };
                index.search(&queries, &params, &Pool::Inline, &Unwatched).unwrap()
            };
            let recall = crate::recall::recall_at_k(&ask(Effort::Recall(0.95)), &ask(Effort::Exact)).unwrap();
            assert!(recall > 0.95, "1 of {some}: {recall}");
        }
    }

    #[test]
    fn nothing_allowed_is_nothing_found() {
        let table = rows(100, 8, 1);
        let index =
            Index::build(table.clone(), None, &BuildParams::default(), &Pool::Inline, &Unwatched).unwrap();
        for effort in [Effort::Exact, Effort::Nprobe(1)] {
            let filter = Some(Arc::new(Filter::none(100)));
            let params = SearchParams { effort, filter, ..SearchParams::default() };
            assert!(found(&index, &table, &params).iter().all(Vec::is_empty));
        }
    }
}
