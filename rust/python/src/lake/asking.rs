//! A search of a lake, as Python asks it and as the lake takes it.

use pyo3::prelude::*;
use ruvector_core::{Error, Vectors};
use ruvector_lake::{Key, OnError, RuLake, SearchOptions, Targets};

use super::{filter, values};
use crate::{
    args::Whole,
    ask::{self, Asked},
    error::Result,
    input::{Given, Role},
};

/// The keywords of a search.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct Asking<'py> {
    k: Whole,
    recall: f64,
    nprobe: Option<Whole>,
    epsilon: Option<f64>,
    exact: bool,
    columns: Option<Vec<String>>,
    filter: filter::Given<'py>,
    cache_only: bool,
    deadline: Option<f64>,
    on_error: String,
    dedupe: bool,
    push_down: bool,
    hedge: Option<f64>,
}

/// What is asked, of whom.
pub(super) struct Question {
    pub(super) targets: Targets,
    pub(super) queries: Vectors,
    pub(super) options: SearchOptions,
    /// Whether one query was given as such, and not as a column of one.
    pub(super) one: bool,
}

/// Collections: some, the one of a name, or all of a name.
#[derive(FromPyObject)]
pub(super) enum Meant {
    Keys(Vec<values::Pair>),
    /// Whether in every backend, and the name.
    Named(bool, String),
}

impl Asking<'_> {
    fn options(self) -> Result<SearchOptions> {
        let how = Asked {
            recall: self.recall,
            nprobe: self.nprobe,
            epsilon: self.epsilon,
            exact: self.exact,
            rerank: true,
            threads: None,
        };
        let params = how.params(self.k.count("k")?)?;
        let on_error = match self.on_error.as_str() {
            "raise" => OnError::Raise,
            "skip" => OnError::Skip,
            "partial" => OnError::Partial,
            other => {
                let expected = "one of raise, skip, partial";
                return Err(Error::invalid_parameter("on_error", expected, format!("{other:?}")).into());
            }
        };
        Ok(SearchOptions {
            k: params.k,
            effort: params.effort,
            epsilon: params.epsilon,
            columns: self.columns,
            predicate: filter::predicate(self.filter)?,
            cache_only: self.cache_only,
            dedupe: self.dedupe,
            deadline: values::time("deadline", self.deadline)?,
            on_error,
            push_down: self.push_down,
            hedge: values::time("hedge", self.hedge)?,
        })
    }
}

impl Question {
    pub(super) fn read(
        py: Python<'_>,
        queries: &Bound<'_, PyAny>,
        name: &'static str,
        targets: Meant,
        asking: Asking<'_>,
    ) -> Result<Self> {
        let options = asking.options()?;
        let given = Given::read(queries, Role::Queries(name))?;
        let is_row = |dims: Bound<'_, PyAny>| dims.extract().is_ok_and(|dims: usize| dims == 1);
        let one = given.is_numbers() || queries.getattr_opt("ndim")?.is_some_and(is_row);
        let queries = given.vectors(py, None, None)?;
        let targets = match targets {
            Meant::Keys(keys) => Targets::Keys(keys.into_iter().map(values::key).collect()),
            Meant::Named(true, name) => Targets::Everywhere(name),
            Meant::Named(false, name) => Targets::Only(name),
        };
        Ok(Self { targets, queries, options, one })
    }

    /// Whether the answer needs nothing but computing.
    pub(super) fn is_at_hand(&self, lake: &RuLake) -> bool {
        let at_hand = |key: &Key| lake.is_at_hand(key, &self.options);
        match &self.targets {
            Targets::Keys(keys) => keys.len() == 1 && keys.iter().all(at_hand),
            Targets::Only(_) | Targets::Everywhere(_) => false,
        }
    }

    /// About how many multiplications the answer takes at most; too many to count where others are waited for.
    pub(super) fn size(&self, lake: &RuLake) -> usize {
        if !self.is_at_hand(lake) {
            return usize::MAX;
        }
        let Targets::Keys(keys) = &self.targets else { return usize::MAX };
        let rows = keys.iter().filter_map(|key| lake.bundle_of(key)?.content).map(|content| content.rows);
        let rows = usize::try_from(rows.sum::<u64>()).unwrap_or(usize::MAX);
        ask::work(&self.queries, rows, self.options.effort)
    }
}
