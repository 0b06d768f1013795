//! What clients ask for: JSON in descriptors, tickets and the bodies of actions. Fields that nobody knows are refused.

use arrow_array::LargeStringArray;
use base64::{Engine, engine::general_purpose::STANDARD};
use ruvector_core::{
    Error, Metric,
    format::Keep,
    ids::Ids,
    index::{BuildParams, DEFAULT_RECALL, Effort, SearchParams, StreamParams},
    vectors::{Element, MAX_DIM},
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
    /// How far neighbours are at most, where all within a radius are asked for.
    pub radius: Option<f32>,
    /// The queries, where they do not come in a stream.
    pub queries: Option<Queries>,
    /// The state to ask; by default the present one.
    pub generation: Option<String>,
    /// Which state answers, where none is named.
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
/// Query vectors in a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queries {
    /// Elements per vector.
    pub dim: usize,
    /// The values, one vector after the other: little-endian, in base64.
    pub f32: String,
}

impl Queries {
    /// The values.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for what is not base64, and for another number of bytes than whole vectors take.
    pub fn values(&self) -> Result<Vec<f32>, Error> {
        let wrong = |actual: String| {
            let expected = format!("base64 of vectors of {} f32", self.dim);
            Error::invalid_parameter("queries", expected, actual)
        };
        let bytes = STANDARD.decode(&self.f32).map_err(|error| wrong(error.to_string()))?;
        let fits = (1..=MAX_DIM).contains(&self.dim) && bytes.len().is_multiple_of(4 * self.dim);
        if !fits {
            return Err(wrong(format!("{} bytes", bytes.len())));
        }
        Ok(bytes.as_chunks::<4>().0.iter().map(|raw| f32::from_le_bytes(*raw)).collect())
    }
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
            radius: None,
            queries: None,
            generation: None,
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
    /// All rows within a radius of each query that comes.
    Within(SearchAsk),
}

/// What `DoGet` and `GetFlightInfo` can be asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GetAsk {
    /// The nearest rows of each query in the ticket.
    Search(SearchAsk),
    /// All rows within a radius of each query in the ticket.
    Within(SearchAsk),
    /// The nearest other rows of each row.
    Neighbours(SearchAsk),
    /// An index, as it lies in its file.
    Index(IndexAsk),
    /// The rows of a collection.
    Scan(ScanAsk),
}

impl GetAsk {
    /// The name of what is asked.
    pub fn collection(&self) -> &str {
        match self {
            Self::Search(ask) | Self::Within(ask) | Self::Neighbours(ask) => &ask.collection,
            Self::Index(ask) => &ask.collection,
            Self::Scan(ask) => &ask.collection,
        }
    }

    /// The state that is asked for, if one is.
    pub fn generation(&self) -> Option<&str> {
        let generation = match self {
            Self::Search(ask) | Self::Within(ask) | Self::Neighbours(ask) => &ask.generation,
            Self::Index(ask) => &ask.generation,
            Self::Scan(ask) => &ask.generation,
        };
        generation.as_deref()
    }
}

/// An index, as it lies in its file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IndexAsk {
    /// Its name.
    pub collection: String,
    /// Which vectors come with it.
    pub keep: Keeping,
    /// Which part, of `parts`.
    pub part: usize,
    /// How many parts there are; by default one.
    pub parts: Option<usize>,
    /// The state; by default the present one.
    pub generation: Option<String>,
}

/// The rows of a collection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScanAsk {
    /// Its name.
    pub collection: String,
    /// The columns, in this order; by default all.
    pub columns: Option<Vec<String>>,
    /// Groups of conditions, each a column, a comparison and a value: all of one group must hold.
    pub r#where: Vec<Vec<(String, String, serde_json::Value)>>,
    /// Which part, of `parts`.
    pub part: usize,
    /// How many parts there are; by default one.
    pub parts: Option<usize>,
    /// The state; by default the present one.
    pub generation: Option<String>,
}

/// What happens to vectors when an index is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keeping {
    /// They stay what they are.
    #[default]
    AsIs,
    /// They become `f32`.
    F32,
    /// They become `f16`.
    F16,
    /// They are left out.
    None,
}

impl From<Keeping> for Keep {
    fn from(keeping: Keeping) -> Self {
        match keeping {
            Keeping::AsIs => Self::AsIs,
            Keeping::F32 => Self::F32,
            Keeping::F16 => Self::F16,
            Keeping::None => Self::None,
        }
    }
}

/// What `DoPut` can be asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PutAsk {
    /// An index of the rows that come.
    Build(BuildAsk),
    /// New rows for an index.
    Append(RowsAsk),
    /// Rows that take the place of those with the same ids.
    Upsert(RowsAsk),
    /// Ids of rows that go.
    Delete(RowsAsk),
}

/// How an index is built, and of what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BuildAsk {
    /// Its name.
    pub collection: String,
    /// The collection whose rows it is built of, where no rows are sent.
    pub from: Option<String>,
    /// The distance to search by.
    pub metric: String,
    /// Bits per dimension of the codes.
    pub bits: u32,
    /// The number of lists.
    pub nlist: Option<usize>,
    /// Fixes what is drawn by lot.
    pub seed: u64,
    /// Which vectors it keeps; `asis` is the type they come in.
    pub keep: Keeping,
    /// About how many rows will come.
    pub rows: Option<usize>,
    /// Whether it may take the place of another one.
    pub replace: bool,
    /// The column of vectors; by default the only one.
    pub column: Option<String>,
    /// The column of ids; by default `id`, or none.
    pub id: Option<String>,
}

impl Default for BuildAsk {
    fn default() -> Self {
        Self {
            collection: String::new(),
            from: None,
            metric: Metric::default().name().into(),
            bits: 1,
            nlist: None,
            seed: 0,
            keep: Keeping::AsIs,
            rows: None,
            replace: false,
            column: None,
            id: None,
        }
    }
}

impl BuildAsk {
    /// What the core is asked, for vectors of this type.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for a metric that nobody knows.
    pub fn params(&self, element: Element) -> Result<StreamParams, Error> {
        let build =
            BuildParams { metric: self.metric.parse()?, nlist: self.nlist, seed: self.seed, bits: self.bits };
        let keep = match self.keep {
            Keeping::AsIs => Some(element),
            Keeping::F32 => Some(Element::F32),
            Keeping::F16 => Some(Element::F16),
            Keeping::None => None,
        };
        Ok(StreamParams { build, keep, rows: self.rows, checkpoint: None })
    }
}

/// Which rows change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RowsAsk {
    /// The name of the index.
    pub collection: String,
    /// The column of vectors; by default the only one.
    pub column: Option<String>,
    /// The column of ids; by default `id`, where the index does not number its rows.
    pub id: Option<String>,
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
