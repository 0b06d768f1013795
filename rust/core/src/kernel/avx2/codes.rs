//! Codes of several bits times a query.

#[allow(clippy::wildcard_imports, reason = "intrinsics are a language of their own")]
use std::arch::x86_64::*;

use super::{fold, load, load_bytes, load_signed, store_bytes, total};
use crate::{
    kernel::{groups, with_ex},
    rabitq::plane,
};

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn full_dot(query: &[f32], block: &[u8], lane: usize, ex_code: &[u8], ex: u32) -> f32 {
    with_ex!(ex, EX => full_dot_of::<EX>(query, block, lane, ex_code))
}

/// A group of 64 dimensions is eight registers of numbers: the first bit of each is cut out of the block, the others
/// are unpacked and joined with it as whole numbers.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn full_dot_of<const EX: usize>(query: &[f32], block: &[u8], lane: usize, mut ex_code: &[u8]) -> f32 {
    let column = _mm256_set1_epi8((lane % 16) as i8);
    let shift = _mm_cvtsi32_si128((lane / 16 * 4) as i32);
    let bit_of_row = _mm256_sll_epi32(_mm256_setr_epi32(1, 2, 4, 8, 1, 2, 4, 8), shift);
    let one = _mm256_set1_epi32(1 << EX);
    let mut lanes = [_mm256_setzero_ps(); 4];
    for (query, groups) in query.as_chunks::<64>().0.iter().zip(block.as_chunks::<256>().0) {
        let Some((planes, rest)) = ex_code.split_at_checked(8 * EX) else { break };
        ex_code = rest;
        let ex_values = unpack::<EX>(planes).map(|half| store_bytes(half));
        let ex_values = ex_values.as_flattened().as_chunks::<8>().0;
        for (p, (query, groups)) in
            query.as_chunks::<8>().0.iter().zip(groups.as_chunks::<32>().0).enumerate()
        {
            let bytes = _mm256_shuffle_epi8(load_bytes(groups), column);
            let is_set = _mm256_cmpeq_epi32(_mm256_and_si256(bytes, bit_of_row), bit_of_row);
            let value = _mm256_or_si256(_mm256_and_si256(is_set, one), widen(ex_values[p]));
            lanes[p % 4] = _mm256_fmadd_ps(load(query), _mm256_cvtepi32_ps(value), lanes[p % 4]);
        }
    }
    fold(lanes)
}

/// The extra bits alone, times a query of bytes.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn ex_dot(query: &[i8], ex_code: &[u8], ex: u32) -> i32 {
    with_ex!(ex, EX => {
        let mut sum = _mm256_setzero_si256();
        for (query, planes) in groups::<EX>(query, ex_code) {
            for (query, half) in query.as_chunks::<32>().0.iter().zip(unpack::<EX>(planes)) {
                let pairs = _mm256_maddubs_epi16(half, load_signed(query));
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
            }
        }
        total(sum)
    })
}

/// The 64 extra values of a group in natural order, a byte each.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn unpack<const EX: usize>(planes: &[u8]) -> [__m256i; 2] {
    if EX == 8 {
        return [load_bytes(plane(planes, 0)), load_bytes(plane(planes, 32))];
    }
    let mut halves = [_mm256_setzero_si256(); 2];
    for (half, values) in halves.iter_mut().enumerate() {
        if EX & 4 != 0 {
            let run = _mm256_broadcastsi128_si256(load_half(plane(planes, 16 * half)));
            let shifted = _mm256_srlv_epi64(run, _mm256_setr_epi64x(0, 0, 4, 4));
            *values = _mm256_and_si256(shifted, _mm256_set1_epi8(15));
        }
        if EX & 2 != 0 {
            let run = _mm256_broadcastsi128_si256(load_half(plane(planes, 8 * (EX & 4))));
            let shifts = if half == 0 { (0, 2) } else { (4, 6) };
            let shifted = _mm256_srlv_epi64(run, _mm256_setr_epi64x(shifts.0, shifts.0, shifts.1, shifts.1));
            let pairs = _mm256_and_si256(shifted, _mm256_set1_epi8(3));
            *values = _mm256_or_si256(_mm256_slli_epi16::<2>(*values), pairs);
        }
        if EX & 1 != 0 {
            let bits = i32::from_le_bytes(*plane(planes, 8 * (EX & 6) + 4 * half));
            // Each byte of the bits eight times, of which each keeps its own bit.
            let byte_of_lane =
                _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303);
            let bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(bits), byte_of_lane);
            let bit_of_lane = _mm256_set1_epi64x(i64::from_le_bytes([1, 2, 4, 8, 16, 32, 64, 128]));
            let is_set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit_of_lane), bit_of_lane);
            *values = _mm256_sub_epi8(_mm256_add_epi8(*values, *values), is_set);
        }
    }
    halves
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn load_half(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: the array has the 16 bytes that are read, and the load asks for no alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

/// Eight bytes as eight whole numbers.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn widen(bytes: [u8; 8]) -> __m256i {
    _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(i64::from_le_bytes(bytes)))
}
