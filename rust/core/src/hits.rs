//! Answers, as Arrow: the only door by which they leave.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, Float32Array, Int32Array, Int64Array, LargeListArray, RecordBatch, StructArray,
    cast::AsArray, make_array, types::Float32Type,
};
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};

use crate::{
    error::{Error, Result},
    ids::{IdType, Ids},
    metric::Metric,
    topk::{Candidate, merge_topk},
};

/// The neighbours of a batch of queries.
#[derive(Clone, Debug)]
pub struct Hits {
    ids: Ids,
    distances: ScalarBuffer<f32>,
    /// Where each query's hits start, and the number of hits at the end.
    offsets: Vec<i64>,
    nulls: Option<NullBuffer>,
    exact: bool,
}

impl Hits {
    /// Hits from one list of candidates per query, best first; `None` is a query row that held no vector.
    pub fn new(id_type: IdType, metric: Metric, exact: bool, rows: &[Option<Vec<Candidate<'_>>>]) -> Self {
        let mut offsets = vec![0];
        offsets.extend(rows.iter().scan(0, |end, row| {
            *end += row.as_ref().map_or(0, |hits| hits.len() as i64);
            Some(*end)
        }));
        let finish = |hit: &Candidate<'_>| metric.finish(hit.value) + 0.0;
        let mut all: Vec<Candidate<'_>> =
            rows.iter().flatten().flatten().map(|hit| Candidate { value: finish(hit), id: hit.id }).collect();
        // A distance is rounded: values that differ may have become one, and its ties are the id's to decide.
        for span in offsets.windows(2) {
            all[span[0] as usize..span[1] as usize].sort_unstable();
        }
        let valid: Vec<bool> = rows.iter().map(Option::is_some).collect();
        Self::from_parts(id_type, exact, offsets, &all, valid)
    }

    /// The `k` best of two answers to the same queries, over tables that share no row.
    #[must_use]
    pub fn merge(&self, other: &Self, k: usize) -> Self {
        let (mut offsets, mut all) = (vec![0], Vec::new());
        for query in 0..self.num_queries().min(other.num_queries()) {
            let parts = [self, other].map(|hits| {
                let candidate = |at| Candidate { value: hits.distances[at], id: hits.ids.get(at) };
                hits.of_query(query).map(candidate).collect()
            });
            all.extend(merge_topk(k, parts));
            offsets.push(all.len() as i64);
        }
        let valid = (0..offsets.len() - 1).map(|query| self.is_valid(query)).collect();
        Self::from_parts(self.ids.id_type(), self.exact && other.exact, offsets, &all, valid)
    }

    /// The answer to one query, from final distances, best first.
    pub(crate) fn from_distances(id_type: IdType, exact: bool, hits: &[Candidate<'_>]) -> Self {
        Self::from_parts(id_type, exact, vec![0, hits.len() as i64], hits, vec![true])
    }

    /// The hits whose distance is at most `radius`.
    #[must_use]
    pub fn up_to(&self, radius: f32) -> Self {
        self.pick(|_, at| self.distances[at] <= radius, usize::MAX)
    }

    /// At most `k` hits per query, without the one whose id is the query's own.
    #[must_use]
    pub fn without_own(&self, own: &Ids, k: usize) -> Self {
        self.pick(|query, at| self.ids.get(at) != own.get(query), k)
    }

    fn pick(&self, keep: impl Fn(usize, usize) -> bool, k: usize) -> Self {
        let (mut offsets, mut all) = (vec![0], Vec::new());
        for query in 0..self.num_queries() {
            let kept = self.of_query(query).filter(|&at| keep(query, at)).take(k);
            all.extend(kept.map(|at| Candidate { value: self.distances[at], id: self.ids.get(at) }));
            offsets.push(all.len() as i64);
        }
        let valid = (0..self.num_queries()).map(|query| self.is_valid(query)).collect();
        Self::from_parts(self.ids.id_type(), self.exact, offsets, &all, valid)
    }

    /// The answers to several batches of queries, one batch after the other; `None` without any.
    pub fn concat(parts: &[Self]) -> Option<Self> {
        let id_type = parts.first()?.ids.id_type();
        let (mut offsets, mut all, mut valid) = (vec![0], Vec::new(), Vec::new());
        for part in parts {
            for query in 0..part.num_queries() {
                let hits = part.of_query(query);
                all.extend(hits.map(|at| Candidate { value: part.distances[at], id: part.ids.get(at) }));
                offsets.push(all.len() as i64);
                valid.push(part.is_valid(query));
            }
        }
        Some(Self::from_parts(id_type, parts.iter().all(Self::is_exact), offsets, &all, valid))
    }

    fn is_valid(&self, query: usize) -> bool {
        self.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(query))
    }

    /// From final distances, sorted within each query.
    fn from_parts(
        id_type: IdType,
        exact: bool,
        offsets: Vec<i64>,
        all: &[Candidate<'_>],
        valid: Vec<bool>,
    ) -> Self {
        let nulls = NullBuffer::from(valid);
        Self {
            ids: Ids::collect(id_type, all.iter().map(|hit| hit.id)),
            distances: all.iter().map(|hit| hit.value).collect(),
            offsets,
            nulls: (nulls.null_count() > 0).then_some(nulls),
            exact,
        }
    }

    /// The number of queries, null ones included.
    pub fn num_queries(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The number of hits of all queries together.
    pub fn len(&self) -> usize {
        self.distances.len()
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the distances are the metric's own values and not estimates.
    pub fn is_exact(&self) -> bool {
        self.exact
    }

    /// The ids of all hits, query after query, best first.
    pub fn ids(&self) -> &Ids {
        &self.ids
    }

    /// The distances of all hits, in the order of [`Hits::ids`].
    pub fn distances(&self) -> &ScalarBuffer<f32> {
        &self.distances
    }

    /// The hits of one query, as a range into [`Hits::ids`] and [`Hits::distances`].
    pub fn of_query(&self, query: usize) -> std::ops::Range<usize> {
        self.offsets[query] as usize..self.offsets[query + 1] as usize
    }

    /// The columns of the long form: `query_row`, `rank` (0 is the nearest), `id`, `distance`.
    pub fn schema(id_type: IdType) -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("query_row", DataType::Int64, false),
            Field::new("rank", DataType::Int32, false),
            Field::new("id", id_type.data_type(), false),
            Field::new("distance", DataType::Float32, false),
        ]))
    }

    /// The long form: one row per hit.
    ///
    /// # Errors
    /// None in practice; Arrow's own check of the columns is passed on.
    pub fn to_batch(&self) -> Result<RecordBatch> {
        let spans = || (0..self.num_queries()).map(|query| (query, self.of_query(query)));
        let query_rows = spans().flat_map(|(query, span)| span.map(move |_| query as i64));
        let ranks = spans().flat_map(|(_, span)| 0..span.len() as i32);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(query_rows)),
            Arc::new(Int32Array::from_iter_values(ranks)),
            self.id_array(),
            Arc::new(Float32Array::new(self.distances.clone(), None)),
        ];
        Ok(RecordBatch::try_new(Self::schema(self.ids.id_type()), columns)?)
    }

    /// The type of the nested form: `LargeList<Struct{id, distance}>`.
    pub fn nested_type(id_type: IdType) -> DataType {
        DataType::LargeList(Arc::new(Field::new("item", DataType::Struct(hit_fields(id_type)), true)))
    }

    /// The nested form: one list per query, null where the query row was null.
    ///
    /// # Errors
    /// None in practice; Arrow's own check of the columns is passed on.
    pub fn to_nested(&self) -> Result<LargeListArray> {
        let fields = hit_fields(self.ids.id_type());
        let distances = Arc::new(Float32Array::new(self.distances.clone(), None));
        let hits = StructArray::try_new(fields.clone(), vec![self.id_array(), distances], None)?;
        let item = Arc::new(Field::new("item", DataType::Struct(fields), true));
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets.clone()));
        Ok(LargeListArray::try_new(item, offsets, Arc::new(hits), self.nulls.clone())?)
    }

    /// Hits that were told in the nested form, by somebody who also knows whether they are exact.
    ///
    /// # Errors
    /// [`Error::InvalidType`] if it is another form.
    pub fn from_nested(nested: &LargeListArray, exact: bool) -> Result<Self> {
        let wrong = || Error::InvalidType {
            column: "hits".into(),
            expected: "lists of structs of id and distance (float)".into(),
            actual: nested.data_type().to_string(),
        };
        let hits = nested.values().as_struct_opt().ok_or_else(wrong)?;
        let (ids, distances) = (hits.column_by_name("id"), hits.column_by_name("distance"));
        let distances = distances.and_then(|column| column.as_primitive_opt::<Float32Type>());
        let (ids, distances) = ids.zip(distances).ok_or_else(wrong)?;
        let offsets = nested.value_offsets();
        let (start, end) = (offsets[0], offsets[nested.len()]);
        let (from, rows) = (start as usize, (end - start) as usize);
        Ok(Self {
            ids: Ids::from_list("id", &[ids.slice(from, rows)])?,
            distances: distances.values().slice(from, rows),
            offsets: offsets[..=nested.len()].iter().map(|offset| offset - start).collect(),
            nulls: nested.nulls().cloned(),
            exact,
        })
    }

    fn id_array(&self) -> ArrayRef {
        make_array(self.ids.as_array().to_data())
    }
}

fn hit_fields(id_type: IdType) -> Fields {
    Fields::from(vec![
        Field::new("id", id_type.data_type(), true),
        Field::new("distance", DataType::Float32, true),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Id;

    fn sample() -> Hits {
        let hit = |value, id| Candidate { value, id: Id::Int64(id) };
        let rows = [Some(vec![hit(1.0, 7), hit(4.0, 1 << 40)]), None, Some(vec![])];
        Hits::new(IdType::Int64, Metric::L2, true, &rows)
    }

    #[test]
    fn long_form_has_one_row_per_hit() {
        let batch = sample().to_batch().unwrap();
        assert_eq!(batch.num_rows(), 2);
        assert_eq!(batch.column(2).as_ref(), &Int64Array::from(vec![7, 1 << 40]) as &dyn Array);
        assert_eq!(batch.column(3).as_ref(), &Float32Array::from(vec![1.0, 2.0]) as &dyn Array);
    }

    #[test]
    fn distances_that_rounding_made_equal_are_ordered_by_id() {
        let hit = |value, id| Candidate { value, id: Id::Int64(id) };
        let rows = [Some(vec![hit(1e-9, 9), hit(2e-9, 3), hit(0.5, 1)]), Some(vec![hit(-0.0, 0)])];
        let hits = Hits::new(IdType::Int64, Metric::Cosine, true, &rows);
        assert_eq!((hits.ids().get(0), hits.ids().get(1)), (Id::Int64(3), Id::Int64(9)));
        assert_eq!(hits.distances()[..], [1.0, 1.0, 1.5, 1.0]);
    }

    #[test]
    fn nested_form_keeps_null_queries_apart_from_empty_ones() {
        let nested = sample().to_nested().unwrap();
        assert_eq!((nested.len(), nested.null_count()), (3, 1));
        assert!(nested.is_null(1));
        assert_eq!(nested.value_length(2), 0);
    }

    #[test]
    fn nested_form_is_read_back_and_a_slice_of_it_too() {
        let nested = sample().to_nested().unwrap();
        let whole = Hits::from_nested(&nested, true).unwrap();
        assert_eq!(whole.to_nested().unwrap(), nested);
        let hit = |value, id| Candidate { value, id: Id::Int64(id) };
        let rows = [Some(vec![hit(1.0, 7)]), Some(vec![hit(2.0, 8), hit(3.0, 9)])];
        let two = Hits::new(IdType::Int64, Metric::L2Sq, false, &rows).to_nested().unwrap();
        let last = Hits::from_nested(&two.slice(1, 1), false).unwrap();
        assert_eq!((last.num_queries(), last.of_query(0), last.ids().get(0)), (1, 0..2, Id::Int64(8)));
        let flat = LargeListArray::new_null(Arc::new(Field::new("item", DataType::Int64, true)), 1);
        assert!(matches!(Hits::from_nested(&flat, true), Err(Error::InvalidType { .. })));
    }
}
