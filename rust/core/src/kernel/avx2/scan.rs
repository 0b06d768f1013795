//! FastScan: the table of a query, the sums of a block, the bounds.

#[allow(clippy::wildcard_imports, reason = "intrinsics are a language of their own")]
use std::arch::x86_64::*;

use super::{load, load_bytes, load_part, load_u32, part, store, store_bytes, store_u32};
use crate::{
    kernel::scalar,
    rabitq::{BLOCK, BlockBounds, BlockFactors, QueryTerms},
};

/// Two groups of four dimensions a step, one in each half of a register, whose four elements are four patterns.
#[target_feature(enable = "avx2,fma")]
pub(super) fn subset_sums(rotated: &[f32], per_step: f32, lut: &mut [u8]) {
    let (groups, groups_rest) = rotated.as_chunks::<8>();
    let (entries, entries_rest) = lut.as_chunks_mut::<32>();
    for (groups, entries) in groups.iter().zip(entries) {
        *entries = subset_sums_of_two(_mm256_mul_ps(load(groups), _mm256_set1_ps(per_step)));
    }
    scalar::subset_sums(groups_rest, per_step, entries_rest);
}

#[target_feature(enable = "avx2,fma")]
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
#[target_feature(enable = "avx2,fma")]
#[inline]
fn round(values: __m256) -> __m256i {
    let shifted = _mm256_add_ps(values, _mm256_set1_ps(12_582_912.0));
    _mm256_and_si256(_mm256_castps_si256(shifted), _mm256_set1_epi32(255))
}

/// How many steps of 32 dimensions a 16-bit sum takes: 2 * 128 * 252 = 64512.
const STEPS: usize = 128;

#[target_feature(enable = "avx2,fma")]
pub(super) fn scan_block(bin_code: &[u8], lut: &[u8], sums: &mut [u32; BLOCK]) {
    let codes = bin_code.as_chunks::<128>().0;
    let tables = lut.as_chunks::<128>().0;
    let mut totals = [_mm256_setzero_si256(); 4];
    for (codes, tables) in codes.chunks(STEPS).zip(tables.chunks(STEPS)) {
        let part = scan_steps(codes, tables);
        for (total, part) in totals.iter_mut().zip(part) {
            *total = _mm256_add_epi32(*total, part);
        }
    }
    for (sums, total) in sums.as_chunks_mut::<8>().0.iter_mut().zip(totals) {
        *sums = store_u32(total);
    }
}

/// The sums of 32 codes, 8 per register in the order of rows, over at most `STEPS` steps.
///
/// A byte gathers the entries of a step. Bytes then go to 16-bit sums without being taken apart: `both` gathers pairs
/// of bytes as they are, `odd` the high byte of each pair, and `both - 256 odd` is what the low bytes add up to.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn scan_steps(codes: &[[u8; 128]], tables: &[[u8; 128]]) -> [__m256i; 4] {
    let nibble = _mm256_set1_epi8(15);
    let zero = _mm256_setzero_si256();
    let (mut both_low, mut both_high, mut odd_low, mut odd_high) = (zero, zero, zero, zero);
    for (codes, tables) in codes.iter().zip(tables) {
        let (mut low, mut high) = (zero, zero);
        for (code, table) in codes.as_chunks::<32>().0.iter().zip(tables.as_chunks::<32>().0) {
            let (code, table) = (load_bytes(code), load_bytes(table));
            let code_high = _mm256_and_si256(_mm256_srli_epi16::<4>(code), nibble);
            low = _mm256_add_epi8(low, _mm256_shuffle_epi8(table, _mm256_and_si256(code, nibble)));
            high = _mm256_add_epi8(high, _mm256_shuffle_epi8(table, code_high));
        }
        both_low = _mm256_add_epi16(both_low, low);
        both_high = _mm256_add_epi16(both_high, high);
        odd_low = _mm256_add_epi16(odd_low, _mm256_srli_epi16::<8>(low));
        odd_high = _mm256_add_epi16(odd_high, _mm256_srli_epi16::<8>(high));
    }
    let even_low = _mm256_sub_epi16(both_low, _mm256_slli_epi16::<8>(odd_low));
    let even_high = _mm256_sub_epi16(both_high, _mm256_slli_epi16::<8>(odd_high));
    widen(join_groups(even_low, even_high), join_groups(odd_low, odd_high))
}

/// The two halves of a register hold two groups of dimensions: adds them, rows 0-15 below, rows 16-31 above.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn join_groups(low: __m256i, high: __m256i) -> __m256i {
    let first = _mm256_permute2x128_si256::<0x20>(low, high);
    let second = _mm256_permute2x128_si256::<0x31>(low, high);
    _mm256_add_epi16(first, second)
}

/// 16-bit sums of even and odd rows to 32-bit sums in the order of rows.
#[target_feature(enable = "avx2,fma")]
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

#[target_feature(enable = "avx2,fma")]
pub(super) fn bounds(
    sums: &[u32; BLOCK],
    factors: &BlockFactors<'_>,
    query: &QueryTerms,
    out: &mut BlockBounds,
) -> u32 {
    let (delta, shift) = (_mm256_set1_ps(query.delta), _mm256_set1_ps(query.shift));
    let (g_add, g_error) = (_mm256_set1_ps(query.g_add), _mm256_set1_ps(query.g_error));
    let (slack, limit) = (_mm256_set1_ps(query.slack), _mm256_set1_ps(query.limit));
    let minus = _mm256_set1_ps(-0.0);
    let mut mask = 0;
    for p in 0..4 {
        let sums = _mm256_cvtepi32_ps(load_u32(part(sums, p)));
        let inner = _mm256_add_ps(_mm256_mul_ps(delta, sums), shift);
        let rescale = load_part(factors.f_rescale, p);
        let constant = _mm256_add_ps(load_part(factors.f_add, p), g_add);
        let estimate = _mm256_add_ps(constant, _mm256_mul_ps(rescale, inner));
        let code_error = _mm256_mul_ps(load_part(factors.f_error, p), g_error);
        let lut_error = _mm256_mul_ps(_mm256_andnot_ps(minus, rescale), slack);
        let lower = _mm256_sub_ps(estimate, _mm256_add_ps(code_error, lut_error));
        out.estimate.as_chunks_mut::<8>().0[p] = store(estimate);
        out.lower.as_chunks_mut::<8>().0[p] = store(lower);
        let kept = _mm256_cmp_ps::<_CMP_NGT_UQ>(lower, limit);
        mask |= _mm256_movemask_ps(kept).cast_unsigned() << (8 * p);
    }
    mask
}
