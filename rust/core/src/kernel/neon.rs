//! The kernels on NEON.
//!
//! Built like those of AVX2: memory is reached through the loads and stores at the end, which take arrays of the right
//! size, so that the kernels themselves are safe Rust. The steps of the rotation and the table of a query are the plain
//! loops: every compiler for `aarch64` makes NEON of them, and they run once per query.

mod bytes;
mod codes;
mod scan;
mod tile;

#[allow(clippy::wildcard_imports, reason = "intrinsics are a language of their own")]
use std::arch::aarch64::*;
use std::arch::asm;

use half::{f16, slice::HalfFloatSliceExt};

use super::{Level, Table, scalar};

pub(super) static TABLE: Table = Table {
    level: Level::Neon,
    dot,
    l2sq,
    dot_f16,
    l2sq_f16,
    dot_bytes,
    dots_tile: tile::dots_tile,
    l2sq_tile: tile::l2sq_tile,
    multiply: scalar::multiply,
    butterfly: scalar::butterfly,
    hadamard: scalar::hadamard,
    subset_sums: scalar::subset_sums,
    scan_block: scan::scan_block,
    scan_queries: scan::scan_queries,
    bounds: scan::bounds,
    bounds_f16: scan::bounds_f16,
    bounds_queries: scan::bounds_queries,
    full_dot: codes::full_dot,
    ex_dot: codes::ex_dot,
    byte_dots: bytes::byte_dots,
    byte_dots_across: None,
    at_most: scalar::at_most,
    not_zero: scalar::not_zero,
    ones: scalar::ones,
    rows_in: scalar::rows_in,
    prefetch,
};

/// The 32 lanes of a sum: lanes `4 p .. 4 p + 4` in register `p`.
type Lanes = [float32x4_t; 8];

#[target_feature(enable = "neon")]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    sum::<false>(a, b)
}

#[target_feature(enable = "neon")]
fn l2sq(a: &[f32], b: &[f32]) -> f32 {
    sum::<true>(a, b)
}

#[target_feature(enable = "neon")]
fn dot_f16(a: &[f32], b: &[f16]) -> f32 {
    sum_f16::<false>(a, b)
}

#[target_feature(enable = "neon")]
fn l2sq_f16(a: &[f32], b: &[f16]) -> f32 {
    sum_f16::<true>(a, b)
}

#[target_feature(enable = "neon")]
#[inline]
fn sum<const SQUARED: bool>(a: &[f32], b: &[f32]) -> f32 {
    let len = a.len().min(b.len());
    let (a, a_rest) = a[..len].as_chunks::<32>();
    let (b, b_rest) = b[..len].as_chunks::<32>();
    let mut lanes = [vdupq_n_f32(0.0); 8];
    for (a, b) in a.iter().zip(b) {
        for (p, lanes) in lanes.iter_mut().enumerate() {
            *lanes = step::<SQUARED>(load_part(a, p), load_part(b, p), *lanes);
        }
    }
    if !a_rest.is_empty() {
        let (a, b) = (scalar::zero_filled(a_rest), scalar::zero_filled(b_rest));
        for (p, lanes) in lanes.iter_mut().enumerate() {
            *lanes = step::<SQUARED>(load_part(&a, p), load_part(&b, p), *lanes);
        }
    }
    fold(lanes)
}

#[target_feature(enable = "neon")]
#[inline]
fn sum_f16<const SQUARED: bool>(a: &[f32], b: &[f16]) -> f32 {
    let len = a.len().min(b.len());
    let (a, a_rest) = a[..len].as_chunks::<32>();
    let (b, b_rest) = b[..len].reinterpret_cast().as_chunks::<32>();
    let mut lanes = [vdupq_n_f32(0.0); 8];
    for (a, b) in a.iter().zip(b) {
        for (p, lanes) in lanes.iter_mut().enumerate() {
            *lanes = step::<SQUARED>(load_part(a, p), load_part_halves(b, p), *lanes);
        }
    }
    if !a_rest.is_empty() {
        let (a, b) = (scalar::zero_filled(a_rest), scalar::zero_filled(b_rest));
        for (p, lanes) in lanes.iter_mut().enumerate() {
            *lanes = step::<SQUARED>(load_part(&a, p), load_part_halves(&b, p), *lanes);
        }
    }
    fold(lanes)
}

#[target_feature(enable = "neon")]
fn dot_bytes(a: &[f32], b: &[u8]) -> f32 {
    let len = a.len().min(b.len());
    let (a, a_rest) = a[..len].as_chunks::<32>();
    let (b, b_rest) = b[..len].as_chunks::<32>();
    let mut lanes = [vdupq_n_f32(0.0); 8];
    for (a, b) in a.iter().zip(b) {
        add_bytes(a, b, &mut lanes);
    }
    if !a_rest.is_empty() {
        add_bytes(&scalar::zero_filled(a_rest), &scalar::zero_filled(b_rest), &mut lanes);
    }
    fold(lanes)
}

/// One more pair of a float and a byte in each lane.
#[target_feature(enable = "neon")]
#[inline]
fn add_bytes(a: &[f32; 32], b: &[u8; 32], lanes: &mut Lanes) {
    for (half, lanes) in lanes.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        let numbers = numbers_in(&b.as_chunks::<16>().0[half]);
        for (p, (lanes, b)) in lanes.iter_mut().zip(numbers).enumerate() {
            *lanes = step::<false>(load_part(a, 4 * half + p), b, *lanes);
        }
    }
}

/// What sixteen bytes stand for, four by four.
#[target_feature(enable = "neon")]
#[inline]
fn numbers_in(bytes: &[u8; 16]) -> [float32x4_t; 4] {
    let bytes = load_bytes(bytes);
    let (low, high) = (vmovl_u8(vget_low_u8(bytes)), vmovl_u8(vget_high_u8(bytes)));
    let fours = [vget_low_u16(low), vget_high_u16(low), vget_low_u16(high), vget_high_u16(high)];
    let mut numbers = [vdupq_n_f32(0.0); 4];
    for (number, four) in numbers.iter_mut().zip(fours) {
        *number = vsubq_f32(vcvtq_f32_u32(vmovl_u16(four)), vdupq_n_f32(scalar::ZERO_BYTE));
    }
    numbers
}

/// One more pair of numbers in each lane: its product, or the square of its difference.
#[target_feature(enable = "neon")]
#[inline]
fn step<const SQUARED: bool>(a: float32x4_t, b: float32x4_t, lanes: float32x4_t) -> float32x4_t {
    if SQUARED {
        let apart = vsubq_f32(a, b);
        vfmaq_f32(lanes, apart, apart)
    } else {
        vfmaq_f32(lanes, a, b)
    }
}

/// Lanes folded in halves: 32 to 4 between registers, 4 to 1 inside one.
#[target_feature(enable = "neon")]
#[inline]
fn fold(lanes: Lanes) -> f32 {
    let mut sixteen = [vdupq_n_f32(0.0); 4];
    for p in 0..4 {
        sixteen[p] = vaddq_f32(lanes[p], lanes[p + 4]);
    }
    let [a, b, c, d] = sixteen;
    let four = vaddq_f32(vaddq_f32(a, c), vaddq_f32(b, d));
    vaddv_f32(vadd_f32(vget_low_f32(four), vget_high_f32(four)))
}

/// Asks for each cache line of `bytes`.
#[target_feature(enable = "neon")]
fn prefetch(bytes: &[u8]) {
    let before = bytes.as_ptr().addr() % 64;
    let first = bytes.as_ptr().wrapping_sub(before);
    for line in (0..before + bytes.len()).step_by(64) {
        let line = first.wrapping_add(line);
        // SAFETY: a prefetch reads nothing that the program could see, and never faults.
        unsafe {
            asm!("prfm pldl1keep, [{}]", in(reg) line, options(nostack, preserves_flags, readonly));
        };
    }
}

/// Elements `4 p .. 4 p + 4` of a block.
#[target_feature(enable = "neon")]
#[inline]
fn part<T>(block: &[T; 32], p: usize) -> &[T; 4] {
    &block.as_chunks::<4>().0[p]
}

#[target_feature(enable = "neon")]
#[inline]
fn load_part(block: &[f32; 32], p: usize) -> float32x4_t {
    load(part(block, p))
}

/// The intrinsic for this is newer than the oldest compiler that has to do.
#[target_feature(enable = "neon")]
#[inline]
fn load_part_halves(block: &[u16; 32], p: usize) -> float32x4_t {
    let halves = part(block, p).as_ptr();
    // SAFETY: the array has the 8 bytes that are read, and the load asks for no alignment.
    let halves = unsafe { vld1_u16(halves) };
    let wide: float32x4_t;
    // SAFETY: the instruction works on the two registers that are named, and on nothing else.
    unsafe {
        asm!("fcvtl {0:v}.4s, {1:v}.4h", out(vreg) wide, in(vreg) halves, options(pure, nomem, nostack));
    }
    wide
}

#[target_feature(enable = "neon")]
#[inline]
fn load(values: &[f32; 4]) -> float32x4_t {
    // SAFETY: the array has the 16 bytes that are read, and the load asks for no alignment.
    unsafe { vld1q_f32(values.as_ptr()) }
}

#[target_feature(enable = "neon")]
#[inline]
fn store(value: float32x4_t) -> [f32; 4] {
    let mut values = [0.0; 4];
    // SAFETY: the array has the 16 bytes that are written, and the store asks for no alignment.
    unsafe { vst1q_f32(values.as_mut_ptr(), value) };
    values
}

#[target_feature(enable = "neon")]
#[inline]
fn load_bytes(bytes: &[u8; 16]) -> uint8x16_t {
    // SAFETY: the array has the 16 bytes that are read, and the load asks for no alignment.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}

#[target_feature(enable = "neon")]
#[inline]
fn load_signed(bytes: &[i8; 16]) -> int8x16_t {
    // SAFETY: the array has the 16 bytes that are read, and the load asks for no alignment.
    unsafe { vld1q_s8(bytes.as_ptr()) }
}

/// Adds sixteen products of bytes to two sums of four lanes.
#[target_feature(enable = "neon")]
#[inline]
fn add_products(mut sums: [int32x4_t; 2], query: int8x16_t, row: uint8x16_t) -> [int32x4_t; 2] {
    let parts = [
        (vmovl_s8(vget_low_s8(query)), vmovl_u8(vget_low_u8(row))),
        (vmovl_s8(vget_high_s8(query)), vmovl_u8(vget_high_u8(row))),
    ];
    for (sum, (query, row)) in sums.iter_mut().zip(parts) {
        let row = vreinterpretq_s16_u16(row);
        *sum = vmlal_s16(*sum, vget_low_s16(query), vget_low_s16(row));
        *sum = vmlal_s16(*sum, vget_high_s16(query), vget_high_s16(row));
    }
    sums
}

#[target_feature(enable = "neon")]
#[inline]
fn load_u32(values: &[u32; 4]) -> uint32x4_t {
    // SAFETY: the array has the 16 bytes that are read, and the load asks for no alignment.
    unsafe { vld1q_u32(values.as_ptr()) }
}

#[target_feature(enable = "neon")]
#[inline]
fn store_u32(value: uint32x4_t) -> [u32; 4] {
    let mut values = [0; 4];
    // SAFETY: the array has the 16 bytes that are written, and the store asks for no alignment.
    unsafe { vst1q_u32(values.as_mut_ptr(), value) };
    values
}
