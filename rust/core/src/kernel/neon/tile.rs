//! Many inner products or squared distances at once, for exact batches and for the training of centroids.

#[allow(clippy::wildcard_imports, reason = "intrinsics are a language of their own")]
use std::arch::aarch64::*;

use super::{fold, load_part, step};
use crate::kernel::scalar::zero_filled;

/// How many queries and rows one call of [`micro`] takes: 16 sums in registers, fed by 8 loads a step.
const QUERIES: usize = 4;
const ROWS: usize = 4;

/// Rows that stay in the first cache (half of 32 KiB) while queries pass; queries that stay in the second.
const ROW_FLOATS: usize = 4 * 1024;
const QUERY_FLOATS: usize = 64 * 1024;

#[target_feature(enable = "neon")]
pub(super) fn dots_tile(queries: &[f32], rows: &[f32], dim: usize, out: &mut [f32]) {
    tile::<false>(queries, rows, dim, out);
}

#[target_feature(enable = "neon")]
pub(super) fn l2sq_tile(queries: &[f32], rows: &[f32], dim: usize, out: &mut [f32]) {
    tile::<true>(queries, rows, dim, out);
}

#[target_feature(enable = "neon")]
#[inline]
fn tile<const SQUARED: bool>(queries: &[f32], rows: &[f32], dim: usize, out: &mut [f32]) {
    let nrows = rows.len() / dim;
    let block = (QUERY_FLOATS / dim).max(1).next_multiple_of(QUERIES);
    let tile = (ROW_FLOATS / dim).max(1).next_multiple_of(ROWS);
    for (queries, out) in queries.chunks(block * dim).zip(out.chunks_mut(block * nrows)) {
        for (index, rows) in rows.chunks(tile * dim).enumerate() {
            let first = index * tile;
            for (queries, out) in queries.chunks(QUERIES * dim).zip(out.chunks_mut(QUERIES * nrows)) {
                strip::<SQUARED>(queries, rows, dim, nrows, &mut out[first..]);
            }
        }
    }
}

/// Up to four queries against a tile of rows; `out` begins at the tile's first row and goes on every `stride`.
#[target_feature(enable = "neon")]
#[inline]
fn strip<const SQUARED: bool>(queries: &[f32], rows: &[f32], dim: usize, stride: usize, out: &mut [f32]) {
    let full = rows.chunks_exact(ROWS * dim);
    let rest = full.remainder();
    let rest_start = (rows.len() - rest.len()) / dim;
    if queries.len() == QUERIES * dim {
        for (index, rows) in full.enumerate() {
            micro::<SQUARED, QUERIES, ROWS>(queries, rows, dim, stride, &mut out[index * ROWS..]);
        }
        for (index, row) in rest.chunks_exact(dim).enumerate() {
            micro::<SQUARED, QUERIES, 1>(queries, row, dim, stride, &mut out[rest_start + index..]);
        }
        return;
    }
    for (query, out) in queries.chunks_exact(dim).zip(out.chunks_mut(stride)) {
        for (index, rows) in full.clone().enumerate() {
            micro::<SQUARED, 1, ROWS>(query, rows, dim, stride, &mut out[index * ROWS..]);
        }
        for (index, row) in rest.chunks_exact(dim).enumerate() {
            micro::<SQUARED, 1, 1>(query, row, dim, stride, &mut out[rest_start + index..]);
        }
    }
}

/// A row as its full blocks and what is left, filled up with zeros.
type Row<'a> = (&'a [[f32; 32]], [f32; 32]);

#[target_feature(enable = "neon")]
#[inline]
fn split<const N: usize>(rows: &[f32], dim: usize) -> [Row<'_>; N] {
    let mut split: [Row<'_>; N] = [(&[], [0.0; 32]); N];
    for (index, split) in split.iter_mut().enumerate() {
        let (blocks, rest) = rows[index * dim..][..dim].as_chunks::<32>();
        *split = (&blocks[..dim / 32], zero_filled(rest));
    }
    split
}

/// `Q` queries times `R` rows.
///
/// Each of the eight passes walks every eighth group of 4 numbers, so that one register per pair is enough and all
/// pairs are summed at once, from the first cache.
#[target_feature(enable = "neon")]
#[inline]
fn micro<const SQUARED: bool, const Q: usize, const R: usize>(
    queries: &[f32],
    rows: &[f32],
    dim: usize,
    stride: usize,
    out: &mut [f32],
) {
    let (queries, rows) = (split::<Q>(queries, dim), split::<R>(rows, dim));
    let mut lanes = [[[vdupq_n_f32(0.0); R]; Q]; 8];
    for (p, lanes) in lanes.iter_mut().enumerate() {
        *lanes = pass::<SQUARED, Q, R>(&queries, &rows, dim, p);
    }
    for q in 0..Q {
        for r in 0..R {
            let mut of_pair = [vdupq_n_f32(0.0); 8];
            for (of_pair, lanes) in of_pair.iter_mut().zip(&lanes) {
                *of_pair = lanes[q][r];
            }
            out[q * stride + r] = fold(of_pair);
        }
    }
}

#[target_feature(enable = "neon")]
#[inline]
fn pass<const SQUARED: bool, const Q: usize, const R: usize>(
    queries: &[Row<'_>; Q],
    rows: &[Row<'_>; R],
    dim: usize,
    p: usize,
) -> [[float32x4_t; R]; Q] {
    let mut sums = [[vdupq_n_f32(0.0); R]; Q];
    for block in 0..dim / 32 {
        let mut row_parts = [vdupq_n_f32(0.0); R];
        for (part, row) in row_parts.iter_mut().zip(rows) {
            // SAFETY: `split` cut the blocks to `dim / 32`, and `block` is below that.
            *part = load_part(unsafe { row.0.get_unchecked(block) }, p);
        }
        for (sums, query) in sums.iter_mut().zip(queries) {
            // SAFETY: as above.
            let query_part = load_part(unsafe { query.0.get_unchecked(block) }, p);
            add_steps::<SQUARED, R>(query_part, &row_parts, sums);
        }
    }
    if !dim.is_multiple_of(32) {
        let mut row_parts = [vdupq_n_f32(0.0); R];
        for (part, row) in row_parts.iter_mut().zip(rows) {
            *part = load_part(&row.1, p);
        }
        for (sums, query) in sums.iter_mut().zip(queries) {
            add_steps::<SQUARED, R>(load_part(&query.1, p), &row_parts, sums);
        }
    }
    sums
}

#[target_feature(enable = "neon")]
#[inline]
fn add_steps<const SQUARED: bool, const R: usize>(
    query_part: float32x4_t,
    row_parts: &[float32x4_t; R],
    sums: &mut [float32x4_t; R],
) {
    for (sum, &row_part) in sums.iter_mut().zip(row_parts) {
        *sum = step::<SQUARED>(query_part, row_part, *sum);
    }
}
