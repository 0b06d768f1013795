//! FastScan: the table of a query, the sums of a block, the bounds.

#[allow(clippy::wildcard_imports, reason = "intrinsics are a language of their own")]
use std::arch::x86_64::*;
use std::ops::Range;

use super::{load, load_bytes, load_part, load_part_halves, load_u32, part, store, store_bytes, store_u32};
use crate::{
    kernel::scalar,
    rabitq::{BLOCK, BlockBounds, BlockFactors, HalfFactors, QueryTerms},
};

/// Two groups of four dimensions a step, one in each half of a register, whose four elements are four patterns.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn subset_sums(rotated: &[f32], per_step: f32, lut: &mut [u8]) {
    let (groups, groups_rest) = rotated.as_chunks::<8>();
    let (entries, entries_rest) = lut.as_chunks_mut::<32>();
    for (groups, entries) in groups.iter().zip(entries) {
        *entries = subset_sums_of_two(_mm256_mul_ps(load(groups), _mm256_set1_ps(per_step)));
    }
    scalar::subset_sums(groups_rest, per_step, entries_rest);
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn subset_sums_of_two(values: __m256) -> [u8; 32] {
    let bit_0 = _mm256_castsi256_ps(_mm256_setr_epi32(0, -1, 0, -1, 0, -1, 0, -1));
    let bit_1 = _mm256_castsi256_ps(_mm256_setr_epi32(0, 0, -1, -1, 0, 0, -1, -1));
    let minus = _mm256_xor_ps(values, _mm256_set1_ps(-0.0));
    let depths = _mm256_max_ps(minus, _mm256_setzero_ps());
    let depths = _mm256_hadd_ps(depths, depths);
    let lowest = _mm256_hadd_ps(depths, depths);
    let sums = _mm256_add_ps(lowest, _mm256_and_ps(bit_0, _mm256_permute_ps::<0b00_00_00_00>(values)));
    let sums = _mm256_add_ps(sums, _mm256_and_ps(bit_1, _mm256_permute_ps::<0b01_01_01_01>(values)));
    let with_c = _mm256_add_ps(sums, _mm256_permute_ps::<0b10_10_10_10>(values));
    let d = _mm256_permute_ps::<0b11_11_11_11>(values);
    let low = _mm256_packus_epi32(round(sums), round(with_c));
    let high = _mm256_packus_epi32(round(_mm256_add_ps(sums, d)), round(_mm256_add_ps(with_c, d)));
    store_bytes(_mm256_min_epu8(_mm256_packus_epi16(low, high), _mm256_set1_epi8(63)))
}

/// The nearest integers, as in the scalar kernel.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn round(values: __m256) -> __m256i {
    let shifted = _mm256_add_ps(values, _mm256_set1_ps(12_582_912.0));
    _mm256_and_si256(_mm256_castps_si256(shifted), _mm256_set1_epi32(255))
}

/// How many steps of 32 dimensions a 16-bit sum takes: 2 * 128 * 252 = 64512.
const STEPS: usize = 128;

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn scan_block(bin_code: &[u8], lut: &[u8], sums: &mut [u32; BLOCK]) {
    scan::<1>(bin_code, [lut], [sums]);
}

/// Two queries at a time: the work on the codes is done once for both, and their sums just fit the registers.
#[target_feature(enable = "avx2,fma,f16c")]
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

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn scan<const Q: usize>(bin_code: &[u8], luts: [&[u8]; Q], sums: [&mut [u32; BLOCK]; Q]) {
    let codes = bin_code.as_chunks::<128>().0;
    let mut tables: [&[[u8; 128]]; Q] = [&[]; Q];
    let mut steps = codes.len();
    for (table, lut) in tables.iter_mut().zip(luts) {
        *table = lut.as_chunks::<128>().0;
        steps = steps.min(table.len());
    }
    let mut totals = [[_mm256_setzero_si256(); 4]; Q];
    for first in (0..steps).step_by(STEPS) {
        let parts = scan_steps(codes, tables, first..steps.min(first + STEPS));
        for (totals, part) in totals.iter_mut().zip(parts) {
            for (total, part) in totals.iter_mut().zip(part) {
                *total = _mm256_add_epi32(*total, part);
            }
        }
    }
    for (sums, totals) in sums.into_iter().zip(totals) {
        for (sums, total) in sums.as_chunks_mut::<8>().0.iter_mut().zip(totals) {
            *sums = store_u32(total);
        }
    }
}

/// The sums of 32 codes, 8 per register in the order of rows, over at most `STEPS` steps, which all slices have.
///
/// A byte gathers the entries of a step. Bytes then go to 16-bit sums without being taken apart: `both` gathers pairs
/// of bytes as they are, `odd` the high byte of each pair, and `both - 256 odd` is what the low bytes add up to.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn scan_steps<const Q: usize>(
    codes: &[[u8; 128]],
    tables: [&[[u8; 128]]; Q],
    steps: Range<usize>,
) -> [[__m256i; 4]; Q] {
    let nibble = _mm256_set1_epi8(15);
    let zero = _mm256_setzero_si256();
    let (mut both_low, mut both_high) = ([zero; Q], [zero; Q]);
    let (mut odd_low, mut odd_high) = ([zero; Q], [zero; Q]);
    for step in steps {
        // SAFETY: the caller has cut `steps` to what all slices have.
        let codes = unsafe { codes.get_unchecked(step) };
        let (mut low, mut high) = ([zero; Q], [zero; Q]);
        for (quarter, code) in codes.as_chunks::<32>().0.iter().enumerate() {
            let code = load_bytes(code);
            let code_low = _mm256_and_si256(code, nibble);
            let code_high = _mm256_and_si256(_mm256_srli_epi16::<4>(code), nibble);
            for q in 0..Q {
                // SAFETY: as above.
                let table = unsafe { tables[q].get_unchecked(step) };
                let table = load_bytes(&table.as_chunks::<32>().0[quarter]);
                low[q] = _mm256_add_epi8(low[q], _mm256_shuffle_epi8(table, code_low));
                high[q] = _mm256_add_epi8(high[q], _mm256_shuffle_epi8(table, code_high));
            }
        }
        for q in 0..Q {
            both_low[q] = _mm256_add_epi16(both_low[q], low[q]);
            both_high[q] = _mm256_add_epi16(both_high[q], high[q]);
            odd_low[q] = _mm256_add_epi16(odd_low[q], _mm256_srli_epi16::<8>(low[q]));
            odd_high[q] = _mm256_add_epi16(odd_high[q], _mm256_srli_epi16::<8>(high[q]));
        }
    }
    let mut sums = [[zero; 4]; Q];
    for q in 0..Q {
        let even_low = _mm256_sub_epi16(both_low[q], _mm256_slli_epi16::<8>(odd_low[q]));
        let even_high = _mm256_sub_epi16(both_high[q], _mm256_slli_epi16::<8>(odd_high[q]));
        sums[q] = widen(join_groups(even_low, even_high), join_groups(odd_low[q], odd_high[q]));
    }
    sums
}

/// The two halves of a register hold two groups of dimensions: adds them, rows 0-15 below, rows 16-31 above.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn join_groups(low: __m256i, high: __m256i) -> __m256i {
    let first = _mm256_permute2x128_si256::<0x20>(low, high);
    let second = _mm256_permute2x128_si256::<0x31>(low, high);
    _mm256_add_epi16(first, second)
}

/// 16-bit sums of even and odd rows to 32-bit sums in the order of rows.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn widen(even: __m256i, odd: __m256i) -> [__m256i; 4] {
    let rows_0_16 = _mm256_unpacklo_epi16(even, odd);
    let rows_8_24 = _mm256_unpackhi_epi16(even, odd);
    [
        _mm256_cvtepu16_epi32(_mm256_castsi256_si128(rows_0_16)),
        _mm256_cvtepu16_epi32(_mm256_castsi256_si128(rows_8_24)),
        _mm256_cvtepu16_epi32(_mm256_extracti128_si256::<1>(rows_0_16)),
        _mm256_cvtepu16_epi32(_mm256_extracti128_si256::<1>(rows_8_24)),
    ]
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn bounds(
    sums: &[u32; BLOCK],
    factors: &BlockFactors<'_>,
    query: &QueryTerms,
    out: &mut BlockBounds,
) -> u32 {
    let mut mask = 0;
    for p in 0..4 {
        let values =
            [load_part(factors.f_add, p), load_part(factors.f_rescale, p), load_part(factors.f_error, p)];
        mask |= bounds_of_8(p, sums, values, query, out) << (8 * p);
    }
    mask
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn bounds_f16(
    sums: &[u32; BLOCK],
    factors: &HalfFactors<'_>,
    query: &QueryTerms,
    out: &mut BlockBounds,
) -> u32 {
    let mut mask = 0;
    for p in 0..4 {
        mask |= bounds_of_8(p, sums, widen_factors(factors, p), query, out) << (8 * p);
    }
    mask
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn bounds_queries(
    sums: &[[u32; BLOCK]],
    factors: &HalfFactors<'_>,
    queries: &[QueryTerms],
    out: &mut [BlockBounds],
    masks: &mut [u32],
) {
    masks.fill(0);
    for p in 0..4 {
        let values = widen_factors(factors, p);
        for (((sums, query), out), mask) in sums.iter().zip(queries).zip(&mut *out).zip(&mut *masks) {
            *mask |= bounds_of_8(p, sums, values, query, out) << (8 * p);
        }
    }
}

/// The factors of lanes `8 p .. 8 p + 8`: `f_add`, `f_rescale`, `f_error`.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn widen_factors(factors: &HalfFactors<'_>, p: usize) -> [__m256; 3] {
    let kinds = [factors.f_add, factors.f_rescale, factors.f_error];
    let mut values = [_mm256_setzero_ps(); 3];
    for kind in 0..3 {
        values[kind] = _mm256_mul_ps(load_part_halves(kinds[kind], p), _mm256_set1_ps(factors.scale[kind]));
    }
    values
}

/// The bounds of lanes `8 p .. 8 p + 8`, whose factors are given, and the mask of those that may still matter.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn bounds_of_8(
    p: usize,
    sums: &[u32; BLOCK],
    [f_add, f_rescale, f_error]: [__m256; 3],
    query: &QueryTerms,
    out: &mut BlockBounds,
) -> u32 {
    let sums = _mm256_cvtepi32_ps(load_u32(part(sums, p)));
    let inner = _mm256_add_ps(_mm256_mul_ps(_mm256_set1_ps(query.delta), sums), _mm256_set1_ps(query.shift));
    let constant = _mm256_add_ps(f_add, _mm256_set1_ps(query.g_add));
    let estimate = _mm256_add_ps(constant, _mm256_mul_ps(f_rescale, inner));
    let code_error = _mm256_mul_ps(f_error, _mm256_set1_ps(query.g_error));
    let magnitude = _mm256_andnot_ps(_mm256_set1_ps(-0.0), f_rescale);
    let lut_error = _mm256_mul_ps(magnitude, _mm256_set1_ps(query.slack));
    let lower = _mm256_sub_ps(estimate, _mm256_add_ps(code_error, lut_error));
    out.estimate.as_chunks_mut::<8>().0[p] = store(estimate);
    out.lower.as_chunks_mut::<8>().0[p] = store(lower);
    let kept = _mm256_cmp_ps::<_CMP_NGT_UQ>(lower, _mm256_set1_ps(query.limit));
    _mm256_movemask_ps(kept).cast_unsigned()
}
