//! Many inner products or squared distances at once, for exact batches and for the training of centroids.

#[allow(clippy::wildcard_imports, reason = "intrinsics are a language of their own")]
use std::arch::x86_64::*;

use super::{load_part, load_rest, step, store};

/// How many queries and rows one call of [`micro`] takes: 24 sums in registers, fed by 10 loads a step, so that the
/// multipliers are the limit and not the loads, even where each load touches two cache lines.
const QUERIES: usize = 4;
const ROWS: usize = 6;

/// Rows that stay in the first cache (half of 32 KiB) while queries pass; queries that stay in the second.
const ROW_FLOATS: usize = 4 * 1024;
const QUERY_FLOATS: usize = 64 * 1024;

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
pub(super) fn dots_tile(queries: &[f32], rows: &[f32], dim: usize, out: &mut [f32]) {
    tile::<false>(queries, rows, dim, out);
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
pub(super) fn l2sq_tile(queries: &[f32], rows: &[f32], dim: usize, out: &mut [f32]) {
    tile::<true>(queries, rows, dim, out);
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
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
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
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

/// `Q` queries times `R` rows.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn micro<const SQUARED: bool, const Q: usize, const R: usize>(
    queries: &[f32],
    rows: &[f32],
    dim: usize,
    stride: usize,
    out: &mut [f32],
) {
    let (queries, rows) = (split::<Q>(queries, dim), split::<R>(rows, dim));
    let first = pass::<SQUARED, Q, R>(&queries, &rows, dim, 0);
    let second = pass::<SQUARED, Q, R>(&queries, &rows, dim, 1);
    let mut fours = [_mm512_setzero_ps(); 8];
    for r in 0..R {
        let mut sixteens = [_mm512_setzero_ps(); QUERIES];
        for q in 0..Q {
            sixteens[q] = _mm512_add_ps(first[q][r], second[q][r]);
        }
        fours[r] = fold_to_4(sixteens);
    }
    for (group, fours) in fours.as_chunks::<4>().0.iter().enumerate() {
        let width = R.saturating_sub(4 * group).min(4);
        if width == 0 {
            break;
        }
        let dots = store(fold_to_1(*fours));
        for (q, dots) in dots.as_chunks::<4>().0.iter().enumerate().take(Q) {
            out[q * stride + 4 * group..][..width].copy_from_slice(&dots[..width]);
        }
    }
}

/// Four sums of 16 lanes folded to 4 lanes each, one in each quarter of the register.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn fold_to_4([a, b, c, d]: [__m512; 4]) -> __m512 {
    let (ab, cd) = (fold_to_8(a, b), fold_to_8(c, d));
    let low = _mm512_shuffle_f32x4::<0b10_00_10_00>(ab, cd);
    let high = _mm512_shuffle_f32x4::<0b11_01_11_01>(ab, cd);
    _mm512_add_ps(low, high)
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn fold_to_8(a: __m512, b: __m512) -> __m512 {
    let low = _mm512_shuffle_f32x4::<0b01_00_01_00>(a, b);
    let high = _mm512_shuffle_f32x4::<0b11_10_11_10>(a, b);
    _mm512_add_ps(low, high)
}

/// The end of the fold for four results of [`fold_to_4`]: quarter `q` of the answer has the sums of query `q` with
/// each of four rows.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn fold_to_1([a, b, c, d]: [__m512; 4]) -> __m512 {
    let (ab, cd) = (fold_to_2(a, b), fold_to_2(c, d));
    _mm512_add_ps(_mm512_shuffle_ps::<0b10_00_10_00>(ab, cd), _mm512_shuffle_ps::<0b11_01_11_01>(ab, cd))
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn fold_to_2(a: __m512, b: __m512) -> __m512 {
    _mm512_add_ps(_mm512_shuffle_ps::<0b01_00_01_00>(a, b), _mm512_shuffle_ps::<0b11_10_11_10>(a, b))
}

/// A row as its full blocks and what is left.
type Row<'a> = (&'a [[f32; 32]], &'a [f32]);

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn split<const N: usize>(rows: &[f32], dim: usize) -> [Row<'_>; N] {
    let mut split: [Row<'_>; N] = [(&[], &[]); N];
    for (index, split) in split.iter_mut().enumerate() {
        let (blocks, rest) = rows[index * dim..][..dim].as_chunks::<32>();
        *split = (&blocks[..dim / 32], rest);
    }
    split
}

/// Register `p` of the [`Lanes`](super::Lanes) of all pairs. Each of the two passes walks every second group of 16
/// numbers, so that one register per pair is enough and all pairs are summed at once, from the first cache.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn pass<const SQUARED: bool, const Q: usize, const R: usize>(
    queries: &[Row<'_>; Q],
    rows: &[Row<'_>; R],
    dim: usize,
    p: usize,
) -> [[__m512; R]; Q] {
    let mut sums = [[_mm512_setzero_ps(); R]; Q];
    for block in 0..dim / 32 {
        let mut row_parts = [_mm512_setzero_ps(); R];
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
        let mut row_parts = [_mm512_setzero_ps(); R];
        for (part, row) in row_parts.iter_mut().zip(rows) {
            *part = load_rest(row.1, p);
        }
        for (sums, query) in sums.iter_mut().zip(queries) {
            add_steps::<SQUARED, R>(load_rest(query.1, p), &row_parts, sums);
        }
    }
    sums
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn add_steps<const SQUARED: bool, const R: usize>(
    query_part: __m512,
    row_parts: &[__m512; R],
    sums: &mut [__m512; R],
) {
    for (sum, &row_part) in sums.iter_mut().zip(row_parts) {
        *sum = step::<SQUARED>(query_part, row_part, *sum);
    }
}
