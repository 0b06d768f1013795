//! The kernels on AVX-512: F, BW, DQ and VL, which come together on every server since Skylake.
//!
//! Built like those of AVX2: memory is reached through the loads and stores at the end, which take arrays of the right
//! size, so that the kernels themselves are safe Rust.

mod bytes;
mod codes;
mod scan;
mod sets;
mod tile;

#[allow(clippy::wildcard_imports, reason = "intrinsics are a language of their own")]
use std::arch::x86_64::*;

use half::{f16, slice::HalfFloatSliceExt};

use super::{Level, Table, avx2, scalar};

pub(super) static TABLE: Table = PLAIN;

/// With VNNI, which multiplies and adds bytes in one step: servers since Cascade Lake, and Zen 4. It makes no other numbers,
/// so it is no level of its own.
pub(super) static TABLE_WITH_VNNI: Table = Table {
    ex_dot: codes::ex_dot_vnni,
    byte_dots: bytes::byte_dots_vnni,
    byte_dots_across: Some(bytes::byte_dots_across_vnni),
    ..PLAIN
};

const PLAIN: Table = Table {
    level: Level::Avx512,
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
    ones: avx2::ones,
    rows_in: sets::rows_in,
    prefetch: avx2::prefetch,
};

/// The 32 lanes of a sum: lanes `16 p .. 16 p + 16` in register `p`.
type Lanes = [__m512; 2];

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    sum::<false>(a, b)
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
fn l2sq(a: &[f32], b: &[f32]) -> f32 {
    sum::<true>(a, b)
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
fn dot_f16(a: &[f32], b: &[f16]) -> f32 {
    sum_f16::<false>(a, b)
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
fn l2sq_f16(a: &[f32], b: &[f16]) -> f32 {
    sum_f16::<true>(a, b)
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn sum<const SQUARED: bool>(a: &[f32], b: &[f32]) -> f32 {
    let len = a.len().min(b.len());
    let (a, a_rest) = a[..len].as_chunks::<32>();
    let (b, b_rest) = b[..len].as_chunks::<32>();
    let mut lanes = [_mm512_setzero_ps(); 2];
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

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn sum_f16<const SQUARED: bool>(a: &[f32], b: &[f16]) -> f32 {
    let len = a.len().min(b.len());
    let (a, a_rest) = a[..len].as_chunks::<32>();
    let (b, b_rest) = b[..len].reinterpret_cast().as_chunks::<32>();
    let mut lanes = [_mm512_setzero_ps(); 2];
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

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
fn dot_bytes(a: &[f32], b: &[u8]) -> f32 {
    let len = a.len().min(b.len());
    let (a, a_rest) = a[..len].as_chunks::<32>();
    let (b, b_rest) = b[..len].as_chunks::<32>();
    let mut lanes = [_mm512_setzero_ps(); 2];
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
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn step<const SQUARED: bool>(a: __m512, b: __m512, lanes: __m512) -> __m512 {
    if SQUARED {
        let apart = _mm512_sub_ps(a, b);
        _mm512_fmadd_ps(apart, apart, lanes)
    } else {
        _mm512_fmadd_ps(a, b, lanes)
    }
}

/// Lanes folded in halves: 32 to 16 between registers, 16 to 1 inside one.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn fold([a, b]: Lanes) -> f32 {
    let sixteen = _mm512_add_ps(a, b);
    let eight = _mm256_add_ps(_mm512_castps512_ps256(sixteen), _mm512_extractf32x8_ps::<1>(sixteen));
    let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
fn multiply(values: &mut [f32], factors: &[f32]) {
    scalar::multiply(values, factors);
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
fn butterfly(left: &mut [f32], right: &mut [f32]) {
    scalar::butterfly(left, right);
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
fn hadamard(values: &mut [f32]) {
    let (sixteens, rest) = values.as_chunks_mut::<16>();
    if !rest.is_empty() {
        return scalar::hadamard(values);
    }
    for sixteen in &mut *sixteens {
        *sixteen = store(hadamard_16(load(sixteen)));
    }
    let mut half = 1;
    while 4 * half <= sixteens.len() {
        for span in sixteens.chunks_exact_mut(4 * half) {
            hadamard_radix_4(span, half);
        }
        half *= 4;
    }
    if 2 * half <= sixteens.len() {
        let (left, right) = sixteens.split_at_mut(half);
        scalar::butterfly(left.as_flattened_mut(), right.as_flattened_mut());
    }
}

/// Butterflies at distance 1, 2, 4 and 8 in one register: each number meets its partner, and is taken from it where
/// it is in the higher half of the pair.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn hadamard_16(x: __m512) -> __m512 {
    let x = meet(_mm512_permute_ps::<0b10_11_00_01>(x), x, 0b1010_1010_1010_1010);
    let x = meet(_mm512_permute_ps::<0b01_00_11_10>(x), x, 0b1100_1100_1100_1100);
    let x = meet(_mm512_shuffle_f32x4::<0b10_11_00_01>(x, x), x, 0b1111_0000_1111_0000);
    meet(_mm512_shuffle_f32x4::<0b01_00_11_10>(x, x), x, 0b1111_1111_0000_0000)
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn meet(partner: __m512, x: __m512, higher: __mmask16) -> __m512 {
    _mm512_mask_sub_ps(_mm512_add_ps(partner, x), higher, partner, x)
}

/// Butterflies at distance `half` and `2 half` in one walk over memory.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn hadamard_radix_4(span: &mut [[f32; 16]], half: usize) {
    let (ab, cd) = span.split_at_mut(2 * half);
    let (a, b) = ab.split_at_mut(half);
    let (c, d) = cd.split_at_mut(half);
    for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
        let (va, vb, vc, vd) = (load(a), load(b), load(c), load(d));
        let (ab, a_b) = (_mm512_add_ps(va, vb), _mm512_sub_ps(va, vb));
        let (cd, c_d) = (_mm512_add_ps(vc, vd), _mm512_sub_ps(vc, vd));
        *a = store(_mm512_add_ps(ab, cd));
        *b = store(_mm512_add_ps(a_b, c_d));
        *c = store(_mm512_sub_ps(ab, cd));
        *d = store(_mm512_sub_ps(a_b, c_d));
    }
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
fn at_most(values: &[f32], limit: f32, masks: &mut [u32]) -> usize {
    let (blocks, rest) = values.as_chunks::<32>();
    let (full, last) = masks.split_at_mut(blocks.len().min(masks.len()));
    let limits = _mm512_set1_ps(limit);
    let mut count = 0;
    for (block, mask) in blocks.iter().zip(full) {
        let low = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(load_part(block, 0), limits);
        let high = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(load_part(block, 1), limits);
        *mask = u32::from(high) << 16 | u32::from(low);
        count += mask.count_ones() as usize;
    }
    count + scalar::at_most(rest, limit, last)
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
fn not_zero(bytes: &[u8], masks: &mut [u64]) {
    let (blocks, rest) = bytes.as_chunks::<64>();
    let (full, last) = masks.split_at_mut(blocks.len().min(masks.len()));
    for (block, mask) in blocks.iter().zip(full) {
        let block = load_bytes(block);
        *mask = _mm512_test_epi8_mask(block, block);
    }
    scalar::not_zero(rest, last);
}

/// Elements `16 p .. 16 p + 16` of a block.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn part<T>(block: &[T; 32], p: usize) -> &[T; 16] {
    &block.as_chunks::<16>().0[p]
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn load_part(block: &[f32; 32], p: usize) -> __m512 {
    load(part(block, p))
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn load_part_halves(block: &[u16; 32], p: usize) -> __m512 {
    let halves = part(block, p);
    // SAFETY: the array has the 32 bytes that are read, and the load asks for no alignment.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(halves.as_ptr().cast()) })
}

/// Bytes `16 p .. 16 p + 16` of a block as the numbers they stand for.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn load_part_bytes(block: &[u8; 32], p: usize) -> __m512 {
    let wide = _mm512_cvtepi32_ps(load_bytes_wide(part(block, p)));
    _mm512_sub_ps(wide, _mm512_set1_ps(scalar::ZERO_BYTE))
}

/// Elements `16 p .. 16 p + 16` of a block that is not full, zeros where it ends.
///
/// Nothing is loaded of nothing: a masked load from an address that is not mapped takes hundreds of cycles, even where
/// the mask is empty.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn load_rest(rest: &[f32], p: usize) -> __m512 {
    let Some(rest @ [_, ..]) = rest.get(16 * p..) else { return _mm512_setzero_ps() };
    let present = u16::MAX >> (16 - rest.len().min(16));
    // SAFETY: the mask lets only the first `rest.len()` elements be read; the others are not touched.
    unsafe { _mm512_maskz_loadu_ps(present, rest.as_ptr()) }
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn load(values: &[f32; 16]) -> __m512 {
    // SAFETY: the array has the 64 bytes that are read, and the load asks for no alignment.
    unsafe { _mm512_loadu_ps(values.as_ptr()) }
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn store(value: __m512) -> [f32; 16] {
    let mut values = [0.0; 16];
    // SAFETY: the array has the 64 bytes that are written, and the store asks for no alignment.
    unsafe { _mm512_storeu_ps(values.as_mut_ptr(), value) };
    values
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn load_bytes(bytes: &[u8; 64]) -> __m512i {
    // SAFETY: the array has the 64 bytes that are read, and the load asks for no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn load_signed(bytes: &[i8; 64]) -> __m512i {
    // SAFETY: the array has the 64 bytes that are read, and the load asks for no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn store_bytes(value: __m512i) -> [u8; 64] {
    let mut bytes = [0; 64];
    // SAFETY: the array has the 64 bytes that are written, and the store asks for no alignment.
    unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), value) };
    bytes
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn load_u32(values: &[u32; 16]) -> __m512i {
    // SAFETY: the array has the 64 bytes that are read, and the load asks for no alignment.
    unsafe { _mm512_loadu_si512(values.as_ptr().cast()) }
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn store_u32(value: __m512i) -> [u32; 16] {
    let mut values = [0; 16];
    // SAFETY: the array has the 64 bytes that are written, and the store asks for no alignment.
    unsafe { _mm512_storeu_si512(values.as_mut_ptr().cast(), value) };
    values
}

/// Sixteen bytes as sixteen whole numbers.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn load_bytes_wide(bytes: &[u8; 16]) -> __m512i {
    // SAFETY: the array has the 16 bytes that are read, and the load asks for no alignment.
    _mm512_cvtepu8_epi32(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
}
