//! Codes of several bits times a query.

#[allow(clippy::wildcard_imports, reason = "intrinsics are a language of their own")]
use std::arch::x86_64::*;

use super::{fold, load_bytes, load_part, load_signed};
use crate::{
    kernel::{groups, with_ex},
    rabitq::plane,
};

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
pub(super) fn full_dot(query: &[f32], block: &[u8], lane: usize, ex_code: &[u8], ex: u32) -> f32 {
    with_ex!(ex, EX => full_dot_of::<EX>(query, block, lane, ex_code))
}

/// A group of 64 dimensions is four registers of numbers: the first bit of each comes out of the block as a mask, the
/// others are unpacked, widened and joined with it as whole numbers.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn full_dot_of<const EX: usize>(query: &[f32], block: &[u8], lane: usize, mut ex_code: &[u8]) -> f32 {
    let column = _mm512_set1_epi8((lane % 16) as i8);
    let shift = _mm_cvtsi32_si128((lane / 16 * 4) as i32);
    let bit_of_row = _mm512_sll_epi32(_mm512_set4_epi32(8, 4, 2, 1), shift);
    let one = _mm512_set1_epi32(1 << EX);
    let mut lanes = [_mm512_setzero_ps(); 2];
    for (query, groups) in query.as_chunks::<64>().0.iter().zip(block.as_chunks::<256>().0) {
        let Some((planes, rest)) = ex_code.split_at_checked(8 * EX) else { break };
        ex_code = rest;
        let values = unpack::<EX>(planes);
        let quarters = [
            _mm512_castsi512_si128(values),
            _mm512_extracti32x4_epi32::<1>(values),
            _mm512_extracti32x4_epi32::<2>(values),
            _mm512_extracti32x4_epi32::<3>(values),
        ];
        for (p, groups) in groups.as_chunks::<64>().0.iter().enumerate() {
            let bytes = _mm512_shuffle_epi8(load_bytes(groups), column);
            let bits = _mm512_test_epi32_mask(bytes, bit_of_row);
            let value = _mm512_cvtepu8_epi32(quarters[p]);
            let value = _mm512_cvtepi32_ps(_mm512_mask_or_epi32(value, bits, value, one));
            let query = load_part(&query.as_chunks::<32>().0[p / 2], p % 2);
            lanes[p % 2] = _mm512_fmadd_ps(query, value, lanes[p % 2]);
        }
    }
    fold(lanes)
}

/// The extra bits alone, times a query of bytes: pairs of products in 16 bits, as AVX2 adds them.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
pub(super) fn ex_dot(query: &[i8], ex_code: &[u8], ex: u32) -> i32 {
    with_ex!(ex, EX => {
        let mut sum = _mm512_setzero_si512();
        for (query, planes) in groups::<EX>(query, ex_code) {
            let pairs = _mm512_maddubs_epi16(unpack::<EX>(planes), load_signed(query));
            sum = _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
        }
        _mm512_reduce_add_epi32(sum)
    })
}

/// The same in one step for four products.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn ex_dot_vnni(query: &[i8], ex_code: &[u8], ex: u32) -> i32 {
    with_ex!(ex, EX => {
        let mut sum = _mm512_setzero_si512();
        for (query, planes) in groups::<EX>(query, ex_code) {
            sum = _mm512_dpbusd_epi32(sum, unpack::<EX>(planes), load_signed(query));
        }
        _mm512_reduce_add_epi32(sum)
    })
}

/// The 64 extra values of a group in natural order, a byte each.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn unpack<const EX: usize>(planes: &[u8]) -> __m512i {
    if EX == 8 {
        return load_bytes(plane(planes, 0));
    }
    let mut values = _mm512_setzero_si512();
    if EX & 4 != 0 {
        // Each of two runs of bytes twice, once for either nibble.
        let order = _mm512_setr_epi64(0, 1, 0, 1, 2, 3, 2, 3);
        let runs = _mm512_permutexvar_epi64(order, load_half(plane(planes, 0)));
        let shifted = _mm512_srlv_epi64(runs, _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4));
        values = _mm512_and_si512(shifted, _mm512_set1_epi8(15));
    }
    if EX & 2 != 0 {
        let run = _mm512_broadcast_i32x4(load_quarter(plane(planes, 8 * (EX & 4))));
        let shifted = _mm512_srlv_epi64(run, _mm512_setr_epi64(0, 0, 2, 2, 4, 4, 6, 6));
        let pairs = _mm512_and_si512(shifted, _mm512_set1_epi8(3));
        values = _mm512_or_si512(_mm512_slli_epi16::<2>(values), pairs);
    }
    if EX & 1 != 0 {
        let bits = u64::from_le_bytes(*plane(planes, 8 * (EX & 6)));
        let doubled = _mm512_add_epi8(values, values);
        values = _mm512_mask_add_epi8(doubled, bits, doubled, _mm512_set1_epi8(1));
    }
    values
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn load_half(bytes: &[u8; 32]) -> __m512i {
    // SAFETY: the array has the 32 bytes that are read, and the load asks for no alignment.
    _mm512_castsi256_si512(unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) })
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn load_quarter(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: the array has the 16 bytes that are read, and the load asks for no alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}
