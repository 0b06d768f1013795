//! How good an answer is, and what it takes: the share of true neighbours found.

use crate::{
    error::{Error, Result},
    hits::Hits,
};

/// Distances that differ by less than this share count as one: a rerank in another order of additions is no miss.
const TIE: f32 = 1e-6;

/// The share of the `truth`'s neighbours that `found` holds, averaged over the queries that have any.
///
/// Scored by distance, as ann-benchmarks does: a row as near as the last true neighbour counts, whichever of several
/// equally near rows the truth happens to list.
///
/// # Errors
/// [`Error::InvalidParameter`] when the two do not answer the same number of queries.
pub fn recall_at_k(found: &Hits, truth: &Hits) -> Result<f64> {
    if found.num_queries() != truth.num_queries() {
        let expected = format!("{} queries, as in the truth", truth.num_queries());
        return Err(Error::invalid_parameter("found", expected, found.num_queries().to_string()));
    }
    let shares = (0..truth.num_queries()).filter_map(|query| {
        let truth = &truth.distances()[truth.of_query(query)];
        let last = truth.last()?;
        let limit = last + last.abs() * TIE;
        let hits = &found.distances()[found.of_query(query)];
        let near = hits.iter().filter(|&&distance| distance <= limit).count();
        Some(near.min(truth.len()) as f64 / truth.len() as f64)
    });
    let (sum, count) = shares.fold((0.0, 0_usize), |(sum, count), share| (sum + share, count + 1));
    Ok(if count == 0 { 1.0 } else { sum / count as f64 })
}

/// The epsilon at which the error bound alone keeps `share` of the rows that belong to an answer.
///
/// The bound is one of normal errors: a row is wrongly dropped with the probability that a standard normal exceeds
/// epsilon (RaBitQ, Gao and Long 2024, theorem 3.2; 2.9 % at the paper's 1.9).
pub fn epsilon_for(share: f64) -> f32 {
    let miss = (1.0 - share).clamp(1e-9, 0.25);
    // Tail of the normal distribution, inverted: Abramowitz and Stegun 26.2.23, absolute error below 4.5e-4.
    let t = (-2.0 * miss.ln()).sqrt();
    let numerator = 0.010_328f64.mul_add(t, 0.802_853).mul_add(t, 2.515_517);
    let denominator = 0.001_308f64.mul_add(t, 0.189_269).mul_add(t, 1.432_788).mul_add(t, 1.0);
    (t - numerator / denominator) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::{Id, IdType},
        metric::Metric,
        topk::Candidate,
    };

    fn hits(rows: &[&[f32]]) -> Hits {
        let candidate = |(at, &value): (usize, &f32)| Candidate { value, id: Id::Int64(at as i64) };
        let rows: Vec<_> =
            rows.iter().map(|row| Some(row.iter().enumerate().map(candidate).collect())).collect();
        Hits::new(IdType::Int64, Metric::L2Sq, true, &rows)
    }

    #[test]
    fn ties_count_as_found_and_surplus_does_not() {
        let truth = hits(&[&[1.0, 2.0, 2.0], &[0.0]]);
        let found = hits(&[&[2.0, 2.0, 2.0, 2.0], &[3.0]]);
        assert!((recall_at_k(&found, &truth).unwrap() - 0.5).abs() < 1e-12);
        assert!(recall_at_k(&hits(&[&[1.0]]), &truth).is_err());
    }

    #[test]
    fn epsilon_follows_the_normal_tail() {
        for (share, expected) in [(0.975, 1.960), (0.9875, 2.241), (0.9975, 2.807), (0.971, 1.896)] {
            let actual = f64::from(epsilon_for(share));
            assert!((actual - expected).abs() < 2e-3, "{share}: {actual}");
        }
        assert!(epsilon_for(1.0) > 5.5);
    }
}
