//! What a recall lets get lost is lost in two ways: by lists that are not looked into, and by rows that a bound drops
//! though they belong to the answer. Which of them is cheaper depends on the table.
//!
//! Where rows lie in clear clusters, all neighbours are in a few lists: looking into twice as many costs little, and what
//! takes the time is to compare what the short codes could not rule out. Where there are no clusters it is the other way
//! round. So an index measures how many rows are left to be refined and compared by how sure its bound is, and a search
//! chooses the pair of spread and epsilon that promises the recall for the least time.

use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::{Calibration, Effort, Index, SearchParams, VectorsKept};
use crate::{error::Result, pool::Pool, rabitq::ex_bytes, vectors::Vectors};

/// The shares of what may be lost: by both together, and by lists where nothing was measured. What is left of it is for
/// queries that are not quite like the rows.
const BOTH: f64 = 0.85;
const LISTS: f64 = 0.6;
/// The ways to share it out that are compared: steps of this much.
const STEP: f64 = 0.05;
/// How sure the bound is when its work is measured.
const EPSILONS: [f32; 5] = [1.0, 1.5, 2.0, 2.5, 3.5];
/// How hard is searched to measure it.
const RECALL: f64 = 0.95;

/// What is left to do behind a bound, the mean of some queries.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// How sure the bound is, in standard deviations.
    pub epsilon: f64,
    /// Rows that the first bits of their codes did not rule out.
    pub survivors: f64,
    /// Rows whose vectors were compared.
    pub compared: f64,
}

/// The shares of the neighbours that lists and bound have to keep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shares {
    pub(super) lists: f64,
    pub(super) bound: f64,
}

impl Shares {
    /// Where nothing says what is better.
    pub(super) fn usual(recall: f64) -> Self {
        Self::split(recall, LISTS)
    }

    /// Lists may lose `part` of what may be lost.
    fn split(recall: f64, part: f64) -> Self {
        let lost = 1.0 - recall;
        Self { lists: 1.0 - lost * part, bound: 1.0 - lost * (BOTH - part) }
    }
}

/// About what the parts of a search take on one core, in nanoseconds. Only how they compare matters, and not much:
/// around the best choice the time hardly changes. From profiles of tables of 128 and 384 dimensions (Cascade Lake).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Prices {
    list: f64,
    survivor: f64,
    compared: f64,
}

impl Prices {
    pub(super) fn new(index: &Index, reranks: bool) -> Self {
        let padded = index.router().padded_dim();
        let rows_per_list = index.len() as f64 / index.router().nlist() as f64;
        let ex = index.bits() - 1;
        let element = match index.vectors_kept() {
            VectorsKept::Stored(element) => Some(element),
            VectorsKept::Borrowed => index.borrowed().map(Vectors::element),
            VectorsKept::None => None,
        };
        let lines = |bytes: usize| bytes as f64 / 64.0;
        Self {
            list: 150.0 + rows_per_list * (2.0 + 4.0 * lines(padded / 8)),
            survivor: if ex == 0 { 20.0 } else { 35.0 + 8.0 * lines(ex_bytes(padded, ex)) },
            compared: element
                .filter(|_| reranks)
                .map_or(0.0, |element| 100.0 + 18.0 * lines(index.dim() * element.bytes())),
        }
    }
}

impl Calibration {
    /// How to share out what `recall` lets get lost of the `k` nearest, which are among the `deep` nearest of all rows.
    pub(super) fn shares(&self, wanted: Wanted) -> Shares {
        let Wanted { k, deep, recall, prices } = wanted;
        let usual = Shares::usual(recall);
        let Some(curve) = self.curve_for(k) else { return usual };
        let time = |shares: Shares| {
            let (_, lists) = self.spread(deep, shares.lists)?;
            let epsilon = self.epsilon(k, shares.bound);
            let work = work_at(&curve.work, f64::from(epsilon))?;
            Some(lists * prices.list + work.survivors * prices.survivor + work.compared * prices.compared)
        };
        let parts = (1..).map(|step| f64::from(step) * STEP).take_while(|&part| part < BOTH);
        let choices = parts.map(|part| Shares::split(recall, part));
        let timed = choices.filter_map(|shares| Some((time(shares)?, shares)));
        timed.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(usual, |(_, shares)| shares)
    }
}

/// What was chosen last: most queries ask as the one before, and need not compare all choices again.
#[derive(Debug, Default)]
pub(super) struct LastChoice(Mutex<Option<(Wanted, Shares)>>);

/// What a choice depends on, the calibration apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) k: usize,
    pub(super) deep: usize,
    pub(super) recall: f64,
    pub(super) prices: Prices,
}

impl LastChoice {
    /// What was chosen when the same was asked last, or what `choose` says. Nobody waits: while another thread is here,
    /// the choice is made again.
    pub(super) fn or_choose(&self, wanted: Wanted, choose: impl FnOnce() -> Shares) -> Shares {
        let Ok(mut last) = self.0.try_lock() else { return choose() };
        match *last {
            Some((same, shares)) if same == wanted => shares,
            _ => last.insert((wanted, choose())).1,
        }
    }
}

/// The work at an epsilon between those measured; `None` if none was.
fn work_at(measured: &[Work], epsilon: f64) -> Option<Work> {
    let above = measured.partition_point(|work| work.epsilon < epsilon);
    let (Some(from), Some(to)) = (measured.get(above.saturating_sub(1)), measured.get(above)) else {
        return measured.last().copied();
    };
    let width = to.epsilon - from.epsilon;
    let part = if width > 0.0 { (epsilon - from.epsilon) / width } else { 0.0 };
    let between = |from: f64, to: f64| part.mul_add(to - from, from);
    Some(Work {
        epsilon,
        survivors: between(from.survivors, to.survivors),
        compared: between(from.compared, to.compared),
    })
}

impl Index {
    /// What a bound leaves to do, at several epsilons, for the `k` nearest of some rows. The index has its vectors.
    pub(super) fn measure_work(&self, rows: &Vectors, k: usize, pool: &Pool) -> Result<Vec<Work>> {
        let measure = |&epsilon: &f32| {
            // The row itself is among its neighbours.
            let effort = Effort::Recall(RECALL);
            let params = SearchParams { k: k + 1, effort, epsilon: Some(epsilon), ..SearchParams::default() };
            let explained = self.explain(rows, &params, pool)?;
            let count = explained.iter().flatten().count().max(1) as f64;
            let (survivors, compared) =
                explained.iter().flatten().fold((0, 0), |(survivors, compared), one| {
                    (survivors + one.survivors, compared + one.reranked)
                });
            let epsilon = f64::from(epsilon);
            Ok(Work { epsilon, survivors: survivors as f64 / count, compared: compared as f64 / count })
        };
        EPSILONS.iter().map(measure).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Pool, Unwatched,
        index::{BuildParams, Curve},
        metric::Metric,
        random::SplitMix64,
    };

    const FREE: Prices = Prices { list: 0.0, survivor: 0.0, compared: 0.0 };

    fn wanted(recall: f64, prices: Prices) -> Wanted {
        Wanted { k: 10, deep: 10, recall, prices }
    }

    fn measured(epsilon: f64, survivors: f64, compared: f64) -> Work {
        Work { epsilon, survivors, compared }
    }

    /// The surer the more lists and the more rows.
    fn calibration() -> Calibration {
        let shares = || (0..1000).map(|at| f64::from(at) / 999.0);
        let spread = shares().map(|share| (share, share, 100.0 * share * share)).collect();
        let epsilon = shares().map(|share| (1.0 + 2.0 * share, share)).collect();
        let work = vec![measured(1.0, 10.0, 1.0), measured(2.0, 20.0, 3.0), measured(4.0, 40.0, 9.0)];
        Calibration::from_curves(vec![Curve { k: 10, spread, epsilon, work }])
    }

    #[test]
    fn what_costs_nothing_loses_nothing() {
        let (calibration, recall) = (calibration(), 0.9);
        let lists = calibration.shares(wanted(recall, Prices { list: 1.0, ..FREE }));
        let bound = calibration.shares(wanted(recall, Prices { compared: 1.0, ..FREE }));
        assert!((lists.lists - (1.0 - 0.1 * 0.8)).abs() < 1e-9 && lists.bound > 0.99, "{lists:?}");
        assert!((bound.bound - (1.0 - 0.1 * 0.8)).abs() < 1e-9 && bound.lists > 0.99, "{bound:?}");
        for shares in [lists, bound, Shares::usual(recall)] {
            let lost = 2.0 - shares.lists - shares.bound;
            assert!((lost - 0.1 * BOTH).abs() < 1e-9, "{shares:?}");
        }
    }

    #[test]
    fn without_measurements_the_usual_shares_are_taken() {
        let prices = Prices { list: 1.0, survivor: 1.0, compared: 1.0 };
        assert_eq!(Calibration::default().shares(wanted(0.9, prices)), Shares::usual(0.9));
        let mut old = calibration().curves()[0].clone();
        old.work.clear();
        assert_eq!(Calibration::from_curves(vec![old]).shares(wanted(0.9, prices)), Shares::usual(0.9));
    }

    #[test]
    fn a_choice_is_remembered_until_something_else_is_asked() {
        let last = LastChoice::default();
        let (first, other) = (wanted(0.9, FREE), wanted(0.8, FREE));
        let of = |recall| move || Shares::usual(recall);
        assert_eq!(last.or_choose(first, of(0.9)), Shares::usual(0.9));
        assert_eq!(last.or_choose(first, || unreachable!("it was chosen")), Shares::usual(0.9));
        assert_eq!(last.or_choose(other, of(0.8)), Shares::usual(0.8));
        assert_eq!(last.or_choose(first, of(0.7)), Shares::usual(0.7));
        let _held = last.0.lock().unwrap();
        assert_eq!(last.or_choose(first, of(0.6)), Shares::usual(0.6));
    }

    #[test]
    fn work_lies_between_what_was_measured() {
        let work = [measured(1.0, 10.0, 1.0), measured(2.0, 20.0, 3.0)];
        assert_eq!(work_at(&work, 1.5), Some(measured(1.5, 15.0, 2.0)));
        assert_eq!(work_at(&work, 0.5).map(|work| work.survivors), Some(10.0));
        assert_eq!(work_at(&work, 9.0).map(|work| work.survivors), Some(20.0));
        assert_eq!(work_at(&[], 1.0), None);
    }

    #[test]
    fn a_surer_bound_leaves_more_to_do() {
        let (rows, dim) = (6000, 64);
        let mut random = SplitMix64::new(8);
        let values: Vec<f32> = (0..rows * dim).map(|_| random.unit_f64() as f32).collect();
        let vectors = Vectors::from_f32("v", dim, values.into()).unwrap();
        for bits in [1, 3] {
            let params = BuildParams { metric: Metric::L2Sq, bits, ..BuildParams::default() };
            let index = Index::build(vectors.clone(), None, &params, &Pool::Inline, &Unwatched).unwrap();
            let (near, deep) = index.calibration().curves().split_at(2);
            assert!(deep.iter().all(|curve| curve.k == 1000 && curve.work.is_empty()) && deep.len() == 1);
            for curve in near {
                let grows = |of: fn(&Work) -> f64| curve.work.is_sorted_by(|a, b| of(a) <= of(b));
                assert_eq!(curve.work.len(), EPSILONS.len());
                assert!(grows(|work| work.epsilon) && grows(|work| work.survivors), "{:?}", curve.work);
                // With more bits nearly nothing is left to be compared, however sure the bound is.
                assert!(bits > 1 || grows(|work| work.compared), "{:?}", curve.work);
                assert!(curve.work.iter().all(|work| work.compared >= curve.k as f64), "{:?}", curve.work);
            }
        }
    }
}
