//! FastScan: the sums of a block, the bounds.

#[allow(clippy::wildcard_imports, reason = "intrinsics are a language of their own")]
use std::arch::aarch64::*;
use std::ops::Range;

use super::{load_bytes, load_part, load_part_halves, load_u32, part, store, store_u32};
use crate::rabitq::{BLOCK, BlockBounds, BlockFactors, HalfFactors, QueryTerms};

/// How many steps of 16 dimensions a 16-bit sum takes: 256 * 252 = 64512.
const STEPS: usize = 256;

#[target_feature(enable = "neon")]
pub(super) fn scan_block(bin_code: &[u8], lut: &[u8], sums: &mut [u32; BLOCK]) {
    scan::<1>(bin_code, [lut], [sums]);
}

/// Two queries at a time: the work on the codes is done once for both.
#[target_feature(enable = "neon")]
pub(super) fn scan_queries(bin_code: &[u8], luts: &[&[u8]], sums: &mut [[u32; BLOCK]]) {
    let (luts, luts_rest) = luts.as_chunks::<2>();
    let (sums, sums_rest) = sums.as_chunks_mut::<2>();
    for (&luts, sums) in luts.iter().zip(sums) {
        scan::<2>(bin_code, luts, sums.each_mut());
    }
    for (lut, sums) in luts_rest.iter().zip(sums_rest) {
        scan::<1>(bin_code, [lut], [sums]);
    }
}

#[target_feature(enable = "neon")]
#[inline]
fn scan<const Q: usize>(bin_code: &[u8], luts: [&[u8]; Q], sums: [&mut [u32; BLOCK]; Q]) {
    let codes = bin_code.as_chunks::<64>().0;
    let mut tables: [&[[u8; 64]]; Q] = [&[]; Q];
    let mut steps = codes.len();
    for (table, lut) in tables.iter_mut().zip(luts) {
        *table = lut.as_chunks::<64>().0;
        steps = steps.min(table.len());
    }
    let mut totals = [[vdupq_n_u32(0); 8]; Q];
    for first in (0..steps).step_by(STEPS) {
        let parts = scan_steps(codes, tables, first..steps.min(first + STEPS));
        for (totals, parts) in totals.iter_mut().zip(parts) {
            for (pair, part) in totals.as_chunks_mut::<2>().0.iter_mut().zip(parts) {
                *pair = [vaddw_u16(pair[0], vget_low_u16(part)), vaddw_high_u16(pair[1], part)];
            }
        }
    }
    for (sums, totals) in sums.into_iter().zip(totals) {
        for (sums, total) in sums.as_chunks_mut::<4>().0.iter_mut().zip(totals) {
            *sums = store_u32(total);
        }
    }
}

/// The sums of 32 codes, 8 per register in the order of rows, over at most `STEPS` steps, which all slices have.
///
/// A byte gathers the four entries of a step and is widened then.
#[target_feature(enable = "neon")]
#[inline]
fn scan_steps<const Q: usize>(
    codes: &[[u8; 64]],
    tables: [&[[u8; 64]]; Q],
    steps: Range<usize>,
) -> [[uint16x8_t; 4]; Q] {
    let nibble = vdupq_n_u8(15);
    let mut sums = [[vdupq_n_u16(0); 4]; Q];
    for step in steps {
        let (mut low, mut high) = ([vdupq_n_u8(0); Q], [vdupq_n_u8(0); Q]);
        for (quarter, code) in codes[step].as_chunks::<16>().0.iter().enumerate() {
            let code = load_bytes(code);
            let (code_low, code_high) = (vandq_u8(code, nibble), vshrq_n_u8::<4>(code));
            for q in 0..Q {
                let table = load_bytes(&tables[q][step].as_chunks::<16>().0[quarter]);
                low[q] = vaddq_u8(low[q], vqtbl1q_u8(table, code_low));
                high[q] = vaddq_u8(high[q], vqtbl1q_u8(table, code_high));
            }
        }
        for q in 0..Q {
            sums[q][0] = vaddw_u8(sums[q][0], vget_low_u8(low[q]));
            sums[q][1] = vaddw_high_u8(sums[q][1], low[q]);
            sums[q][2] = vaddw_u8(sums[q][2], vget_low_u8(high[q]));
            sums[q][3] = vaddw_high_u8(sums[q][3], high[q]);
        }
    }
    sums
}

#[target_feature(enable = "neon")]
pub(super) fn bounds(
    sums: &[u32; BLOCK],
    factors: &BlockFactors<'_>,
    query: &QueryTerms,
    out: &mut BlockBounds,
) -> u32 {
    let mut mask = 0;
    for p in 0..8 {
        let values =
            [load_part(factors.f_add, p), load_part(factors.f_rescale, p), load_part(factors.f_error, p)];
        mask |= bounds_of_4(p, sums, values, query, out) << (4 * p);
    }
    mask
}

#[target_feature(enable = "neon")]
pub(super) fn bounds_f16(
    sums: &[u32; BLOCK],
    factors: &HalfFactors<'_>,
    query: &QueryTerms,
    out: &mut BlockBounds,
) -> u32 {
    let mut mask = 0;
    for p in 0..8 {
        mask |= bounds_of_4(p, sums, widen_factors(factors, p), query, out) << (4 * p);
    }
    mask
}

#[target_feature(enable = "neon")]
pub(super) fn bounds_queries(
    sums: &[[u32; BLOCK]],
    factors: &HalfFactors<'_>,
    queries: &[QueryTerms],
    out: &mut [BlockBounds],
    masks: &mut [u32],
) {
    masks.fill(0);
    for p in 0..8 {
        let values = widen_factors(factors, p);
        for (((sums, query), out), mask) in sums.iter().zip(queries).zip(&mut *out).zip(&mut *masks) {
            *mask |= bounds_of_4(p, sums, values, query, out) << (4 * p);
        }
    }
}

/// The factors of lanes `4 p .. 4 p + 4`: `f_add`, `f_rescale`, `f_error`.
#[target_feature(enable = "neon")]
#[inline]
fn widen_factors(factors: &HalfFactors<'_>, p: usize) -> [float32x4_t; 3] {
    let kinds = [factors.f_add, factors.f_rescale, factors.f_error];
    let mut values = [vdupq_n_f32(0.0); 3];
    for kind in 0..3 {
        values[kind] = vmulq_f32(load_part_halves(kinds[kind], p), vdupq_n_f32(factors.scale[kind]));
    }
    values
}

/// The bounds of lanes `4 p .. 4 p + 4`, whose factors are given, and the mask of those that may still matter.
#[target_feature(enable = "neon")]
#[inline]
fn bounds_of_4(
    p: usize,
    sums: &[u32; BLOCK],
    [f_add, f_rescale, f_error]: [float32x4_t; 3],
    query: &QueryTerms,
    out: &mut BlockBounds,
) -> u32 {
    let sums = vcvtq_f32_u32(load_u32(part(sums, p)));
    let inner = vaddq_f32(vmulq_f32(vdupq_n_f32(query.delta), sums), vdupq_n_f32(query.shift));
    let constant = vaddq_f32(f_add, vdupq_n_f32(query.g_add));
    let estimate = vaddq_f32(constant, vmulq_f32(f_rescale, inner));
    let code_error = vmulq_f32(f_error, vdupq_n_f32(query.g_error));
    let lut_error = vmulq_f32(vabsq_f32(f_rescale), vdupq_n_f32(query.slack));
    let lower = vsubq_f32(estimate, vaddq_f32(code_error, lut_error));
    out.estimate.as_chunks_mut::<4>().0[p] = store(estimate);
    out.lower.as_chunks_mut::<4>().0[p] = store(lower);
    let dropped = vcgtq_f32(lower, vdupq_n_f32(query.limit));
    vaddvq_u32(vbicq_u32(load_u32(&[1, 2, 4, 8]), dropped))
}
