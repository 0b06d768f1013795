//! Inner products of bytes.

#[allow(clippy::wildcard_imports, reason = "intrinsics are a language of their own")]
use std::arch::x86_64::*;

use super::load_bytes;
use crate::kernel::scalar;

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn byte_dots(query: &[i8], rows: &[u8], out: &mut [i32]) {
    let (steps, rest) = query.as_chunks::<32>();
    let ones = _mm256_set1_epi16(1);
    for (row, out) in rows.chunks_exact(query.len()).zip(out) {
        let mut sum = _mm256_setzero_si256();
        for (query, row) in steps.iter().zip(row.as_chunks::<32>().0) {
            let pairs = _mm256_maddubs_epi16(load_bytes(row), load_signed(query));
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
        }
        *out = total(sum) + scalar::byte_dot(rest, &row[row.len() - rest.len()..]);
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn total(sum: __m256i) -> i32 {
    let four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
    let two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
    _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b01>(two)))
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn load_signed(bytes: &[i8; 32]) -> __m256i {
    // SAFETY: the array has the 32 bytes that are read, and the load asks for no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}
