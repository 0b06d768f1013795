//! The kernels on AVX2, FMA and F16C.
//!
//! Memory is reached through the loads and stores at the end, which take arrays of the right size: the kernels
//! themselves are safe Rust, and only calling them asks for a CPU that has the level.

mod bytes;
mod codes;
mod scan;
mod sets;
mod tile;

#[allow(clippy::wildcard_imports, reason = "intrinsics are a language of their own")]
use std::arch::x86_64::*;

use half::{f16, slice::HalfFloatSliceExt};

use super::{Level, Table, scalar};

pub(super) static TABLE: Table = Table {
    level: Level::Avx2,
    dot,
    l2sq,
    dot_f16,
    l2sq_f16,
    dot_bytes,
    dots_tile: tile::dots_tile,
    l2sq_tile: tile::l2sq_tile,
    multiply,
    butterfly,
    hadamard,
    subset_sums: scan::subset_sums,
    scan_block: scan::scan_block,
    scan_queries: scan::scan_queries,
    bounds: scan::bounds,
    bounds_f16: scan::bounds_f16,
    bounds_queries: scan::bounds_queries,
    full_dot: codes::full_dot,
    ex_dot: codes::ex_dot,
    byte_dots: bytes::byte_dots,
    byte_dots_across: None,
    at_most,
    not_zero,
    ones,
    rows_in: sets::rows_in,
    prefetch,
};

/// The 32 lanes of a sum: lanes `8 p .. 8 p + 8` in register `p`.
type Lanes = [__m256; 4];

#[target_feature(enable = "avx2,fma,f16c")]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    sum::<false>(a, b)
}

#[target_feature(enable = "avx2,fma,f16c")]
fn l2sq(a: &[f32], b: &[f32]) -> f32 {
    sum::<true>(a, b)
}

#[target_feature(enable = "avx2,fma,f16c")]
fn dot_f16(a: &[f32], b: &[f16]) -> f32 {
    sum_f16::<false>(a, b)
}

#[target_feature(enable = "avx2,fma,f16c")]
fn l2sq_f16(a: &[f32], b: &[f16]) -> f32 {
    sum_f16::<true>(a, b)
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn sum<const SQUARED: bool>(a: &[f32], b: &[f32]) -> f32 {
    let len = a.len().min(b.len());
    let (a, a_rest) = a[..len].as_chunks::<32>();
    let (b, b_rest) = b[..len].as_chunks::<32>();
    let mut lanes = [_mm256_setzero_ps(); 4];
    for (a, b) in a.iter().zip(b) {
        for (p, lanes) in lanes.iter_mut().enumerate() {
            *lanes = step::<SQUARED>(load_part(a, p), load_part(b, p), *lanes);
        }
    }
    if !a_rest.is_empty() {
        for (p, lanes) in lanes.iter_mut().enumerate() {
            *lanes = step::<SQUARED>(load_rest(a_rest, p), load_rest(b_rest, p), *lanes);
        }
    }
    fold(lanes)
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn sum_f16<const SQUARED: bool>(a: &[f32], b: &[f16]) -> f32 {
    let len = a.len().min(b.len());
    let (a, a_rest) = a[..len].as_chunks::<32>();
    let (b, b_rest) = b[..len].reinterpret_cast().as_chunks::<32>();
    let mut lanes = [_mm256_setzero_ps(); 4];
    for (a, b) in a.iter().zip(b) {
        for (p, lanes) in lanes.iter_mut().enumerate() {
            *lanes = step::<SQUARED>(load_part(a, p), load_part_halves(b, p), *lanes);
        }
    }
    if !a_rest.is_empty() {
        let mut filled = [0; 32];
        filled[..b_rest.len()].copy_from_slice(b_rest);
        for (p, lanes) in lanes.iter_mut().enumerate() {
            *lanes = step::<SQUARED>(load_rest(a_rest, p), load_part_halves(&filled, p), *lanes);
        }
    }
    fold(lanes)
}

#[target_feature(enable = "avx2,fma,f16c")]
fn dot_bytes(a: &[f32], b: &[u8]) -> f32 {
    let len = a.len().min(b.len());
    let (a, a_rest) = a[..len].as_chunks::<32>();
    let (b, b_rest) = b[..len].as_chunks::<32>();
    let mut lanes = [_mm256_setzero_ps(); 4];
    for (a, b) in a.iter().zip(b) {
        for (p, lanes) in lanes.iter_mut().enumerate() {
            *lanes = step::<false>(load_part(a, p), load_part_bytes(b, p), *lanes);
        }
    }
    if !a_rest.is_empty() {
        let filled = scalar::zero_filled(b_rest);
        for (p, lanes) in lanes.iter_mut().enumerate() {
            *lanes = step::<false>(load_rest(a_rest, p), load_part_bytes(&filled, p), *lanes);
        }
    }
    fold(lanes)
}

/// One more pair of numbers in each lane: its product, or the square of its difference.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn step<const SQUARED: bool>(a: __m256, b: __m256, lanes: __m256) -> __m256 {
    if SQUARED {
        let apart = _mm256_sub_ps(a, b);
        _mm256_fmadd_ps(apart, apart, lanes)
    } else {
        _mm256_fmadd_ps(a, b, lanes)
    }
}

/// Lanes folded in halves: 32 to 8 between registers, 8 to 1 inside one.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn fold(lanes: Lanes) -> f32 {
    let eight = fold_to_8(lanes);
    let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn fold_to_8([a, b, c, d]: Lanes) -> __m256 {
    _mm256_add_ps(_mm256_add_ps(a, c), _mm256_add_ps(b, d))
}

#[target_feature(enable = "avx2,fma,f16c")]
fn multiply(values: &mut [f32], factors: &[f32]) {
    scalar::multiply(values, factors);
}

#[target_feature(enable = "avx2,fma,f16c")]
fn butterfly(left: &mut [f32], right: &mut [f32]) {
    scalar::butterfly(left, right);
}

#[target_feature(enable = "avx2,fma,f16c")]
fn hadamard(values: &mut [f32]) {
    let (eights, rest) = values.as_chunks_mut::<8>();
    if !rest.is_empty() {
        return scalar::hadamard(values);
    }
    for eight in &mut *eights {
        *eight = store(hadamard_8(load(eight)));
    }
    let mut half = 1;
    while 4 * half <= eights.len() {
        for span in eights.chunks_exact_mut(4 * half) {
            hadamard_radix_4(span, half);
        }
        half *= 4;
    }
    if 2 * half <= eights.len() {
        let (left, right) = eights.split_at_mut(half);
        scalar::butterfly(left.as_flattened_mut(), right.as_flattened_mut());
    }
}

/// Butterflies at distance 1, 2 and 4 in one register: each number meets its partner, with the sign of the half of the
/// pair it is in.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn hadamard_8(x: __m256) -> __m256 {
    let minus_odd = _mm256_setr_ps(0.0, -0.0, 0.0, -0.0, 0.0, -0.0, 0.0, -0.0);
    let minus_pairs = _mm256_setr_ps(0.0, 0.0, -0.0, -0.0, 0.0, 0.0, -0.0, -0.0);
    let minus_high = _mm256_setr_ps(0.0, 0.0, 0.0, 0.0, -0.0, -0.0, -0.0, -0.0);
    let x = _mm256_add_ps(_mm256_permute_ps::<0b10_11_00_01>(x), _mm256_xor_ps(x, minus_odd));
    let x = _mm256_add_ps(_mm256_permute_ps::<0b01_00_11_10>(x), _mm256_xor_ps(x, minus_pairs));
    _mm256_add_ps(_mm256_permute2f128_ps::<1>(x, x), _mm256_xor_ps(x, minus_high))
}

/// Butterflies at distance `half` and `2 half` in one walk over memory.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn hadamard_radix_4(span: &mut [[f32; 8]], half: usize) {
    let (ab, cd) = span.split_at_mut(2 * half);
    let (a, b) = ab.split_at_mut(half);
    let (c, d) = cd.split_at_mut(half);
    for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
        let (va, vb, vc, vd) = (load(a), load(b), load(c), load(d));
        let (ab, a_b) = (_mm256_add_ps(va, vb), _mm256_sub_ps(va, vb));
        let (cd, c_d) = (_mm256_add_ps(vc, vd), _mm256_sub_ps(vc, vd));
        *a = store(_mm256_add_ps(ab, cd));
        *b = store(_mm256_add_ps(a_b, c_d));
        *c = store(_mm256_sub_ps(ab, cd));
        *d = store(_mm256_sub_ps(a_b, c_d));
    }
}

/// Asks for each cache line of `bytes`.
#[target_feature(enable = "avx2,fma,f16c")]
fn at_most(values: &[f32], limit: f32, masks: &mut [u32]) -> usize {
    let (blocks, rest) = values.as_chunks::<32>();
    let (full, last) = masks.split_at_mut(blocks.len().min(masks.len()));
    let mut count = 0;
    for (block, mask) in blocks.iter().zip(full) {
        *mask = 0;
        for p in 0..4 {
            let kept = _mm256_cmp_ps::<_CMP_LE_OQ>(load_part(block, p), _mm256_set1_ps(limit));
            *mask |= _mm256_movemask_ps(kept).cast_unsigned() << (8 * p);
        }
        count += mask.count_ones() as usize;
    }
    count + scalar::at_most(rest, limit, last)
}

#[target_feature(enable = "avx2,fma,f16c")]
fn not_zero(bytes: &[u8], masks: &mut [u64]) {
    let (blocks, rest) = bytes.as_chunks::<64>();
    let (full, last) = masks.split_at_mut(blocks.len().min(masks.len()));
    for (block, mask) in blocks.iter().zip(full) {
        *mask = 0;
        for (half, shift) in block.as_chunks::<32>().0.iter().zip([0, 32]) {
            let zero = _mm256_movemask_epi8(_mm256_cmpeq_epi8(load_bytes(half), _mm256_setzero_si256()));
            *mask |= u64::from(!zero.cast_unsigned()) << shift;
        }
    }
    scalar::not_zero(rest, last);
}

/// Four sums: one word's count does not wait for the last one's.
#[target_feature(enable = "avx2,popcnt")]
pub(super) fn ones(words: &[u64]) -> usize {
    let (fours, rest) = words.as_chunks::<4>();
    let mut sums = [0; 4];
    for four in fours {
        for (sum, word) in sums.iter_mut().zip(four) {
            *sum += word.count_ones() as usize;
        }
    }
    sums.into_iter().sum::<usize>() + scalar::ones(rest)
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn prefetch(bytes: &[u8]) {
    let before = bytes.as_ptr().addr() % 64;
    let first = bytes.as_ptr().wrapping_sub(before);
    for line in (0..before + bytes.len()).step_by(64) {
        #[allow(unused_unsafe, reason = "newer toolchains call it safe")]
        // SAFETY: a prefetch reads nothing that the program could see, and never faults.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(line).cast());
        }
    }
}

/// Elements `8 p .. 8 p + 8` of a block.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn part<T>(block: &[T; 32], p: usize) -> &[T; 8] {
    &block.as_chunks::<8>().0[p]
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn load_part(block: &[f32; 32], p: usize) -> __m256 {
    load(part(block, p))
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn load_part_halves(block: &[u16; 32], p: usize) -> __m256 {
    let halves = part(block, p);
    // SAFETY: the array has the 16 bytes that are read, and the load asks for no alignment.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(halves.as_ptr().cast()) })
}

/// Bytes `8 p .. 8 p + 8` of a block as the numbers they stand for.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn load_part_bytes(block: &[u8; 32], p: usize) -> __m256 {
    let bytes = part(block, p);
    // SAFETY: the array has the 8 bytes that are read, and the load asks for no alignment.
    let wide = _mm256_cvtepu8_epi32(unsafe { _mm_loadl_epi64(bytes.as_ptr().cast()) });
    _mm256_sub_ps(_mm256_cvtepi32_ps(wide), _mm256_set1_ps(scalar::ZERO_BYTE))
}

/// Elements `8 p .. 8 p + 8` of a block that is not full, zeros where it ends.
///
/// Nothing is loaded of nothing: a masked load from an address that is not mapped takes hundreds of cycles, even where
/// the mask is empty.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
#[expect(clippy::cast_possible_wrap, reason = "at most 8")]
fn load_rest(rest: &[f32], p: usize) -> __m256 {
    let Some(rest @ [_, ..]) = rest.get(8 * p..) else { return _mm256_setzero_ps() };
    let present = _mm256_set1_epi32(rest.len().min(8) as i32);
    let mask = _mm256_cmpgt_epi32(present, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    // SAFETY: the mask lets only the first `rest.len()` elements be read; the others are not touched.
    unsafe { _mm256_maskload_ps(rest.as_ptr(), mask) }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn load(values: &[f32; 8]) -> __m256 {
    // SAFETY: the array has the 32 bytes that are read, and the load asks for no alignment.
    unsafe { _mm256_loadu_ps(values.as_ptr()) }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn store(value: __m256) -> [f32; 8] {
    let mut values = [0.0; 8];
    // SAFETY: the array has the 32 bytes that are written, and the store asks for no alignment.
    unsafe { _mm256_storeu_ps(values.as_mut_ptr(), value) };
    values
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn load_bytes(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: the array has the 32 bytes that are read, and the load asks for no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn load_signed(bytes: &[i8; 32]) -> __m256i {
    // SAFETY: the array has the 32 bytes that are read, and the load asks for no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn load_u32(values: &[u32; 8]) -> __m256i {
    // SAFETY: the array has the 32 bytes that are read, and the load asks for no alignment.
    unsafe { _mm256_loadu_si256(values.as_ptr().cast()) }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn store_u32(value: __m256i) -> [u32; 8] {
    let mut values = [0; 8];
    // SAFETY: the array has the 32 bytes that are written, and the store asks for no alignment.
    unsafe { _mm256_storeu_si256(values.as_mut_ptr().cast(), value) };
    values
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn store_bytes(value: __m256i) -> [u8; 32] {
    let mut bytes = [0; 32];
    // SAFETY: the array has the 32 bytes that are written, and the store asks for no alignment.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), value) };
    bytes
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn store_four(value: __m128) -> [f32; 4] {
    let mut values = [0.0; 4];
    // SAFETY: the array has the 16 bytes that are written, and the store asks for no alignment.
    unsafe { _mm_storeu_ps(values.as_mut_ptr(), value) };
    values
}

/// The sum of eight whole numbers.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn total(sum: __m256i) -> i32 {
    let four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
    let two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
    _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b01>(two)))
}
