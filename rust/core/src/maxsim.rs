//! Documents of several vectors each, compared vector by vector: late interaction, as ColBERT has it.
//!
//! The distance of a document to a query, both several vectors, is the sum over the query's vectors of the distance to
//! the document's nearest. With the inner product that is minus the MaxSim score. An index over the vectors of all
//! documents finds the documents that are near to some vector of the query; these are compared exactly.

use std::{collections::BTreeSet, ops::Range};

use crate::{
    distance::Prepared,
    error::{Error, Result},
    exact::check_k,
    hits::Hits,
    ids::{Id, IdType, Ids},
    index::{BuildParams, Effort, Index, SearchParams},
    metric::Metric,
    monitor::Monitor,
    pool::Pool,
    topk::{Candidate, TopK},
    vectors::Vectors,
};

/// For each vector of a query, so many neighbours per document that is asked for are looked at, and at least that many.
const PER_HIT: usize = 8;
const AT_LEAST: usize = 128;

/// A column of which each row is a list of vectors.
#[derive(Clone, Debug)]
pub struct Documents {
    /// All vectors, document after document.
    pub vectors: Vectors,
    /// Where each document's vectors start, and their number at the end.
    pub starts: Vec<usize>,
}

impl Documents {
    /// The number of documents.
    pub fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn span(&self, document: usize) -> Range<usize> {
        self.starts[document]..self.starts[document + 1]
    }
}

/// An index over documents of several vectors.
#[derive(Debug)]
pub struct MultiIndex {
    index: Index,
    documents: Documents,
    ids: Option<Ids>,
}

impl MultiIndex {
    /// Builds an index that borrows the documents' vectors. A document without vectors is never found.
    ///
    /// # Errors
    /// As [`Index::build`]; [`Error::InvalidParameter`] when there is not one id per document.
    pub fn build(
        documents: Documents,
        ids: Option<Ids>,
        params: &BuildParams,
        pool: &Pool,
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        if let Some(ids) = ids.as_ref().filter(|ids| ids.len() != documents.len()) {
            let expected = format!("one id per document ({})", documents.len());
            return Err(Error::invalid_parameter("ids", expected, format!("{} ids", ids.len())));
        }
        let index = Index::build(documents.vectors.clone(), None, params, pool, monitor)?;
        Ok(Self { index, documents, ids })
    }

    /// The index over all vectors; its ids are their row numbers.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The number of documents.
    pub fn len(&self) -> usize {
        self.documents.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    /// The `k` nearest documents of each query, by exact distances, best first. [`Effort::Exact`] compares all documents;
    /// otherwise those that have a vector among the neighbours of some vector of the query, found with that effort.
    ///
    /// # Errors
    /// As [`Index::search`].
    pub fn search(
        &self,
        queries: &Documents,
        k: usize,
        effort: Effort,
        pool: &Pool,
        monitor: &dyn Monitor,
    ) -> Result<Hits> {
        check_k(k)?;
        let depth = k.saturating_mul(PER_HIT).max(AT_LEAST);
        let params = SearchParams { k: depth, effort, ..SearchParams::default() };
        // Refuses what cannot be meant, also where nothing is looked for below.
        let none = queries.vectors.gather(&[])?;
        self.index.search(&none, &params, pool, monitor)?;
        let rows = (0..queries.len()).map(|query| {
            let rows: Vec<usize> = queries.vectors.valid_rows(queries.span(query)).collect();
            let query = queries.vectors.gather(&rows)?;
            let near: Vec<usize> = if effort == Effort::Exact {
                (0..self.len()).collect()
            } else {
                self.near(&self.index.search(&query, &params, pool, monitor)?)
            };
            self.compare(&query, &near, k, pool, monitor).map(Some)
        });
        let rows = rows.collect::<Result<Vec<_>>>()?;
        let id_type = self.ids.as_ref().map_or(IdType::Int64, Ids::id_type);
        Ok(Hits::new(id_type, Metric::Ip, true, &rows))
    }

    /// The documents that the vectors found belong to.
    fn near(&self, hits: &Hits) -> Vec<usize> {
        let documents: BTreeSet<usize> = (0..hits.len())
            .filter_map(|at| match hits.ids().get(at) {
                Id::Int64(row) => {
                    Some(self.documents.starts.partition_point(|&start| start <= row as usize) - 1)
                }
                _ => None,
            })
            .collect();
        documents.into_iter().collect()
    }

    fn compare(
        &self,
        query: &Vectors,
        documents: &[usize],
        k: usize,
        pool: &Pool,
        monitor: &dyn Monitor,
    ) -> Result<Vec<Candidate<'_>>> {
        const AT_ONCE: usize = 64;
        let (metric, kernels) = (self.index.metric(), self.index.router().kernels());
        let mut widened = vec![0.0; query.dim()];
        let prepared: Vec<Prepared> = (0..query.len())
            .map(|row| Prepared::new(kernels, metric, query.row(row, &mut widened)))
            .collect();
        let values = pool.map(documents.len().div_ceil(AT_ONCE), |task| {
            if monitor.interrupted() {
                return Err(Error::Interrupted);
            }
            let mut scratch = vec![0.0; query.dim()];
            let documents = &documents[task * AT_ONCE..((task + 1) * AT_ONCE).min(documents.len())];
            let distance = |&document: &usize| {
                let mut nearest = vec![f32::INFINITY; prepared.len()];
                for row in self.documents.vectors.valid_rows(self.documents.span(document)) {
                    let vector = self.documents.vectors.row(row, &mut scratch);
                    for (nearest, query) in nearest.iter_mut().zip(&prepared) {
                        *nearest = nearest.min(query.distance(kernels, vector));
                    }
                }
                nearest.iter().sum::<f32>()
            };
            Ok(documents.iter().map(distance).collect::<Vec<f32>>())
        })?;
        let mut best = TopK::new(k);
        for (&document, &value) in documents.iter().zip(values.iter().flatten()) {
            if value < f32::INFINITY {
                let id = self.ids.as_ref().map_or(Id::Int64(document as i64), |ids| ids.get(document));
                best.push(Candidate { value, id });
            }
        }
        Ok(best.into_sorted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Unwatched, random::SplitMix64};

    fn documents(count: usize, dim: usize, seed: u64) -> Documents {
        let mut random = SplitMix64::new(seed);
        let mut starts = vec![0];
        for document in 0..count {
            starts.push(starts[document] + random.below(6) as usize);
        }
        let values: Vec<f32> = (0..starts[count] * dim).map(|_| random.unit_f64() as f32 - 0.5).collect();
        Documents { vectors: Vectors::from_f32("v", dim, values.into()).unwrap(), starts }
    }

    #[test]
    fn a_document_is_as_near_as_its_vectors_are() {
        let (table, queries) = (documents(400, 16, 1), documents(20, 16, 2));
        for metric in Metric::ALL {
            let params = BuildParams { metric, ..BuildParams::default() };
            let index = MultiIndex::build(table.clone(), None, &params, &Pool::Inline, &Unwatched).unwrap();
            let ask = |effort| index.search(&queries, 5, effort, &Pool::Inline, &Unwatched).unwrap();
            let (exact, found) = (ask(Effort::Exact), ask(Effort::Recall(0.99)));
            let recall = crate::recall::recall_at_k(&found, &exact).unwrap();
            assert!(recall > 0.95, "{metric}: {recall}");
            let query = (0..20).find(|&query| queries.span(query).len() > 1).unwrap();
            let best = exact.of_query(query).start;
            let Id::Int64(document) = exact.ids().get(best) else { unreachable!("row numbers") };
            let (mut a, mut b) = (vec![0.0; 16], vec![0.0; 16]);
            let kernels = index.index().router().kernels();
            let sum: f32 = queries
                .span(query)
                .map(|row| {
                    let query = Prepared::new(kernels, metric, queries.vectors.row(row, &mut a));
                    let rows = table.span(document as usize);
                    let near = rows.map(|row| query.distance(kernels, table.vectors.row(row, &mut b)));
                    near.fold(f32::INFINITY, f32::min)
                })
                .sum();
            assert_eq!(exact.distances()[best].to_bits(), sum.to_bits());
        }
    }
}
