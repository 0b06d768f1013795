//! Any sequence of changes against a table that is changed the plain way.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use proptest::prelude::*;

use super::*;
use crate::Filter;
use crate::{
    Metric, Unwatched,
    exact::{self, Column},
    format::Keep,
    ids::Id,
    index::{BuildParams, Effort},
    kernel::Kernels,
    random::SplitMix64,
    recall::recall_at_k,
};

pub(super) const DIM: usize = 5;

/// Small whole numbers: many ties, and no rounding.
pub(super) fn vector(random: &mut SplitMix64) -> Vec<f32> {
    (0..DIM).map(|_| random.below(7) as f32 - 3.0).collect()
}

pub(super) fn column(rows: &[Vec<f32>]) -> Vectors {
    Vectors::from_f32("v", DIM, rows.concat().into()).unwrap()
}

pub(super) fn numbers(ids: &[i64]) -> Ids {
    Ids::Int64(ids.to_vec().into())
}

/// Ids as the index has them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Rows,
    Int64,
    Utf8,
}

/// Where the index keeps its vectors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kept {
    Borrowed,
    Stored,
}

impl Kind {
    fn ids(self, ids: &[i64]) -> Ids {
        match self {
            Self::Rows | Self::Int64 => numbers(ids),
            Self::Utf8 => Ids::Utf8(
                ids.iter().map(|id| Some(format!("{id:03}"))).collect::<arrow_array::LargeStringArray>(),
            ),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Add(Vec<i64>),
    Delete(Vec<i64>),
    Upsert(Vec<i64>),
    Compact(Retrain),
    Filter(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ids = |most| prop::collection::vec(0_i64..90, 0..most);
    let step = prop_oneof![
        3 => ids(24).prop_map(Step::Add),
        3 => ids(9).prop_map(Step::Delete),
        4 => ids(12).prop_map(Step::Upsert),
        1 => Just(Step::Compact(Retrain::Never)),
        1 => Just(Step::Compact(Retrain::Always)),
        1 => any::<u64>().prop_map(Step::Filter),
    ];
    prop::collection::vec(step, 1..30)
}

pub(super) struct Model {
    kind: Kind,
    pub(super) rows: BTreeMap<i64, Vec<f32>>,
    next: i64,
    pub(super) random: SplitMix64,
}

impl Model {
    pub(super) fn apply(&mut self, live: &Live, step: &Step) {
        let (pool, kind) = (Pool::Inline, self.kind);
        match step {
            Step::Add(ids) => {
                let rows: Vec<_> = ids.iter().map(|_| vector(&mut self.random)).collect();
                if kind == Kind::Rows {
                    let given = live.add(None, &column(&rows), &pool, &Unwatched).unwrap();
                    assert_eq!(given, Some(self.next..self.next + rows.len() as i64));
                    self.rows.extend((self.next..).zip(rows.iter().cloned()));
                    self.next += rows.len() as i64;
                    return;
                }
                let result = live.add(Some(&kind.ids(ids)), &column(&rows), &pool, &Unwatched);
                let unique: HashSet<_> = ids.iter().collect();
                let fresh = unique.len() == ids.len() && ids.iter().all(|id| !self.rows.contains_key(id));
                assert_eq!(result.is_ok(), fresh, "{result:?}");
                if fresh {
                    self.rows.extend(ids.iter().copied().zip(rows));
                }
            }
            Step::Delete(ids) => {
                let before = self.rows.len();
                self.rows.retain(|id, _| !ids.contains(id));
                assert_eq!(live.delete(&kind.ids(ids)).unwrap(), before - self.rows.len());
            }
            Step::Upsert(ids) => {
                let known = |id: &&i64| kind != Kind::Rows || **id < self.next;
                let ids: Vec<i64> = ids.iter().filter(known).copied().collect();
                let rows: Vec<_> = ids.iter().map(|_| vector(&mut self.random)).collect();
                let unique: HashSet<_> = ids.iter().collect();
                let there = unique.iter().filter(|id| self.rows.contains_key(id)).count();
                let replaced = live.upsert(&kind.ids(&ids), &column(&rows), &pool, &Unwatched).unwrap();
                assert_eq!(replaced, there);
                self.rows.extend(ids.into_iter().zip(rows));
            }
            Step::Compact(retrain) => {
                let report = live.compact(*retrain, &pool, &Unwatched).unwrap();
                assert_eq!(report.rows, self.rows.len());
                let snapshot = live.snapshot();
                assert!(snapshot.is_empty() || (snapshot.is_sealed() && snapshot.parts.len() == 1));
            }
            Step::Filter(seed) => self.check_filters(live, *seed),
        }
    }

    fn table(&self, keep: impl Fn(i64) -> bool) -> (Ids, Vectors) {
        let kept: Vec<_> = self.rows.iter().filter(|(id, _)| keep(**id)).collect();
        let ids: Vec<i64> = kept.iter().map(|(id, _)| **id).collect();
        (self.kind.ids(&ids), column(&kept.into_iter().map(|(_, row)| row.clone()).collect::<Vec<_>>()))
    }

    fn expect(&mut self, live: &Live, filter: Option<Filter>, keep: impl Fn(i64) -> bool) {
        let snapshot = live.snapshot();
        let (ids, table) = self.table(keep);
        let queries = column(&[vector(&mut self.random), vector(&mut self.random)]);
        let (metric, kernels) = (snapshot.index().metric(), Kernels::detect().unwrap());
        let corpus = Column { vectors: &table, ids: Some(&ids) };
        let expected =
            exact::search(&corpus, &queries, metric, 7, kernels, &Pool::Inline, &Unwatched).unwrap();
        let filter = filter.map(Arc::new);
        let params = SearchParams { k: 7, effort: Effort::Exact, filter, ..SearchParams::default() };
        let found = snapshot.search(&queries, &params, &Pool::Inline, &Unwatched).unwrap();
        assert_eq!(found.distances(), expected.distances());
        assert_eq!(found.ids().as_array().to_data(), expected.ids().as_array().to_data());
    }

    fn check(&mut self, live: &Live) {
        let snapshot = live.snapshot();
        assert_eq!(snapshot.len(), self.rows.len());
        for (id, row) in &self.rows {
            let id = self.kind.ids(&[*id]);
            assert_eq!(snapshot.get(id.get(0)).unwrap().as_ref(), Some(row));
        }
        assert!(!snapshot.contains(self.kind.ids(&[-1]).get(0)));
        self.expect(live, None, |_| true);
    }

    fn check_filters(&mut self, live: &Live, seed: u64) {
        let snapshot = live.snapshot();
        let mut random = SplitMix64::new(seed);
        let wanted: Vec<i64> = (0..30).map(|_| random.below(95) as i64).collect();
        self.expect(live, Some(snapshot.filter_of_ids(&self.kind.ids(&wanted))), |id| wanted.contains(&id));
        if self.kind == Kind::Rows {
            let flags = (0..self.next).map(|row| wanted.contains(&row)).collect::<Vec<_>>();
            let flags: arrow_array::ArrayRef = Arc::new(arrow_array::BooleanArray::from(flags));
            let filter = snapshot.filter_of_mask("keep", &[flags]).unwrap();
            self.expect(live, Some(filter), |id| wanted.contains(&id));
        }
    }
}

pub(super) fn start(kind: Kind, kept: Kept, metric: Metric, seed: u64) -> (Live, Model) {
    let mut random = SplitMix64::new(seed);
    let rows: Vec<_> = (0..40).map(|_| vector(&mut random)).collect();
    let ids: Vec<i64> = (0..40).collect();
    let given = (kind != Kind::Rows).then(|| kind.ids(&ids));
    let params = BuildParams { metric, nlist: Some(3), ..BuildParams::default() };
    let mut index = Index::build(column(&rows), given.as_ref(), &params, &Pool::Inline, &Unwatched).unwrap();
    if kept == Kept::Stored {
        index = Index::from_bytes(index.to_bytes(Keep::AsIs).unwrap(), true).unwrap();
    }
    (Live::new(index), Model { kind, rows: ids.into_iter().zip(rows).collect(), next: 40, random })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn any_sequence_of_changes_is_the_plain_table(
        steps in steps(),
        kind in prop::sample::select(vec![Kind::Rows, Kind::Int64, Kind::Utf8]),
        kept in prop::sample::select(vec![Kept::Borrowed, Kept::Stored]),
        metric in prop::sample::select(vec![Metric::L2Sq, Metric::Ip]),
        seed in any::<u64>(),
    ) {
        let (live, mut model) = start(kind, kept, metric, seed);
        model.check(&live);
        for step in steps {
            model.apply(&live, &step);
            model.check(&live);
        }
        if !model.rows.is_empty() {
            let index = live.sealed(&Pool::Inline, &Unwatched).unwrap();
            let again = Index::from_bytes(index.to_bytes(Keep::AsIs).unwrap(), true).unwrap();
            prop_assert_eq!(again.digest(), index.digest());
            model.check(&live);
        }
    }
}

#[test]
fn half_floats_and_codes_alone_can_change_too() {
    let (live, _) = start(Kind::Int64, Kept::Borrowed, Metric::L2Sq, 1);
    let bytes = |keep| live.sealed(&Pool::Inline, &Unwatched).unwrap().to_bytes(keep).unwrap();
    for keep in [Keep::F16, Keep::None] {
        let other = Live::new(Index::from_bytes(bytes(keep), true).unwrap());
        let rows: Vec<_> = (0..50).map(|at| vec![at as f32; DIM]).collect();
        let ids: Vec<i64> = (20..70).collect();
        assert_eq!(other.upsert(&numbers(&ids), &column(&rows), &Pool::Inline, &Unwatched).unwrap(), 20);
        other.compact(Retrain::Auto, &Pool::Inline, &Unwatched).unwrap();
        assert_eq!((other.len(), other.snapshot().contains(Id::Int64(69))), (70, true));
        let hits = other
            .search(
                &column(&rows[40..41]),
                &SearchParams { k: 1, ..SearchParams::default() },
                &Pool::Inline,
                &Unwatched,
            )
            .unwrap();
        assert_eq!(hits.ids().get(0), Id::Int64(60));
        assert_eq!(other.compact(Retrain::Always, &Pool::Inline, &Unwatched).is_ok(), keep != Keep::None);
        assert_eq!(other.snapshot().get(Id::Int64(60)).is_ok(), keep != Keep::None);
        if keep == Keep::F16 {
            let long = column(&vec![vec![1e6; DIM]; 40]);
            let ids = numbers(&(100..140).collect::<Vec<_>>());
            let refused = Live::new(Index::from_bytes(bytes(keep), true).unwrap()).add(
                Some(&ids),
                &long,
                &Pool::Inline,
                &Unwatched,
            );
            assert_eq!(
                refused.unwrap_err().to_string(),
                "v, row 0: element 0 is 1000000, beyond what f16 can hold (65504)"
            );
        }
    }
}

#[test]
fn what_cannot_be_meant_is_refused_and_changes_nothing() {
    let (live, mut model) = start(Kind::Int64, Kept::Borrowed, Metric::L2Sq, 2);
    let (numbered, _) = start(Kind::Rows, Kept::Borrowed, Metric::L2Sq, 2);
    let (one, pool) = (column(&[vec![1.0; DIM]]), Pool::Inline);
    let text = Ids::Utf8(vec!["a"].into());
    let nan = column(&[vec![f32::NAN; DIM]]);
    let narrow = Vectors::from_f32("v", 2, vec![1.0, 2.0].into()).unwrap();
    let add = |live: &Live, ids: Option<&Ids>, vectors| {
        live.add(ids, vectors, &pool, &Unwatched).unwrap_err().to_string()
    };
    assert_eq!(add(&live, None, &one), "ids: expected a column of int64 ids, as in the index, got none");
    assert_eq!(add(&live, Some(&text), &one), "ids: expected int64 ids, as in the index, got str");
    assert_eq!(add(&live, Some(&numbers(&[1, 2])), &one), "ids: expected one id per vector (1), got 2 ids");
    assert_eq!(add(&live, Some(&numbers(&[7])), &one), "duplicate id 7: rows 7 and 0");
    assert_eq!(
        add(&live, Some(&numbers(&[70])), &nan),
        "v, row 0: element 0 is NaN, expected a finite number"
    );
    assert_eq!(add(&live, Some(&numbers(&[70])), &narrow), "dimension mismatch: the index has 5, v has 2");
    assert_eq!(
        add(&numbered, Some(&numbers(&[70])), &one),
        "ids: expected none: this index numbers its rows (upsert replaces them), got a column of ids"
    );
    let upsert = |ids: &[i64]| {
        numbered.upsert(&numbers(ids), &one, &pool, &Unwatched).map_err(|error| error.to_string())
    };
    assert_eq!(upsert(&[40]), Err("ids: expected row numbers below 40, got 40".into()));
    assert_eq!(upsert(&[-1]), Err("ids: expected row numbers below 40, got -1".into()));
    assert_eq!(upsert(&[39]), Ok(1));
    assert!(live.delete(&text).is_err());
    let (unsigned, empty) = (Ids::UInt64(vec![u64::MAX].into()), Ids::Utf8(Vec::<&str>::new().into()));
    assert_eq!(
        live.delete(&unsigned).unwrap_err().to_string(),
        format!("ids: expected int64 ids, as in the index, got {}", u64::MAX)
    );
    assert_eq!(live.delete(&empty).unwrap(), 0);
    model.check(&live);
}

#[test]
fn nulls_are_left_out_of_what_is_added() {
    let (live, _) = start(Kind::Rows, Kept::Borrowed, Metric::L2Sq, 3);
    let rows = column(&[vec![1.0; DIM], vec![2.0; DIM], vec![3.0; DIM]]);
    let rows = rows.only(&Filter::from_rows([0, 2], 3));
    assert_eq!(live.add(None, &rows, &Pool::Inline, &Unwatched).unwrap(), Some(40..43));
    let snapshot = live.snapshot();
    assert_eq!(snapshot.len(), 42);
    assert_eq!(snapshot.get(Id::Int64(42)).unwrap(), Some(vec![3.0; DIM]));
    assert!(!snapshot.contains(Id::Int64(41)));
    let error = live.upsert(&numbers(&[0, 1, 2]), &rows, &Pool::Inline, &Unwatched).unwrap_err();
    assert_eq!(error.to_string(), "v, row 1: is null, expected a vector (delete takes rows out)");
}

#[test]
fn everything_may_go_and_come_back() {
    let (live, _) = start(Kind::Int64, Kept::Borrowed, Metric::L2Sq, 4);
    let all: Vec<i64> = (0..40).collect();
    assert_eq!(live.delete(&numbers(&all)).unwrap(), 40);
    live.compact(Retrain::Auto, &Pool::Inline, &Unwatched).unwrap();
    assert!(live.is_empty() && live.sealed(&Pool::Inline, &Unwatched).is_err());
    let rows: Vec<_> = (0..40).map(|at| vec![at as f32; DIM]).collect();
    live.add(Some(&numbers(&all)), &column(&rows), &Pool::Inline, &Unwatched).unwrap();
    let report = live.compact(Retrain::Auto, &Pool::Inline, &Unwatched).unwrap();
    assert_eq!((report.rows, report.dropped, live.snapshot().index().len()), (40, 40, 40));
}

#[test]
fn indexes_are_merged_row_by_row() {
    let (one, _) = start(Kind::Rows, Kept::Borrowed, Metric::L2Sq, 5);
    let (two, model) = start(Kind::Int64, Kept::Stored, Metric::L2Sq, 6);
    assert_eq!(one.merge(&two, &Pool::Inline, &Unwatched).unwrap(), Some(40..80));
    assert_eq!(one.snapshot().get(Id::Int64(47)).unwrap().as_ref(), model.rows.get(&7));
    assert!(two.merge(&one, &Pool::Inline, &Unwatched).is_err(), "both have a row 0");
    two.delete(&numbers(&(0..40).collect::<Vec<_>>())).unwrap();
    two.merge(&one, &Pool::Inline, &Unwatched).unwrap();
    assert_eq!(two.len(), 80);
}

#[test]
fn many_small_changes_leave_few_segments() {
    let (live, mut model) = start(Kind::Rows, Kept::Borrowed, Metric::L2Sq, 7);
    for _ in 0..300 {
        model.apply(&live, &Step::Add(vec![0; 7]));
    }
    model.check(&live);
    let snapshot = live.snapshot();
    assert!(snapshot.parts.len() < 3 * draft_tiers() + 2, "{} segments", snapshot.parts.len());
    let blocks: usize = snapshot.index().segments().iter().map(crate::segment::Segment::blocks).sum();
    assert!(blocks < 3 * 2140 / 32, "{blocks} blocks");
}

/// The number of sizes that segments of a few thousand rows come in.
fn draft_tiers() -> usize {
    6
}

pub(super) fn gaussian(rows: usize, dim: usize, seed: u64) -> Vectors {
    let mut random = SplitMix64::new(seed);
    let values =
        (0..rows * dim).map(|_| (0..6).map(|_| random.unit_f64() as f32 - 0.5).sum()).collect::<Vec<f32>>();
    Vectors::from_f32("v", dim, values.into()).unwrap()
}

#[test]
fn recall_survives_a_third_of_the_rows() {
    let (rows, dim) = (4000, 32);
    for metric in Metric::ALL {
        let params = BuildParams { metric, ..BuildParams::default() };
        let table = gaussian(rows, dim, 1);
        let live = Live::new(Index::build(table.clone(), None, &params, &Pool::Inline, &Unwatched).unwrap());
        let queries = gaussian(50, dim, 2);
        let recall = |live: &Live| {
            let ask = |effort| {
                let params = SearchParams { effort, ..SearchParams::default() };
                live.search(&queries, &params, &Pool::Inline, &Unwatched).unwrap()
            };
            recall_at_k(&ask(SearchParams::default().effort), &ask(Effort::Exact)).unwrap()
        };
        let before = recall(&live);
        let replaced: Vec<i64> = (0..rows as i64).filter(|row| row % 10 < 3).collect();
        live.upsert(&numbers(&replaced), &gaussian(replaced.len(), dim, 3), &Pool::Inline, &Unwatched)
            .unwrap();
        let churned = recall(&live);
        let report = live.compact(Retrain::Auto, &Pool::Inline, &Unwatched).unwrap();
        assert_eq!((report.dropped, report.retrained), (replaced.len(), false), "{:?}", report.drift);
        let after = recall(&live);
        assert!(churned >= before - 0.01 && after >= before - 0.01, "{metric}: {before}, {churned}, {after}");
    }
}

#[test]
fn drift_is_noticed() {
    let live = Live::new(
        Index::build(gaussian(2000, 8, 1), None, &BuildParams::default(), &Pool::Inline, &Unwatched).unwrap(),
    );
    let far: Vec<f32> = {
        let (rows, mut values) = (gaussian(2000, 8, 2), vec![0.0; 16000]);
        rows.copy_rows(0..2000, &mut values);
        values.iter().map(|value| value * 3.0 + 5.0).collect()
    };
    live.add(None, &Vectors::from_f32("v", 8, far.into()).unwrap(), &Pool::Inline, &Unwatched).unwrap();
    let report = live.compact(Retrain::Auto, &Pool::Inline, &Unwatched).unwrap();
    assert!(report.retrained && report.drift.unwrap() > 2.0, "{report:?}");
    let after = live.snapshot().spread().unwrap();
    assert!(after < live.snapshot().index().dim() as f64 * 5.0, "{after}");
}

#[test]
fn a_frozen_handle_stays_as_it_is() {
    let rows: Vec<Vec<f32>> = (0..40).map(|row| vec![row as f32; DIM]).collect();
    let index =
        Index::build(column(&rows), None, &BuildParams::default(), &Pool::Inline, &Unwatched).unwrap();
    let live = Live::new(index);
    live.add(None, &column(&[vec![90.0; DIM]]), &Pool::Inline, &Unwatched).unwrap();
    live.delete(&numbers(&[3])).unwrap();
    let frozen = live.freeze();
    let ids = || Snapshot::owned_ids(&frozen.snapshot().ids());
    let before = ids();
    for added in 0..40 {
        live.add(None, &column(&[vec![100.0 + added as f32; DIM]]), &Pool::Inline, &Unwatched).unwrap();
        live.delete(&numbers(&[added])).unwrap();
    }
    live.compact(Retrain::Always, &Pool::Inline, &Unwatched).unwrap();
    assert_eq!(ids(), before);
    assert_eq!(frozen.sealed(&Pool::Inline, &Unwatched).unwrap().len(), 40);
    assert_eq!(ids(), before);
    let one = column(&[vec![0.0; DIM]]);
    let refused = [
        frozen.add(None, &one, &Pool::Inline, &Unwatched).map(|_| ()),
        frozen.upsert(&numbers(&[5]), &one, &Pool::Inline, &Unwatched).map(|_| ()),
        frozen.delete(&numbers(&[5])).map(|_| ()),
        frozen.merge(&live, &Pool::Inline, &Unwatched).map(|_| ()),
        frozen.compact(Retrain::Never, &Pool::Inline, &Unwatched).map(|_| ()),
    ];
    for refusal in refused {
        let text = refusal.unwrap_err().to_string();
        assert_eq!(text, "index: expected one that may change, got a snapshot");
    }
}

/// Every row of one generation has the same value, so an answer that mixes two states gives itself away.
#[test]
fn every_answer_is_that_of_one_state() {
    let generation = |number: usize| column(&vec![vec![number as f32; DIM]; 30]);
    let ids = numbers(&(0..30).collect::<Vec<_>>());
    let params = BuildParams { nlist: Some(2), ..BuildParams::default() };
    let live =
        Live::new(Index::build(generation(0), Some(&ids), &params, &Pool::Inline, &Unwatched).unwrap());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let read = || {
            let (mut last, mut answers) = (0.0, 0);
            while !done.load(Ordering::Relaxed) || answers == 0 {
                let params = SearchParams { k: 50, effort: Effort::Exact, ..SearchParams::default() };
                let hits = live.search(&generation(0), &params, &Pool::Inline, &Unwatched).unwrap();
                assert_eq!(hits.len(), 30 * 30);
                let distance = hits.distances()[0];
                assert!(hits.distances().iter().all(|&other| other.to_bits() == distance.to_bits()));
                assert!(distance >= last, "a reader went back in time");
                (last, answers) = (distance, answers + 1);
            }
        };
        let readers = [scope.spawn(read), scope.spawn(read)];
        for number in 1..120 {
            assert_eq!(live.upsert(&ids, &generation(number), &Pool::Inline, &Unwatched).unwrap(), 30);
            if number % 5 == 0 {
                live.compact(
                    if number % 20 == 0 { Retrain::Always } else { Retrain::Never },
                    &Pool::Inline,
                    &Unwatched,
                )
                .unwrap();
            }
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.join().unwrap();
        }
    });
}
