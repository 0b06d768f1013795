//! FastScan: the table of a query, the sums of a block, the bounds.

#[allow(clippy::wildcard_imports, reason = "intrinsics are a language of their own")]
use std::arch::x86_64::*;
use std::ops::Range;

use super::{load, load_bytes, load_part, load_part_halves, load_u32, part, store, store_bytes, store_u32};
use crate::{
    kernel::scalar,
    rabitq::{BLOCK, BlockBounds, BlockFactors, HalfFactors, QueryTerms},
};

/// Four groups of four dimensions a step, one in each quarter of a register, whose four elements are four patterns.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
pub(super) fn subset_sums(rotated: &[f32], per_step: f32, lut: &mut [u8]) {
    let (groups, groups_rest) = rotated.as_chunks::<16>();
    let (entries, entries_rest) = lut.as_chunks_mut::<64>();
    for (groups, entries) in groups.iter().zip(entries) {
        *entries = subset_sums_of_four(_mm512_mul_ps(load(groups), _mm512_set1_ps(per_step)));
    }
    scalar::subset_sums(groups_rest, per_step, entries_rest);
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn subset_sums_of_four(values: __m512) -> [u8; 64] {
    let (bit_0, bit_1) = (0b1010_1010_1010_1010, 0b1100_1100_1100_1100);
    let depths = _mm512_max_ps(_mm512_xor_ps(values, _mm512_set1_ps(-0.0)), _mm512_setzero_ps());
    let depths = _mm512_add_ps(depths, _mm512_permute_ps::<0b10_11_00_01>(depths));
    let lowest = _mm512_add_ps(depths, _mm512_permute_ps::<0b01_00_11_10>(depths));
    let a = _mm512_permute_ps::<0b00_00_00_00>(values);
    let b = _mm512_permute_ps::<0b01_01_01_01>(values);
    let sums = _mm512_mask_add_ps(lowest, bit_0, lowest, a);
    let sums = _mm512_mask_add_ps(sums, bit_1, sums, b);
    let with_c = _mm512_add_ps(sums, _mm512_permute_ps::<0b10_10_10_10>(values));
    let d = _mm512_permute_ps::<0b11_11_11_11>(values);
    let low = _mm512_packus_epi32(round(sums), round(with_c));
    let high = _mm512_packus_epi32(round(_mm512_add_ps(sums, d)), round(_mm512_add_ps(with_c, d)));
    store_bytes(_mm512_min_epu8(_mm512_packus_epi16(low, high), _mm512_set1_epi8(63)))
}

/// The nearest integers, as in the scalar kernel.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn round(values: __m512) -> __m512i {
    let shifted = _mm512_add_ps(values, _mm512_set1_ps(12_582_912.0));
    _mm512_and_si512(_mm512_castps_si512(shifted), _mm512_set1_epi32(255))
}

/// How many steps of 64 dimensions a 16-bit sum takes: 4096 / 4 * 63 = 64512.
const STEPS: usize = 64;

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
pub(super) fn scan_block(bin_code: &[u8], lut: &[u8], sums: &mut [u32; BLOCK]) {
    scan::<1>(bin_code, [lut], [sums]);
}

/// Four queries at a time: the work on the codes is done once for all, and their sums just fit the registers.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
pub(super) fn scan_queries(bin_code: &[u8], luts: &[&[u8]], sums: &mut [[u32; BLOCK]]) {
    let (fours, luts) = luts.as_chunks::<4>();
    let (sums_of_fours, sums) = sums.as_chunks_mut::<4>();
    for (&luts, sums) in fours.iter().zip(sums_of_fours) {
        scan::<4>(bin_code, luts, sums.each_mut());
    }
    let (twos, luts) = luts.as_chunks::<2>();
    let (sums_of_twos, sums) = sums.as_chunks_mut::<2>();
    for (&luts, sums) in twos.iter().zip(sums_of_twos) {
        scan::<2>(bin_code, luts, sums.each_mut());
    }
    for (lut, sums) in luts.iter().zip(sums) {
        scan::<1>(bin_code, [lut], [sums]);
    }
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn scan<const Q: usize>(bin_code: &[u8], luts: [&[u8]; Q], sums: [&mut [u32; BLOCK]; Q]) {
    let codes = bin_code.as_chunks::<256>().0;
    let mut tables: [&[[u8; 256]]; Q] = [&[]; Q];
    let mut steps = codes.len();
    for (table, lut) in tables.iter_mut().zip(luts) {
        *table = lut.as_chunks::<256>().0;
        steps = steps.min(table.len());
    }
    let mut totals = [[_mm512_setzero_si512(); 2]; Q];
    for first in (0..steps).step_by(STEPS) {
        let parts = scan_steps(codes, tables, first..steps.min(first + STEPS));
        for (totals, part) in totals.iter_mut().zip(parts) {
            let low = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(part));
            let high = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64::<1>(part));
            *totals = [_mm512_add_epi32(totals[0], low), _mm512_add_epi32(totals[1], high)];
        }
    }
    for (sums, totals) in sums.into_iter().zip(totals) {
        for (sums, total) in sums.as_chunks_mut::<16>().0.iter_mut().zip(totals) {
            *sums = store_u32(total);
        }
    }
}

/// The sums of 32 codes in the order of rows, 16 bits each, over at most `STEPS` steps, which all slices have.
///
/// A byte gathers the four entries of a step. Bytes then go to 16-bit sums without being taken apart: `both` gathers
/// pairs of bytes as they are, `odd` the high byte of each pair.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn scan_steps<const Q: usize>(
    codes: &[[u8; 256]],
    tables: [&[[u8; 256]]; Q],
    steps: Range<usize>,
) -> [__m512i; Q] {
    let nibble = _mm512_set1_epi8(15);
    let zero = _mm512_setzero_si512();
    let (mut both_low, mut both_high) = ([zero; Q], [zero; Q]);
    let (mut odd_low, mut odd_high) = ([zero; Q], [zero; Q]);
    for step in steps {
        // SAFETY: the caller has cut `steps` to what all slices have.
        let codes = unsafe { codes.get_unchecked(step) };
        let (mut low, mut high) = ([zero; Q], [zero; Q]);
        for (quarter, code) in codes.as_chunks::<64>().0.iter().enumerate() {
            let code = load_bytes(code);
            let code_low = _mm512_and_si512(code, nibble);
            let code_high = _mm512_and_si512(_mm512_srli_epi16::<4>(code), nibble);
            for q in 0..Q {
                // SAFETY: as above.
                let table = unsafe { tables[q].get_unchecked(step) };
                let table = load_bytes(&table.as_chunks::<64>().0[quarter]);
                low[q] = _mm512_add_epi8(low[q], _mm512_shuffle_epi8(table, code_low));
                high[q] = _mm512_add_epi8(high[q], _mm512_shuffle_epi8(table, code_high));
            }
        }
        for q in 0..Q {
            both_low[q] = _mm512_add_epi16(both_low[q], low[q]);
            both_high[q] = _mm512_add_epi16(both_high[q], high[q]);
            odd_low[q] = _mm512_add_epi16(odd_low[q], _mm512_srli_epi16::<8>(low[q]));
            odd_high[q] = _mm512_add_epi16(odd_high[q], _mm512_srli_epi16::<8>(high[q]));
        }
    }
    let mut sums = [zero; Q];
    for q in 0..Q {
        sums[q] = in_order(join_pairs(both_low[q], both_high[q]), join_pairs(odd_low[q], odd_high[q]));
    }
    sums
}

/// The four quarters of a register hold four groups of dimensions: adds them in pairs, rows 0-15 below, 16-31 above.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn join_pairs(low: __m512i, high: __m512i) -> __m512i {
    let first = _mm512_shuffle_i64x2::<0b01_00_01_00>(low, high);
    let second = _mm512_shuffle_i64x2::<0b11_10_11_10>(low, high);
    _mm512_add_epi16(first, second)
}

/// Where the sum of each row is after the last addition of [`in_order`]: even rows first, then odd ones.
const ROW_PLACES: [u16; BLOCK] = {
    let mut places = [0; BLOCK];
    let mut row = 0;
    while row < BLOCK {
        places[row] = (row / 2 + row % 2 * 16) as u16;
        row += 1;
    }
    places
};

/// Adds what [`join_pairs`] left, takes the even rows out of `both`, and puts all in the order of rows.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn in_order(both: __m512i, odd: __m512i) -> __m512i {
    let even = _mm512_sub_epi16(both, _mm512_slli_epi16::<8>(odd));
    let first = _mm512_shuffle_i64x2::<0b10_00_10_00>(even, odd);
    let second = _mm512_shuffle_i64x2::<0b11_01_11_01>(even, odd);
    // SAFETY: the array has the 64 bytes that are read, and the load asks for no alignment.
    let places = unsafe { _mm512_loadu_si512(ROW_PLACES.as_ptr().cast()) };
    _mm512_permutexvar_epi16(places, _mm512_add_epi16(first, second))
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
pub(super) fn bounds(
    sums: &[u32; BLOCK],
    factors: &BlockFactors<'_>,
    query: &QueryTerms,
    out: &mut BlockBounds,
) -> u32 {
    let mut mask = 0;
    for p in 0..2 {
        let values =
            [load_part(factors.f_add, p), load_part(factors.f_rescale, p), load_part(factors.f_error, p)];
        mask |= bounds_of_16(p, sums, values, query, out) << (16 * p);
    }
    mask
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
pub(super) fn bounds_f16(
    sums: &[u32; BLOCK],
    factors: &HalfFactors<'_>,
    query: &QueryTerms,
    out: &mut BlockBounds,
) -> u32 {
    let mut mask = 0;
    for p in 0..2 {
        mask |= bounds_of_16(p, sums, widen_factors(factors, p), query, out) << (16 * p);
    }
    mask
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
pub(super) fn bounds_queries(
    sums: &[[u32; BLOCK]],
    factors: &HalfFactors<'_>,
    queries: &[QueryTerms],
    out: &mut [BlockBounds],
    masks: &mut [u32],
) {
    masks.fill(0);
    for p in 0..2 {
        let values = widen_factors(factors, p);
        for (((sums, query), out), mask) in sums.iter().zip(queries).zip(&mut *out).zip(&mut *masks) {
            *mask |= bounds_of_16(p, sums, values, query, out) << (16 * p);
        }
    }
}

/// The factors of lanes `16 p .. 16 p + 16`: `f_add`, `f_rescale`, `f_error`.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn widen_factors(factors: &HalfFactors<'_>, p: usize) -> [__m512; 3] {
    let kinds = [factors.f_add, factors.f_rescale, factors.f_error];
    let mut values = [_mm512_setzero_ps(); 3];
    for kind in 0..3 {
        values[kind] = _mm512_mul_ps(load_part_halves(kinds[kind], p), _mm512_set1_ps(factors.scale[kind]));
    }
    values
}

/// The bounds of lanes `16 p .. 16 p + 16`, whose factors are given, and the mask of those that may still matter.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn bounds_of_16(
    p: usize,
    sums: &[u32; BLOCK],
    [f_add, f_rescale, f_error]: [__m512; 3],
    query: &QueryTerms,
    out: &mut BlockBounds,
) -> u32 {
    let sums = _mm512_cvtepi32_ps(load_u32(part(sums, p)));
    let inner = _mm512_add_ps(_mm512_mul_ps(_mm512_set1_ps(query.delta), sums), _mm512_set1_ps(query.shift));
    let constant = _mm512_add_ps(f_add, _mm512_set1_ps(query.g_add));
    let estimate = _mm512_add_ps(constant, _mm512_mul_ps(f_rescale, inner));
    let code_error = _mm512_mul_ps(f_error, _mm512_set1_ps(query.g_error));
    let lut_error = _mm512_mul_ps(_mm512_abs_ps(f_rescale), _mm512_set1_ps(query.slack));
    let lower = _mm512_sub_ps(estimate, _mm512_add_ps(code_error, lut_error));
    out.estimate.as_chunks_mut::<16>().0[p] = store(estimate);
    out.lower.as_chunks_mut::<16>().0[p] = store(lower);
    u32::from(_mm512_cmp_ps_mask::<_CMP_NGT_UQ>(lower, _mm512_set1_ps(query.limit)))
}
