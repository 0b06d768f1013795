//! Which rows of a block are in a set.

#[allow(clippy::wildcard_imports, reason = "intrinsics are a language of their own")]
use std::arch::x86_64::*;

use crate::kernel::{packed_rows::PackedRows, scalar};

/// Numbers are cut out of the bytes where they begin, sixteen at a time, and so are their bits out of the set.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
pub(super) fn rows_in(packed: &[u8], bits: u32, first_row: u64, set: &[u64]) -> u32 {
    let Some(rows) = PackedRows::new(packed, bits, first_row, set) else {
        return scalar::rows_in(packed, bits, first_row, set);
    };
    let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let mut mask = 0;
    for from in [0, 16] {
        let lane = _mm512_add_epi32(lanes, _mm512_set1_epi32(from));
        let bit = _mm512_mullo_epi32(lane, _mm512_set1_epi32(rows.bits));
        let byte = _mm512_min_epu32(_mm512_srli_epi32::<3>(bit), _mm512_set1_epi32(rows.last_byte));
        // SAFETY: four bytes are read from each place, the last of which is four before the end.
        let four = unsafe { _mm512_i32gather_epi32::<1>(byte, packed.as_ptr().cast()) };
        let shift = _mm512_sub_epi32(bit, _mm512_slli_epi32::<3>(byte));
        let number = _mm512_and_si512(_mm512_srlv_epi32(four, shift), _mm512_set1_epi32(rows.largest));
        let row = _mm512_add_epi32(number, _mm512_set1_epi32(rows.first));
        let word = _mm512_srli_epi32::<5>(row);
        let inside = _mm512_cmplt_epu32_mask(word, _mm512_set1_epi32(rows.words));
        let nothing = _mm512_setzero_si512();
        // SAFETY: only words that the set has are read.
        let found = unsafe { _mm512_mask_i32gather_epi32::<4>(nothing, inside, word, set.as_ptr().cast()) };
        let bit_of_row =
            _mm512_sllv_epi32(_mm512_set1_epi32(1), _mm512_and_si512(row, _mm512_set1_epi32(31)));
        mask |= u32::from(_mm512_test_epi32_mask(found, bit_of_row)) << from;
    }
    mask
}
