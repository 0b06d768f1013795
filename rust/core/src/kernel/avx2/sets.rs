//! Which rows of a block are in a set.

#[allow(clippy::wildcard_imports, reason = "intrinsics are a language of their own")]
use std::arch::x86_64::*;

use crate::kernel::{packed_rows::PackedRows, scalar};

/// Numbers are cut out of the bytes where they begin, eight at a time, and so are their bits out of the set.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn rows_in(packed: &[u8], bits: u32, first_row: u64, set: &[u64]) -> u32 {
    let Some(rows) = PackedRows::new(packed, bits, first_row, set) else {
        return scalar::rows_in(packed, bits, first_row, set);
    };
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let mut mask = 0;
    for from in [0, 8, 16, 24] {
        let lane = _mm256_add_epi32(lanes, _mm256_set1_epi32(from));
        let bit = _mm256_mullo_epi32(lane, _mm256_set1_epi32(rows.bits));
        let byte = _mm256_min_epu32(_mm256_srli_epi32::<3>(bit), _mm256_set1_epi32(rows.last_byte));
        // SAFETY: four bytes are read from each place, the last of which is four before the end.
        let four = unsafe { _mm256_i32gather_epi32::<1>(packed.as_ptr().cast(), byte) };
        let shift = _mm256_sub_epi32(bit, _mm256_slli_epi32::<3>(byte));
        let number = _mm256_and_si256(_mm256_srlv_epi32(four, shift), _mm256_set1_epi32(rows.largest));
        let row = _mm256_add_epi32(number, _mm256_set1_epi32(rows.first));
        // Less than 2^27: the comparison of signed numbers does.
        let word = _mm256_srli_epi32::<5>(row);
        let inside = _mm256_cmpgt_epi32(_mm256_set1_epi32(rows.words), word);
        let nothing = _mm256_setzero_si256();
        // SAFETY: only words that the set has are read.
        let found = unsafe { _mm256_mask_i32gather_epi32::<4>(nothing, set.as_ptr().cast(), word, inside) };
        // The row's bit becomes the sign.
        let to_sign = _mm256_andnot_si256(row, _mm256_set1_epi32(31));
        let signs = _mm256_castsi256_ps(_mm256_sllv_epi32(found, to_sign));
        mask |= _mm256_movemask_ps(signs).cast_unsigned() << from;
    }
    mask
}
