//! Row numbers of blocks, in as few bits as they take.

use std::ops::Range;

use arrow_buffer::Buffer;

use crate::rabitq::BLOCK;

/// 32 numbers of so many bits for each block, one after the other from the lowest bit of the first byte: `4 bits` bytes a
/// block. In a table of a million rows that is 2.5 bytes a row and not 4, of about 40 that a row of 128 dimensions takes.
#[derive(Clone, Debug, PartialEq)]
pub struct RowNumbers {
    bits: u32,
    bytes: Buffer,
}

impl RowNumbers {
    /// Packs the numbers of whole blocks, as narrow as the largest of them allows.
    pub fn pack(numbers: &[u32]) -> Self {
        let largest = numbers.iter().fold(0, |bits, number| bits | number);
        Self::pack_in((u32::BITS - largest.leading_zeros()).max(1), numbers)
    }

    /// The same in `bits`, which hold all of them.
    fn pack_in(bits: u32, numbers: &[u32]) -> Self {
        let mut bytes = Vec::with_capacity(numbers.len() / BLOCK * block_bytes(bits));
        for block in numbers.as_chunks::<BLOCK>().0 {
            let (mut held, mut count) = (0_u64, 0);
            for &number in block {
                held |= u64::from(number) << count;
                count += bits;
                if count >= u32::BITS {
                    bytes.extend_from_slice(&(held as u32).to_le_bytes());
                    held >>= u32::BITS;
                    count -= u32::BITS;
                }
            }
        }
        Self { bits, bytes: Buffer::from_vec(bytes) }
    }

    /// Numbers that were packed before; `None` if the bytes are no whole number of blocks.
    pub fn from_packed(bits: u32, bytes: Buffer) -> Option<Self> {
        let fits = (1..=u32::BITS).contains(&bits) && bytes.len().is_multiple_of(block_bytes(bits));
        fits.then_some(Self { bits, bytes })
    }

    /// Bits of each number, 1 to 32.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// The packed numbers.
    pub fn packed(&self) -> &Buffer {
        &self.bytes
    }

    /// The number of blocks.
    pub fn blocks(&self) -> usize {
        self.bytes.len() / block_bytes(self.bits)
    }

    /// The number in `slot`, block times 32 plus lane.
    pub fn get(&self, slot: usize) -> u32 {
        let bit = slot * self.bits as usize;
        let bytes = &self.bytes[bit / 8..];
        // At most 7 bits of others before it: 39 bits are in 5 bytes.
        let mut eight = [0; 8];
        if let Some(first) = bytes.first_chunk() {
            eight = *first;
        } else {
            eight[..bytes.len()].copy_from_slice(bytes);
        }
        (u64::from_le_bytes(eight) >> (bit % 8)) as u32 & u32::MAX >> (u32::BITS - self.bits)
    }

    /// The numbers of one block; zeros beyond the last one.
    pub fn block(&self, block: usize) -> [u32; BLOCK] {
        unpack(self.packed_block(block), self.bits)
    }

    /// The same as they lie; nothing beyond the last one.
    pub fn packed_block(&self, block: usize) -> &[u8] {
        let bytes = block_bytes(self.bits);
        self.bytes.get(block * bytes..(block + 1) * bytes).unwrap_or_default()
    }

    /// Some blocks, where they lie.
    #[must_use]
    pub fn slice(&self, blocks: Range<usize>) -> Self {
        let each = block_bytes(self.bits);
        Self {
            bits: self.bits,
            bytes: self.bytes.slice_with_length(blocks.start * each, blocks.len() * each),
        }
    }

    /// The same numbers in at least `bits` each; nothing is copied if they are so already.
    #[must_use]
    pub fn widened(&self, bits: u32) -> Self {
        if bits <= self.bits {
            return self.clone();
        }
        let numbers: Vec<u32> = (0..self.blocks()).flat_map(|block| self.block(block)).collect();
        Self::pack_in(bits, &numbers)
    }
}

/// The numbers of a block of `bits` (1 to 32) each; zeros where the bytes end.
pub(crate) fn unpack(packed: &[u8], bits: u32) -> [u32; BLOCK] {
    let mut numbers = [0; BLOCK];
    let mut words = packed.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word));
    let mask = u32::MAX >> (u32::BITS - bits);
    let (mut held, mut count) = (0_u64, 0);
    for number in &mut numbers {
        if count < bits {
            held |= u64::from(words.next().unwrap_or(0)) << count;
            count += u32::BITS;
        }
        *number = held as u32 & mask;
        held >>= bits;
        count -= bits;
    }
    numbers
}

/// Bytes of a block whose numbers have so many bits.
pub fn block_bytes(bits: u32) -> usize {
    BLOCK / 8 * bits as usize
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn numbers_lie_in_the_order_that_the_format_says() {
        let mut numbers = [0; BLOCK];
        (numbers[0], numbers[1], numbers[2], numbers[31]) = (0b101, 0b011, 0b110, 0b111);
        let rows = RowNumbers::pack(&numbers);
        assert_eq!((rows.bits(), rows.packed().len()), (3, 12));
        assert_eq!(rows.packed()[..2], [0b1001_1101, 0b1]);
        assert_eq!(rows.packed()[11], 0b1110_0000);
        assert_eq!(RowNumbers::pack(&[0; BLOCK]).bits(), 1);
        assert_eq!(RowNumbers::pack(&[u32::MAX; BLOCK]).packed()[..], [255; 128]);
        assert_eq!(RowNumbers::pack(&[]).blocks(), 0);
    }

    #[test]
    fn only_whole_blocks_are_taken() {
        assert!(RowNumbers::from_packed(3, Buffer::from_vec(vec![0_u8; 24])).is_some());
        for (bits, len) in [(3, 23), (0, 0), (33, 132), (32, 127)] {
            assert!(RowNumbers::from_packed(bits, Buffer::from_vec(vec![0_u8; len])).is_none());
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_is_found(
            bits in 1_u32..=32, raw in vec(vec(any::<u32>(), BLOCK), 1..5), wider in 1_u32..=32,
        ) {
            let numbers: Vec<u32> = raw.concat().into_iter().map(|number| number >> (32 - bits)).collect();
            let rows = RowNumbers::pack(&numbers);
            prop_assert!(rows.bits() <= bits && rows.blocks() == raw.len());
            let again = RowNumbers::from_packed(rows.bits(), rows.packed().clone()).unwrap();
            for rows in [again, rows.widened(wider), rows.widened(32)] {
                let found: Vec<u32> = (0..numbers.len()).map(|slot| rows.get(slot)).collect();
                prop_assert_eq!(&found, &numbers);
                let blocks: Vec<u32> = (0..rows.blocks()).flat_map(|block| rows.block(block)).collect();
                prop_assert_eq!(&blocks, &numbers);
                let last = rows.slice(raw.len() - 1..raw.len());
                prop_assert_eq!(last.block(0), numbers.last_chunk().copied().unwrap_or_default());
                prop_assert_eq!(last.block(1), [0; BLOCK]);
            }
        }
    }
}
