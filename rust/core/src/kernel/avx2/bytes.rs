//! Inner products of bytes.

#[allow(clippy::wildcard_imports, reason = "intrinsics are a language of their own")]
use std::arch::x86_64::*;

use super::{load_bytes, load_signed, total};
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
