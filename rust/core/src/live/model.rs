//! What the tests compare a changing index with: a plain table that is changed the plain way.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    Filter, Metric, Unwatched,
    exact::{self, Column},
    format::Keep,
    index::{BuildParams, Effort},
    kernel::Kernels,
    random::SplitMix64,
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
    pub(super) fn ids(self, ids: &[i64]) -> Ids {
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

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
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

    pub(super) fn check(&mut self, live: &Live) {
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

pub(super) fn gaussian(rows: usize, dim: usize, seed: u64) -> Vectors {
    let mut random = SplitMix64::new(seed);
    let values =
        (0..rows * dim).map(|_| (0..6).map(|_| random.unit_f64() as f32 - 0.5).sum()).collect::<Vec<f32>>();
    Vectors::from_f32("v", dim, values.into()).unwrap()
}
