//! Inner products of bytes.

#[allow(clippy::wildcard_imports, reason = "intrinsics are a language of their own")]
use std::arch::aarch64::*;

use super::load_bytes;
use crate::kernel::scalar;

#[target_feature(enable = "neon")]
pub(super) fn byte_dots(query: &[i8], rows: &[u8], out: &mut [i32]) {
    let (steps, rest) = query.as_chunks::<16>();
    for (row, out) in rows.chunks_exact(query.len()).zip(out) {
        let mut sums = [vdupq_n_s32(0); 2];
        for (query, row) in steps.iter().zip(row.as_chunks::<16>().0) {
            let (query, row) = (load_signed(query), load_bytes(row));
            let parts = [
                (vmovl_s8(vget_low_s8(query)), vmovl_u8(vget_low_u8(row))),
                (vmovl_s8(vget_high_s8(query)), vmovl_u8(vget_high_u8(row))),
            ];
            for (sum, (query, row)) in sums.iter_mut().zip(parts) {
                let row = vreinterpretq_s16_u16(row);
                *sum = vmlal_s16(*sum, vget_low_s16(query), vget_low_s16(row));
                *sum = vmlal_s16(*sum, vget_high_s16(query), vget_high_s16(row));
            }
        }
        let sum = vaddvq_s32(vaddq_s32(sums[0], sums[1]));
        *out = sum + scalar::byte_dot(rest, &row[row.len() - rest.len()..]);
    }
}

#[target_feature(enable = "neon")]
#[inline]
fn load_signed(bytes: &[i8; 16]) -> int8x16_t {
    // SAFETY: the array has the 16 bytes that are read, and the load asks for no alignment.
    unsafe { vld1q_s8(bytes.as_ptr()) }
}
