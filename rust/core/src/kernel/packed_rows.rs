//! A block of packed row numbers as instructions take it.

use crate::rabitq::BLOCK;

/// What [`Kernels::rows_in`](super::Kernels::rows_in) needs to know, in numbers of 32 bits with a sign.
pub(super) struct PackedRows {
    pub(super) bits: i32,
    /// The last place from which four bytes can be read. Numbers that begin later lie in those.
    pub(super) last_byte: i32,
    /// The largest number.
    pub(super) largest: i32,
    pub(super) first: i32,
    /// Halves of the set's words.
    pub(super) words: i32,
}

impl PackedRows {
    /// `None` where a number that begins inside of a byte would not lie in four, and for rows beyond 32 bits.
    #[inline]
    pub(super) fn new(packed: &[u8], bits: u32, first_row: u64, set: &[u64]) -> Option<Self> {
        const WIDEST: u32 = 25;
        let largest = (1_u64 << bits) - 1;
        let fits = bits <= WIDEST
            && packed.len() >= BLOCK / 8 * bits as usize
            && first_row.checked_add(largest)? <= u32::MAX.into();
        fits.then_some(Self {
            bits: bits.cast_signed(),
            last_byte: (4 * bits - 4).cast_signed(),
            largest: largest as i32,
            first: (first_row as u32).cast_signed(),
            words: i32::try_from(2 * set.len()).unwrap_or(i32::MAX),
        })
    }
}
