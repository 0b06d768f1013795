//! How the extra bits of one code lie in memory, so that SIMD unpacks them in the order of dimensions.
//!
//! A code of `1 + ex` bits per dimension is a bit in a block of 32 ([`pack_block`](super::pack_block)) and a value of
//! `ex` bits here, where each code lies by itself: few rows get this far, and each is read alone.
//!
//! Dimensions come in groups of 64, `8 ex` bytes each. A group is cut into planes of 8, 4, 2 and 1 bits, those that
//! add up to `ex`, the widest first: it holds the top bits of the values, the next plane the bits below, and so on.
//!
//! - A plane of `w` = 8, 4 or 2 bits is runs of 16 bytes, `8 / w` values to a byte: byte `j` of run `r` holds, from its
//!   lowest bits up, the values `16 n + j` for `n` from `r * 8 / w` on. One load of 16 bytes, shifts and masks give 16
//!   values each.
//! - A plane of 1 bit is 8 bytes: bit `i % 8` of byte `i / 8` is value `i`.

/// How many dimensions are packed together.
const GROUP: usize = 64;

/// The size of the extra part of one code of `ex` (1 to 8) bits per dimension.
pub fn ex_bytes(padded_dim: usize, ex: u32) -> usize {
    padded_dim / 8 * ex as usize
}

/// Packs `values` (`padded_dim` of them, each below `2^ex`) into `out` ([`ex_bytes`]).
pub fn pack_ex(values: &[u8], ex: u32, out: &mut [u8]) {
    debug_assert!(ex <= 8 && values.len().is_multiple_of(GROUP));
    debug_assert!(values.iter().all(|&value| u32::from(value) >> ex == 0));
    debug_assert_eq!(out.len(), ex_bytes(values.len(), ex));
    out.fill(0);
    if ex == 0 {
        return;
    }
    for (values, out) in values.as_chunks::<GROUP>().0.iter().zip(out.chunks_exact_mut(8 * ex as usize)) {
        for_each_piece(ex, |piece| {
            let bits = values[piece.dim] >> piece.value_shift & piece.mask;
            out[piece.byte] |= bits << piece.byte_shift;
        });
    }
}

/// The opposite of [`pack_ex`].
pub fn unpack_ex(code: &[u8], ex: u32, values: &mut [u8]) {
    debug_assert!(ex <= 8 && values.len().is_multiple_of(GROUP));
    debug_assert_eq!(code.len(), ex_bytes(values.len(), ex));
    values.fill(0);
    if ex == 0 {
        return;
    }
    for (values, code) in values.as_chunks_mut::<GROUP>().0.iter_mut().zip(code.chunks_exact(8 * ex as usize))
    {
        for_each_piece(ex, |piece| {
            let bits = code[piece.byte] >> piece.byte_shift & piece.mask;
            values[piece.dim] |= bits << piece.value_shift;
        });
    }
}

/// The bits that one plane has of one value: where they are in the group, and where in the value.
struct Piece {
    dim: usize,
    byte: usize,
    byte_shift: u32,
    value_shift: u32,
    mask: u8,
}

fn for_each_piece(ex: u32, mut visit: impl FnMut(&Piece)) {
    let (mut left, mut start) = (ex, 0);
    for width in [8, 4, 2, 1] {
        if ex & width == 0 {
            continue;
        }
        left -= width;
        let mask = u8::MAX >> (8 - width);
        for dim in 0..GROUP {
            let (byte, byte_shift) = if width == 1 {
                (dim / 8, dim as u32 % 8)
            } else {
                let per_byte = 8 / width as usize;
                let (run, lane) = (dim / 16, dim % 16);
                (run / per_byte * 16 + lane, (run % per_byte) as u32 * width)
            };
            visit(&Piece { dim, byte: start + byte, byte_shift, value_shift: left, mask });
        }
        start += 8 * width as usize;
    }
}

/// `N` bytes of a group from `at` on, which the kernels know to be there; zeros where they are not.
#[expect(
    clippy::inline_always,
    reason = "inside a kernel `at` and the length are constants, and no test is left"
)]
#[inline(always)]
pub(crate) fn plane<const N: usize>(group: &[u8], at: usize) -> &[u8; N] {
    group.get(at..).and_then(|bytes| bytes.first_chunk()).unwrap_or(&[0; N])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    #[test]
    fn what_is_packed_comes_back() {
        let mut random = SplitMix64::new(1);
        for ex in 0..=8 {
            for dim in [0, 64, 128, 192, 384, 1536] {
                let values: Vec<u8> = (0..dim).map(|_| random.below(1 << ex) as u8).collect();
                let (mut code, mut back) = (vec![255; ex_bytes(dim, ex)], vec![255; dim]);
                pack_ex(&values, ex, &mut code);
                unpack_ex(&code, ex, &mut back);
                assert_eq!(back, values, "{ex} bits, {dim} dimensions");
            }
        }
    }

    #[test]
    fn each_bit_has_its_place() {
        let place = |ex: u32, dim: usize, bit: u32| {
            let (mut values, mut code) = ([0; GROUP], vec![0; 8 * ex as usize]);
            values[dim] = 1 << bit;
            pack_ex(&values, ex, &mut code);
            let byte = code.iter().position(|&byte| byte != 0).unwrap();
            assert_eq!(code.iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
            (byte, code[byte].trailing_zeros())
        };
        assert_eq!(place(8, 37, 5), (37, 5));
        assert_eq!((place(4, 5, 3), place(4, 21, 0), place(4, 37, 1)), ((5, 3), (5, 4), (21, 1)));
        assert_eq!((place(2, 5, 1), place(2, 63, 0)), ((5, 1), (15, 6)));
        assert_eq!((place(1, 0, 0), place(1, 63, 0)), ((0, 0), (7, 7)));
        assert_eq!((place(7, 0, 3), place(7, 16, 1), place(7, 9, 0)), ((0, 0), (32, 2), (49, 1)));
    }
}
