//! Codes of several bits times a query.

#[allow(clippy::wildcard_imports, reason = "intrinsics are a language of their own")]
use std::arch::x86_64::*;

use super::{fold, load_bytes, load_bytes_wide, load_part};
use crate::{kernel::with_ex, rabitq::plane};

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
pub(super) fn full_dot(query: &[f32], block: &[u8], lane: usize, ex_code: &[u8], ex: u32) -> f32 {
    with_ex!(ex, EX => full_dot_of::<EX>(query, block, lane, ex_code))
}

/// A group of 64 dimensions is four registers of numbers: the first bit of each comes out of the block as a mask, the
/// others are unpacked and joined with it as whole numbers.
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
        let ex_values = unpack::<EX>(planes);
        for (p, groups) in groups.as_chunks::<64>().0.iter().enumerate() {
            let bytes = _mm512_shuffle_epi8(load_bytes(groups), column);
            let bits = _mm512_test_epi32_mask(bytes, bit_of_row);
            let value = _mm512_cvtepi32_ps(_mm512_mask_or_epi32(ex_values[p], bits, ex_values[p], one));
            let query = load_part(&query.as_chunks::<32>().0[p / 2], p % 2);
            lanes[p % 2] = _mm512_fmadd_ps(query, value, lanes[p % 2]);
        }
    }
    fold(lanes)
}

/// The 64 extra values of a group in natural order, 16 a register.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn unpack<const EX: usize>(planes: &[u8]) -> [__m512i; 4] {
    let mut values = [_mm512_setzero_si512(); 4];
    if EX == 8 {
        for (p, value) in values.iter_mut().enumerate() {
            *value = load_bytes_wide(plane(planes, 16 * p));
        }
    }
    if EX & 4 != 0 {
        let nibble = _mm512_set1_epi32(15);
        let (a, b) = (load_bytes_wide(plane(planes, 0)), load_bytes_wide(plane(planes, 16)));
        values = [
            _mm512_and_si512(a, nibble),
            _mm512_srli_epi32::<4>(a),
            _mm512_and_si512(b, nibble),
            _mm512_srli_epi32::<4>(b),
        ];
    }
    if EX & 2 != 0 {
        let pair = _mm512_set1_epi32(3);
        let bytes = load_bytes_wide(plane(planes, 8 * (EX & 4)));
        let pairs = [
            bytes,
            _mm512_srli_epi32::<2>(bytes),
            _mm512_srli_epi32::<4>(bytes),
            _mm512_srli_epi32::<6>(bytes),
        ];
        for (value, pairs) in values.iter_mut().zip(pairs) {
            *value = _mm512_or_si512(_mm512_slli_epi32::<2>(*value), _mm512_and_si512(pairs, pair));
        }
    }
    if EX & 1 != 0 {
        let one = _mm512_set1_epi32(1);
        let bits = u64::from_le_bytes(*plane(planes, 8 * (EX & 6)));
        for (p, value) in values.iter_mut().enumerate() {
            let doubled = _mm512_slli_epi32::<1>(*value);
            *value = _mm512_mask_or_epi32(doubled, (bits >> (16 * p)) as u16, doubled, one);
        }
    }
    values
}
