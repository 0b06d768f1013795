//! How 32 codes lie in memory so that FastScan reads them in order.
//!
//! A block has 16 bytes for each group `g` of four dimensions `4 g .. 4 g + 4`. Byte `j` holds four bits of two rows:
//! row `j` in the low half, row `j + 16` in the high half, and bit `b` of a half is dimension `4 g + b`. A half is an
//! index into the 16 table entries of the group.

use super::BLOCK;

const HALF: usize = BLOCK / 2;

/// The size of one code: a bit per dimension.
pub fn code_bytes(padded_dim: usize) -> usize {
    padded_dim / 8
}

/// The size of a block of 32 codes.
pub fn block_bytes(padded_dim: usize) -> usize {
    code_bytes(padded_dim) * BLOCK
}

/// Packs the first `count` codes of `codes` (back to back, [`code_bytes`] each) into `block` ([`block_bytes`]).
///
/// Lanes from `count` on are zero.
pub fn pack_block(codes: &[u8], count: usize, padded_dim: usize, block: &mut [u8]) {
    debug_assert!(padded_dim.is_multiple_of(64) && count <= BLOCK);
    debug_assert!(codes.len() >= count * code_bytes(padded_dim) && block.len() == block_bytes(padded_dim));
    block.fill(0);
    if padded_dim < 8 {
        return;
    }
    for (row, code) in codes.chunks_exact(code_bytes(padded_dim)).take(count.min(BLOCK)).enumerate() {
        let (column, shift) = (row % HALF, row / HALF * 4);
        for (&byte, groups) in code.iter().zip(block.as_chunks_mut::<BLOCK>().0) {
            groups[column] |= (byte & 15) << shift;
            groups[column + HALF] |= (byte >> 4) << shift;
        }
    }
}

/// Takes the code of one lane (`0..32`) out of `block` ([`block_bytes`]) into `code` ([`code_bytes`]).
pub fn unpack(block: &[u8], lane: usize, padded_dim: usize, code: &mut [u8]) {
    debug_assert!(lane < BLOCK);
    debug_assert_eq!((block.len(), code.len()), (block_bytes(padded_dim), code_bytes(padded_dim)));
    let (column, shift) = (lane % HALF, lane / HALF % 2 * 4);
    for (byte, groups) in code.iter_mut().zip(block.as_chunks::<BLOCK>().0) {
        *byte = (groups[column] >> shift & 15) | (groups[column + HALF] >> shift & 15) << 4;
    }
}
