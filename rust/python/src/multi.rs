//! The class `MultiVectorIndex`: documents of several vectors each.

use arrow_array::{Array, ArrayRef, cast::AsArray};
use arrow_schema::DataType;
use pyo3::prelude::*;
use ruvector_core::{
    Error, Vectors,
    index::{BuildParams, Effort},
    maxsim::{Documents, MultiIndex},
};

use crate::{
    args::{Seed, Whole, pool},
    error::Result,
    hits::PyHits,
    input::{Given, Role, Width},
    interrupt,
    progress::Progress,
};

/// An index over documents of several vectors each, compared by MaxSim.
#[pyclass(name = "MultiVectorIndex", module = "ruvector", frozen)]
pub(crate) struct PyMultiVectorIndex {
    index: MultiIndex,
}

/// A column of lists of vectors, flattened; `None` for a column of another kind. A null document has no vectors.
fn documents(given: &Given, dim: Option<usize>) -> Result<Option<Documents>> {
    let column = given.only_column()?;
    let is_list = |data_type: &DataType| {
        matches!(data_type, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..))
    };
    let nested = match column.data_type() {
        DataType::List(item) | DataType::LargeList(item) => is_list(item.data_type()),
        _ => false,
    };
    if !nested {
        return Ok(None);
    }
    let (mut starts, mut chunks) = (vec![0_usize], Vec::new());
    for chunk in column.chunks() {
        let as_places = |at: i64| usize::try_from(at).unwrap_or(0);
        let (values, offsets): (&ArrayRef, Vec<usize>) = if let Some(list) = chunk.as_list_opt::<i32>() {
            (list.values(), list.offsets().iter().map(|&at| as_places(at.into())).collect())
        } else {
            let list = chunk.as_list::<i64>();
            (list.values(), list.offsets().iter().map(|&at| as_places(at)).collect())
        };
        for (document, span) in offsets.windows(2).enumerate() {
            // What lies behind a null is nobody's.
            let len = if chunk.is_null(document) { 0 } else { span[1] - span[0] };
            if len > 0 {
                chunks.push(values.slice(span[0], len));
            }
            starts.push(starts[starts.len() - 1] + len);
        }
    }
    let vectors = Vectors::from_arrays(given.name_of(column), &joined(chunks)?, dim)?;
    Ok(Some(Documents { vectors, starts }))
}

/// Neighbouring slices would be as many chunks as documents: they are joined, by a copy.
fn joined(slices: Vec<ArrayRef>) -> Result<Vec<ArrayRef>> {
    let data: Vec<_> = slices.iter().map(Array::to_data).collect();
    if data.len() < 2 {
        return Ok(slices);
    }
    let rows = data.iter().map(arrow_data::ArrayData::len).sum();
    let mut joined = arrow_data::transform::MutableArrayData::new(data.iter().collect(), false, rows);
    for (at, slice) in data.iter().enumerate() {
        joined.try_extend(at, 0, slice.len()).map_err(Error::from)?;
    }
    Ok(vec![arrow_array::make_array(joined.freeze())])
}

#[pymethods]
impl PyMultiVectorIndex {
    /// Build an index over a column of lists of vectors.
    #[staticmethod]
    #[pyo3(
        signature = (column, ids=None, *, metric="ip", nlist=None, seed=Seed(0), threads=None),
        text_signature = "(column, ids=None, *, metric='ip', nlist=None, seed=0, threads=None)"
    )]
    #[allow(clippy::too_many_arguments, reason = "keywords in Python")]
    fn build(
        py: Python<'_>,
        column: &Bound<'_, PyAny>,
        ids: Option<&Bound<'_, PyAny>>,
        metric: &str,
        nlist: Option<Whole>,
        seed: Seed,
        threads: Option<Whole>,
    ) -> Result<Self> {
        let nlist = nlist.map(|nlist| nlist.count("nlist")).transpose()?;
        let params = BuildParams { metric: metric.parse()?, nlist, seed: seed.0, ..BuildParams::default() };
        let pool = pool(threads)?;
        let given = Given::read(column, Role::Vectors)?;
        let Some(documents) = documents(&given, None)? else {
            let actual = given.only_column()?.data_type().to_string();
            let expected = "lists of vectors (list<fixed_size_list<float>>)".into();
            return Err(Error::InvalidType { column: "column".into(), expected, actual }.into());
        };
        let ids = given.ids(ids, documents.len())?;
        let index = interrupt::run(py, usize::MAX, &mut Progress::off(), |monitor| {
            MultiIndex::build(documents, ids, &params, &pool, monitor)
        })?;
        Ok(Self { index })
    }

    /// The nearest documents of one query or of many.
    #[pyo3(
        signature = (queries, k=Whole(10), *, recall=0.99, exact=false, threads=None),
        text_signature = "($self, queries, k=10, *, recall=0.99, exact=False, threads=None)"
    )]
    fn search(
        &self,
        py: Python<'_>,
        queries: &Bound<'_, PyAny>,
        k: Whole,
        recall: f64,
        exact: bool,
        threads: Option<Whole>,
    ) -> Result<PyHits> {
        let (k, pool) = (k.count("k")?, pool(threads)?);
        let dim = self.index.index().dim();
        let given = Given::read(queries, Role::QUERIES)?;
        let queries = if let Some(queries) = documents(&given, Some(dim))? {
            queries
        } else {
            let vectors = given.vectors(py, None, Some(Width { dim, by: "the index" }))?;
            Documents { starts: vec![0, vectors.len()], vectors }
        };
        let effort = if exact { Effort::Exact } else { Effort::Recall(recall) };
        let hits = interrupt::run(py, usize::MAX, &mut Progress::off(), |monitor| {
            self.index.search(&queries, k, effort, &pool, monitor)
        })?;
        Ok(PyHits::ragged(hits))
    }

    fn __len__(&self) -> usize {
        self.index.len()
    }

    fn __repr__(&self) -> String {
        let index = self.index.index();
        format!(
            "MultiVectorIndex({} documents, {} x {}, {})",
            self.index.len(),
            index.len(),
            index.dim(),
            index.metric()
        )
    }
}
