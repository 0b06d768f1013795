//! What clients ask for: JSON in descriptors, tickets and the bodies of actions. Fields that nobody knows are refused.

use arrow_array::LargeStringArray;
use ruvector_core::{
    Error,
    ids::Ids,
    index::{DEFAULT_RECALL, Effort, SearchParams},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// How hard to look, and for what: as the keywords of a search in Python.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchAsk {
    /// The name of the index or of the collection.
    pub collection: String,
    /// The number of neighbours.
    pub k: usize,
    /// The share of the true neighbours to find.
    pub recall: Option<f64>,
    /// How many lists to look into, in place of `recall`.
    pub nprobe: Option<usize>,
    /// How wide the error bound is, in standard deviations.
    pub epsilon: Option<f32>,
    /// Whether every row is compared.
    pub exact: bool,
    /// Whether distances are exact where there are vectors.
    pub rerank: bool,
    /// The column of vectors; by default the only one of a fitting type.
    pub column: Option<String>,
    /// Which rows may be found: their ids.
    pub ids: Option<Vec<serde_json::Value>>,
    /// How hits come.
    pub answer: Shape,
    /// Whether the vectors of the queries come back with the other columns.
    pub keep_vectors: bool,
    /// Which state answers.
    pub state: StateOf,
}

/// Which state of a collection answers the batches of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StateOf {
    /// The one that the stream began in.
    #[default]
    First,
    /// The one that each batch finds. Clients keep such a stream open for questions to come.
    Each,
}

/// How hits come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// A row for each query, with a list of hits.
    #[default]
    Nested,
    /// A row for each hit.
    Flat,
}

impl Default for SearchAsk {
    fn default() -> Self {
        Self {
            collection: String::new(),
            k: 10,
            recall: None,
            nprobe: None,
            epsilon: None,
            exact: false,
            rerank: true,
            column: None,
            ids: None,
            answer: Shape::default(),
            keep_vectors: false,
            state: StateOf::default(),
        }
    }
}

impl SearchAsk {
    /// What the core is asked.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] when more than one of `recall`, `nprobe` and `exact` is given, or `k` is above `most`.
    pub fn params(&self, most: usize) -> Result<SearchParams, Error> {
        if self.k > most {
            return Err(Error::invalid_parameter("k", format!("at most {most}"), self.k.to_string()));
        }
        let effort = match (self.recall, self.nprobe, self.exact) {
            (None, None, true) => Effort::Exact,
            (None, Some(nprobe), false) => Effort::Nprobe(nprobe),
            (recall, None, false) => Effort::Recall(recall.unwrap_or(DEFAULT_RECALL)),
            _ => {
                let expected = "one of recall, nprobe and exact";
                return Err(Error::invalid_parameter("recall", expected, "several"));
            }
        };
        let epsilon = self.epsilon;
        Ok(SearchParams { k: self.k, effort, epsilon, filter: None, rerank: self.rerank })
    }
}

/// What `DoExchange` can be asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExchangeAsk {
    /// The nearest rows of each query that comes.
    Search(SearchAsk),
}

/// Reads JSON that a client sent.
///
/// # Errors
/// [`Error::InvalidParameter`] with what serde says, which names the field.
pub fn parse<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
        Error::invalid_parameter(what, format!("json as documented ({error})"), shown)
    })
}

/// Ids as JSON has them: whole numbers, or texts.
///
/// # Errors
/// [`Error::InvalidParameter`] naming the first value that is neither, or of another kind than the first one.
pub fn ids_of(values: &[serde_json::Value]) -> Result<Ids, Error> {
    let wrong = |value: &serde_json::Value, expected: &str| {
        Error::invalid_parameter("ids", expected, value.to_string())
    };
    if values.first().is_some_and(serde_json::Value::is_string) {
        let text = |value: &serde_json::Value| {
            value.as_str().map(str::to_owned).ok_or_else(|| wrong(value, "texts only"))
        };
        let texts = values.iter().map(text).collect::<Result<Vec<_>, _>>()?;
        return Ok(Ids::Utf8(LargeStringArray::from_iter_values(texts)));
    }
    if values.iter().any(|value| value.as_i64().is_none() && value.is_u64()) {
        let number = |value: &serde_json::Value| {
            value.as_u64().ok_or_else(|| wrong(value, "whole numbers of 64 bits"))
        };
        return Ok(Ids::UInt64(values.iter().map(number).collect::<Result<Vec<_>, _>>()?.into()));
    }
    let number =
        |value: &serde_json::Value| value.as_i64().ok_or_else(|| wrong(value, "whole numbers or texts"));
    Ok(Ids::Int64(values.iter().map(number).collect::<Result<Vec<_>, _>>()?.into()))
}
