//! Inner products of bytes.

#[allow(clippy::wildcard_imports, reason = "intrinsics are a language of their own")]
use std::arch::aarch64::*;

use super::{add_products, load_bytes, load_signed};
use crate::kernel::scalar;

#[target_feature(enable = "neon")]
pub(super) fn byte_dots(query: &[i8], rows: &[u8], out: &mut [i32]) {
    let (steps, rest) = query.as_chunks::<16>();
    for (row, out) in rows.chunks_exact(query.len()).zip(out) {
        let mut sums = [vdupq_n_s32(0); 2];
        for (query, row) in steps.iter().zip(row.as_chunks::<16>().0) {
            sums = add_products(sums, load_signed(query), load_bytes(row));
        }
        let sum = vaddvq_s32(vaddq_s32(sums[0], sums[1]));
        *out = sum + scalar::byte_dot(rest, &row[row.len() - rest.len()..]);
    }
}
