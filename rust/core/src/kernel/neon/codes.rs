//! Codes of several bits times a query.

#[allow(clippy::wildcard_imports, reason = "intrinsics are a language of their own")]
use std::arch::aarch64::*;

use super::{add_products, fold, load, load_bytes, load_signed, load_u32};
use crate::{
    kernel::{groups, with_ex},
    rabitq::plane,
};

#[target_feature(enable = "neon")]
pub(super) fn full_dot(query: &[f32], block: &[u8], lane: usize, ex_code: &[u8], ex: u32) -> f32 {
    with_ex!(ex, EX => full_dot_of::<EX>(query, block, lane, ex_code))
}

/// A group of 64 dimensions is four runs of 16: the extra values of a run fill a register as bytes and are widened
/// four at a time, when their first bits, one byte of the block, join them.
#[target_feature(enable = "neon")]
#[inline]
fn full_dot_of<const EX: usize>(query: &[f32], block: &[u8], lane: usize, mut ex_code: &[u8]) -> f32 {
    let (column, shift) = (lane % 16, vdupq_n_s32((lane / 16 * 4) as i32));
    let bit_of_row = vshlq_u32(load_u32(&[1, 2, 4, 8]), shift);
    let one = vdupq_n_u32(1 << EX);
    let mut lanes = [vdupq_n_f32(0.0); 8];
    for (query, groups) in query.as_chunks::<64>().0.iter().zip(block.as_chunks::<256>().0) {
        let Some((planes, rest)) = ex_code.split_at_checked(8 * EX) else { break };
        ex_code = rest;
        let (query, groups) = (query.as_chunks::<4>().0, groups.as_chunks::<16>().0);
        for run in 0..4 {
            for (p, ex_value) in widen(unpack::<EX>(planes, run)).into_iter().enumerate() {
                let bytes = vdupq_n_u32(u32::from(groups[4 * run + p][column]));
                let bit = vandq_u32(vtstq_u32(bytes, bit_of_row), one);
                let value = vcvtq_f32_u32(vorrq_u32(bit, ex_value));
                let lanes = &mut lanes[(4 * run + p) % 8];
                *lanes = vfmaq_f32(*lanes, load(&query[4 * run + p]), value);
            }
        }
    }
    fold(lanes)
}

/// The extra bits alone, times a query of bytes.
#[target_feature(enable = "neon")]
pub(super) fn ex_dot(query: &[i8], ex_code: &[u8], ex: u32) -> i32 {
    with_ex!(ex, EX => {
        let mut sums = [vdupq_n_s32(0); 2];
        for (query, planes) in groups::<EX>(query, ex_code) {
            for (run, query) in query.as_chunks::<16>().0.iter().enumerate() {
                sums = add_products(sums, load_signed(query), unpack::<EX>(planes, run));
            }
        }
        vaddvq_s32(vaddq_s32(sums[0], sums[1]))
    })
}

/// The extra values `16 run .. 16 run + 16` of a group.
#[target_feature(enable = "neon")]
#[inline]
fn unpack<const EX: usize>(planes: &[u8], run: usize) -> uint8x16_t {
    if EX == 8 {
        return load_bytes(plane(planes, 16 * run));
    }
    let mut values = vdupq_n_u8(0);
    if EX & 4 != 0 {
        let bytes = load_bytes(plane(planes, 16 * (run / 2)));
        let low = run.is_multiple_of(2);
        values = if low { vandq_u8(bytes, vdupq_n_u8(15)) } else { vshrq_n_u8::<4>(bytes) };
    }
    if EX & 2 != 0 {
        let bytes = load_bytes(plane(planes, 8 * (EX & 4)));
        let shifted = vshlq_u8(bytes, vdupq_n_s8(-2 * run as i8));
        values = vorrq_u8(vshlq_n_u8::<2>(values), vandq_u8(shifted, vdupq_n_u8(3)));
    }
    if EX & 1 != 0 {
        let [low, high] = *plane(planes, 8 * (EX & 6) + 2 * run);
        let bits = vcombine_u8(vdup_n_u8(low), vdup_n_u8(high));
        let bit_of_lane = load_bytes(&[1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128]);
        values = vsubq_u8(vshlq_n_u8::<1>(values), vtstq_u8(bits, bit_of_lane));
    }
    values
}

/// Sixteen bytes as sixteen whole numbers.
#[target_feature(enable = "neon")]
#[inline]
fn widen(bytes: uint8x16_t) -> [uint32x4_t; 4] {
    let (low, high) = (vmovl_u8(vget_low_u8(bytes)), vmovl_high_u8(bytes));
    [vmovl_u16(vget_low_u16(low)), vmovl_high_u16(low), vmovl_u16(vget_low_u16(high)), vmovl_high_u16(high)]
}
