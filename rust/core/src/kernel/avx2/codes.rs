//! Codes of several bits times a query.

#[allow(clippy::wildcard_imports, reason = "intrinsics are a language of their own")]
use std::arch::x86_64::*;

use super::{fold, load, load_bytes};
use crate::{kernel::with_ex, rabitq::plane};

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
        for (p, (query, groups)) in
            query.as_chunks::<8>().0.iter().zip(groups.as_chunks::<32>().0).enumerate()
        {
            let bytes = _mm256_shuffle_epi8(load_bytes(groups), column);
            let is_set = _mm256_cmpeq_epi32(_mm256_and_si256(bytes, bit_of_row), bit_of_row);
            let value = _mm256_or_si256(_mm256_and_si256(is_set, one), unpack::<EX>(planes, p));
            lanes[p % 4] = _mm256_fmadd_ps(load(query), _mm256_cvtepi32_ps(value), lanes[p % 4]);
        }
    }
    fold(lanes)
}

/// The extra values `8 p .. 8 p + 8` of a group.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn unpack<const EX: usize>(planes: &[u8], p: usize) -> __m256i {
    if EX == 8 {
        return widen(*plane(planes, 8 * p));
    }
    let mut values = _mm256_setzero_si256();
    if EX & 4 != 0 {
        let bytes = widen(*plane(planes, 16 * (p / 4) + 8 * (p % 2)));
        let low = p & 2 == 0;
        values =
            if low { _mm256_and_si256(bytes, _mm256_set1_epi32(15)) } else { _mm256_srli_epi32::<4>(bytes) };
    }
    if EX & 2 != 0 {
        let bytes = widen(*plane(planes, 8 * (EX & 4) + 8 * (p % 2)));
        let shifted = match p / 2 {
            0 => bytes,
            1 => _mm256_srli_epi32::<2>(bytes),
            2 => _mm256_srli_epi32::<4>(bytes),
            _ => _mm256_srli_epi32::<6>(bytes),
        };
        let pairs = _mm256_and_si256(shifted, _mm256_set1_epi32(3));
        values = _mm256_or_si256(_mm256_slli_epi32::<2>(values), pairs);
    }
    if EX & 1 != 0 {
        let [byte] = *plane(planes, 8 * (EX & 6) + p);
        let bit_of_lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
        let bits = _mm256_and_si256(_mm256_set1_epi32(i32::from(byte)), bit_of_lane);
        let is_set = _mm256_cmpeq_epi32(bits, bit_of_lane);
        values = _mm256_sub_epi32(_mm256_slli_epi32::<1>(values), is_set);
    }
    values
}

/// Eight bytes as eight whole numbers.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn widen(bytes: [u8; 8]) -> __m256i {
    _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(i64::from_le_bytes(bytes)))
}
