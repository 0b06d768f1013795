//! The distance between two vectors of each row: the pairwise operator.

use arrow_array::Float32Array;

use crate::{
    distance::Prepared,
    error::{Error, Result},
    kernel::Kernels,
    metric::Metric,
    monitor::Monitor,
    pool::Pool,
    vectors::Vectors,
};

/// Pairs measured by one task.
const ROWS_PER_TASK: usize = 4 * 1024;

/// The distance of each row of `queries` to the same row of `vectors`; null where either is null. A column of one row is
/// paired with every row of the other. The bits are those of an exact search for `queries` among `vectors`.
///
/// # Errors
/// [`Error::DimensionMismatch`] for columns of different widths, [`Error::InvalidParameter`] for columns of different
/// lengths, [`Error::InvalidVector`] for NaN or infinity, [`Error::Interrupted`] when the monitor says so.
pub fn distances(
    queries: &Vectors,
    vectors: &Vectors,
    metric: Metric,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<Float32Array> {
    vectors.expect_dim(queries.column(), queries.dim())?;
    let rows = match (queries.len(), vectors.len()) {
        (a, b) if a == b => a,
        (1, rows) | (rows, 1) => rows,
        (expected, actual) => {
            let expected = format!("{expected} rows, as {} has, or one", queries.column());
            return Err(Error::invalid_parameter(vectors.column(), expected, actual.to_string()));
        }
    };
    let kernels = Kernels::detect()?;
    let tasks = pool.map(rows.div_ceil(ROWS_PER_TASK), |task| {
        if monitor.interrupted() {
            return Err(Error::Interrupted);
        }
        let span = task * ROWS_PER_TASK..((task + 1) * ROWS_PER_TASK).min(rows);
        let mut pairs = Pairs::new(kernels, metric, queries, vectors)?;
        span.map(|row| pairs.distance(row)).collect::<Result<Vec<_>>>()
    })?;
    Ok(tasks.into_iter().flatten().collect())
}

/// One pair after the other, with the same buffers.
struct Pairs<'a> {
    kernels: Kernels,
    metric: Metric,
    queries: &'a Vectors,
    vectors: &'a Vectors,
    /// The query, where there is only one.
    only: Option<Prepared>,
    scratch: Vec<f32>,
}

impl<'a> Pairs<'a> {
    fn new(kernels: Kernels, metric: Metric, queries: &'a Vectors, vectors: &'a Vectors) -> Result<Self> {
        let mut pairs =
            Self { kernels, metric, queries, vectors, only: None, scratch: vec![0.0; vectors.dim()] };
        if queries.len() == 1 && !queries.is_null(0) {
            pairs.only = Some(pairs.prepare(0)?);
        }
        Ok(pairs)
    }

    fn prepare(&mut self, row: usize) -> Result<Prepared> {
        let query = self.queries.finite_row(row, &mut self.scratch)?;
        Ok(Prepared::new(self.kernels, self.metric, query))
    }

    fn distance(&mut self, row: usize) -> Result<Option<f32>> {
        let at = |column: &Vectors| if column.len() == 1 { 0 } else { row };
        let (query, vector) = (at(self.queries), at(self.vectors));
        if self.queries.is_null(query) || self.vectors.is_null(vector) {
            return Ok(None);
        }
        let own = if self.only.is_none() { Some(self.prepare(query)?) } else { None };
        // The distance to NaN would come out as 0.
        let vector = self.vectors.finite_row(vector, &mut self.scratch)?;
        Ok(self.only.as_ref().or(own.as_ref()).map(|query| query.distance(self.kernels, vector)))
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{ArrayRef, FixedSizeListArray, types::Float32Type};

    use super::*;
    use crate::{exact, monitor::Unwatched, random::SplitMix64};

    fn rows(rows: usize, dim: usize, seed: u64) -> Vectors {
        let mut random = SplitMix64::new(seed);
        let values: Vec<f32> = (0..rows * dim).map(|_| random.unit_f64() as f32 - 0.5).collect();
        Vectors::from_f32("v", dim, values.into()).unwrap()
    }

    fn pairs(a: &Vectors, b: &Vectors, metric: Metric) -> Result<Vec<Option<f32>>> {
        Ok(distances(a, b, metric, &Pool::Inline, &Unwatched)?.iter().collect())
    }

    #[test]
    fn bit_for_bit_those_of_an_exact_search() {
        let (table, kernels) = (rows(50, 37, 1), Kernels::detect().unwrap());
        for metric in Metric::ALL {
            let query = rows(1, 37, 2);
            let column = exact::Column { vectors: &table, ids: None };
            let hits =
                exact::search(&column, &query, metric, 50, kernels, &Pool::Inline, &Unwatched).unwrap();
            let measured = pairs(&query, &table, metric).unwrap();
            for (at, distance) in hits.distances().iter().enumerate() {
                let crate::ids::Id::Int64(row) = hits.ids().get(at) else { unreachable!() };
                assert_eq!(measured[row as usize].map(f32::to_bits), Some(distance.to_bits()), "{metric}");
            }
        }
    }

    #[test]
    fn rows_are_paired_and_one_row_with_all() {
        let column = |values: &[f32]| Vectors::from_f32("v", 2, values.to_vec().into()).unwrap();
        let (a, b) = (column(&[0.0, 0.0, 3.0, 4.0]), column(&[3.0, 4.0, 3.0, 4.0]));
        assert_eq!(pairs(&a, &b, Metric::L2).unwrap(), [Some(5.0), Some(0.0)]);
        let one = column(&[0.0, 0.0]);
        assert_eq!(pairs(&one, &b, Metric::L2).unwrap(), [Some(5.0), Some(5.0)]);
        assert_eq!(pairs(&b, &one, Metric::L2).unwrap(), [Some(5.0), Some(5.0)]);
    }

    #[test]
    fn null_rows_have_no_distance_and_bad_ones_are_refused() {
        let some = |values: [f32; 2]| Some(values.map(Some));
        let list = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>([some([0.0, 1.0]), None], 2);
        let a = Vectors::from_arrays("a", &[std::sync::Arc::new(list) as ArrayRef], Some(2)).unwrap();
        let b = Vectors::from_f32("b", 2, vec![0.0, 0.0, 1.0, 1.0].into()).unwrap();
        assert_eq!(pairs(&a, &b, Metric::L2Sq).unwrap(), [Some(1.0), None]);
        let bad = Vectors::from_f32("b", 2, vec![0.0, 0.0, 1.0, f32::NAN].into()).unwrap();
        assert_eq!(pairs(&a, &bad, Metric::L2Sq).unwrap(), [Some(1.0), None], "nothing is measured there");
        let error = pairs(&b, &bad, Metric::L2Sq).unwrap_err().to_string();
        assert_eq!(error, "b, row 1: element 1 is NaN, expected a finite number");
        let short = Vectors::from_f32("c", 2, vec![0.0; 6].into()).unwrap();
        let error = pairs(&b, &short, Metric::L2Sq).unwrap_err().to_string();
        assert_eq!(error, "c: expected 2 rows, as b has, or one, got 3");
        let wide = Vectors::from_f32("c", 3, vec![0.0; 6].into()).unwrap();
        let error = pairs(&b, &wide, Metric::L2Sq).unwrap_err().to_string();
        assert_eq!(error, "dimension mismatch: b has 2, c has 3");
    }
}
