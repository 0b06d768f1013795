//! What Python passes beside the columns: a pickled dict, kept in the plan and serialized with it.

use ruvector_core::{
    Metric,
    ids::IdType,
    index::{BuildParams, Effort, SearchParams},
};
use serde::{Deserialize, de::DeserializeOwned};

use super::{Refusal, Result};
use crate::registry::Reference;

/// The arguments of `ruvector_knn`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KnnArgs {
    /// The index; without one, the second input column names it.
    pub(super) index: Option<Reference>,
    /// The index's dimension, where it is known when the plan is made.
    pub(super) dim: Option<usize>,
    id_type: String,
    k: usize,
    recall: Option<f64>,
    nprobe: Option<usize>,
    epsilon: Option<f32>,
    exact: bool,
    /// Whether each hit tells its rank.
    pub(super) ranked: bool,
}

impl KnnArgs {
    /// The type of the ids in the answer.
    pub(super) fn id_type(&self) -> Result<IdType> {
        IdType::from_name(&self.id_type).ok_or_else(|| Refusal(format!("unknown id type {:?}", self.id_type)))
    }

    /// How hard to look.
    pub(super) fn params(&self) -> SearchParams {
        let effort = match (self.exact, self.nprobe, self.recall) {
            (true, ..) => Effort::Exact,
            (false, Some(nprobe), _) => Effort::Nprobe(nprobe),
            (false, None, Some(recall)) => Effort::Recall(recall),
            (false, None, None) => SearchParams::default().effort,
        };
        SearchParams { k: self.k, effort, epsilon: self.epsilon, ..SearchParams::default() }
    }
}

/// The arguments of `ruvector_distance`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DistanceArgs {
    metric: String,
    /// Whether the second column holds the queries. It matters to the last bit only: cosine scales the query first.
    pub(super) query_is_other: bool,
}

impl DistanceArgs {
    /// The metric.
    pub(super) fn metric(&self) -> Result<Metric> {
        Ok(self.metric.parse()?)
    }
}

/// The arguments of `ruvector_build`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BuildArgs {
    metric: String,
    nlist: Option<usize>,
    seed: u64,
    /// Whether to keep the index for a while after the plan has let go of it.
    pub(super) keep: bool,
}

impl BuildArgs {
    /// How to build.
    pub(super) fn params(&self) -> Result<BuildParams> {
        let (metric, nlist, seed) = (self.metric.parse()?, self.nlist, self.seed);
        Ok(BuildParams { metric, nlist, seed, ..BuildParams::default() })
    }
}

/// Reads the arguments of a call.
pub(super) fn parse<T: DeserializeOwned>(pickled: &[u8]) -> Result<T> {
    serde_pickle::from_slice(pickled, serde_pickle::DeOptions::new()).map_err(|error| {
        Refusal(format!(
            "this plan was made by another version of ruvector: its arguments are unknown here ({error})"
        ))
    })
}
