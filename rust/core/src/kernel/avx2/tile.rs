//! Many inner products or squared distances at once, for exact batches and for the training of centroids.

#[allow(clippy::wildcard_imports, reason = "intrinsics are a language of their own")]
use std::arch::x86_64::*;

use super::{fold_to_8, load_part, load_rest, step, store_four};

/// How many queries and rows one call of [`micro`] takes: 12 sums in registers, fed by 7 loads a step, so that the
/// multipliers are the limit and not the loads.
const QUERIES: usize = 4;
const ROWS: usize = 3;

/// Rows that stay in the first cache (half of 32 KiB) while queries pass; queries that stay in the second.
const ROW_FLOATS: usize = 4 * 1024;
const QUERY_FLOATS: usize = 64 * 1024;

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn dots_tile(queries: &[f32], rows: &[f32], dim: usize, out: &mut [f32]) {
    tile::<false, ROWS>(queries, rows, dim, out);
}

/// One row less at a time: the difference needs a register, too.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn l2sq_tile(queries: &[f32], rows: &[f32], dim: usize, out: &mut [f32]) {
    tile::<true, { ROWS - 1 }>(queries, rows, dim, out);
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn tile<const SQUARED: bool, const R: usize>(queries: &[f32], rows: &[f32], dim: usize, out: &mut [f32]) {
    let nrows = rows.len() / dim;
    let block = (QUERY_FLOATS / dim).max(1).next_multiple_of(QUERIES);
    let tile = (ROW_FLOATS / dim).max(1).next_multiple_of(R);
    for (queries, out) in queries.chunks(block * dim).zip(out.chunks_mut(block * nrows)) {
        for (index, rows) in rows.chunks(tile * dim).enumerate() {
            let first = index * tile;
            for (queries, out) in queries.chunks(QUERIES * dim).zip(out.chunks_mut(QUERIES * nrows)) {
                strip::<SQUARED, R>(queries, rows, dim, nrows, &mut out[first..]);
            }
        }
    }
}

/// Up to four queries against a tile of rows; `out` begins at the tile's first row and goes on every `stride`.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn strip<const SQUARED: bool, const R: usize>(
    queries: &[f32],
    rows: &[f32],
    dim: usize,
    stride: usize,
    out: &mut [f32],
) {
    let full = rows.chunks_exact(R * dim);
    let rest = full.remainder();
    let rest_start = (rows.len() - rest.len()) / dim;
    if queries.len() == QUERIES * dim {
        for (index, rows) in full.enumerate() {
            micro::<SQUARED, QUERIES, R>(queries, rows, dim, stride, &mut out[index * R..]);
        }
        for (index, row) in rest.chunks_exact(dim).enumerate() {
            micro::<SQUARED, QUERIES, 1>(queries, row, dim, stride, &mut out[rest_start + index..]);
        }
        return;
    }
    for (query, out) in queries.chunks_exact(dim).zip(out.chunks_mut(stride)) {
        for (index, rows) in full.clone().enumerate() {
            micro::<SQUARED, 1, R>(query, rows, dim, stride, &mut out[index * R..]);
        }
        for (index, row) in rest.chunks_exact(dim).enumerate() {
            micro::<SQUARED, 1, 1>(query, row, dim, stride, &mut out[rest_start + index..]);
        }
    }
}

/// `Q` queries times `R` rows.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn micro<const SQUARED: bool, const Q: usize, const R: usize>(
    queries: &[f32],
    rows: &[f32],
    dim: usize,
    stride: usize,
    out: &mut [f32],
) {
    let (queries, rows) = (split::<Q>(queries, dim), split::<R>(rows, dim));
    let lanes = [
        pass::<SQUARED, Q, R>(&queries, &rows, dim, 0),
        pass::<SQUARED, Q, R>(&queries, &rows, dim, 1),
        pass::<SQUARED, Q, R>(&queries, &rows, dim, 2),
        pass::<SQUARED, Q, R>(&queries, &rows, dim, 3),
    ];
    for r in 0..R {
        let mut eights = [_mm256_setzero_ps(); QUERIES];
        for q in 0..Q {
            eights[q] = fold_to_8([lanes[0][q][r], lanes[1][q][r], lanes[2][q][r], lanes[3][q][r]]);
        }
        for (q, &dot) in fold_four(eights).iter().enumerate().take(Q) {
            out[q * stride + r] = dot;
        }
    }
}

/// Four sums at once, each folded from 8 lanes to 1 as [`fold`](super::fold) does.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn fold_four(eights: [__m256; 4]) -> [f32; 4] {
    let [a, b, c, d] = eights;
    let (a, b, c, d) = (halve(a), halve(b), halve(c), halve(d));
    let ab = _mm_add_ps(_mm_movelh_ps(a, b), _mm_movehl_ps(b, a));
    let cd = _mm_add_ps(_mm_movelh_ps(c, d), _mm_movehl_ps(d, c));
    store_four(_mm_hadd_ps(ab, cd))
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn halve(eight: __m256) -> __m128 {
    _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight))
}

/// A row as its full blocks and what is left.
type Row<'a> = (&'a [[f32; 32]], &'a [f32]);

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn split<const N: usize>(rows: &[f32], dim: usize) -> [Row<'_>; N] {
    let mut split: [Row<'_>; N] = [(&[], &[]); N];
    for (index, split) in split.iter_mut().enumerate() {
        let (blocks, rest) = rows[index * dim..][..dim].as_chunks::<32>();
        *split = (&blocks[..dim / 32], rest);
    }
    split
}

/// Register `p` of the [`Lanes`](super::Lanes) of all pairs. Each of the four passes walks every fourth group of 8
/// numbers, so that one register per pair is enough and all pairs are summed at once, from the first cache.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn pass<const SQUARED: bool, const Q: usize, const R: usize>(
    queries: &[Row<'_>; Q],
    rows: &[Row<'_>; R],
    dim: usize,
    p: usize,
) -> [[__m256; R]; Q] {
    let mut sums = [[_mm256_setzero_ps(); R]; Q];
    for block in 0..dim / 32 {
        let mut row_parts = [_mm256_setzero_ps(); R];
        for (part, row) in row_parts.iter_mut().zip(rows) {
            // SAFETY: `split` cut the blocks to `dim / 32`, and `block` is below that. Checked, it is half as fast.
            *part = load_part(unsafe { row.0.get_unchecked(block) }, p);
        }
        for (sums, query) in sums.iter_mut().zip(queries) {
            // SAFETY: as above.
            let query_part = load_part(unsafe { query.0.get_unchecked(block) }, p);
            add_steps::<SQUARED, R>(query_part, &row_parts, sums);
        }
    }
    if !dim.is_multiple_of(32) {
        let mut row_parts = [_mm256_setzero_ps(); R];
        for (part, row) in row_parts.iter_mut().zip(rows) {
            *part = load_rest(row.1, p);
        }
        for (sums, query) in sums.iter_mut().zip(queries) {
            add_steps::<SQUARED, R>(load_rest(query.1, p), &row_parts, sums);
        }
    }
    sums
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn add_steps<const SQUARED: bool, const R: usize>(
    query_part: __m256,
    row_parts: &[__m256; R],
    sums: &mut [__m256; R],
) {
    for (sum, &row_part) in sums.iter_mut().zip(row_parts) {
        *sum = step::<SQUARED>(query_part, row_part, *sum);
    }
}
