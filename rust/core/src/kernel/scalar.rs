//! The kernels in plain Rust: what the others must equal, bit for bit.

use half::f16;

use super::{Level, Table};
use crate::{
    rabitq::{BLOCK, BlockBounds, BlockFactors, HalfFactors, QueryTerms, ex_bytes, unpack_ex},
    row_numbers,
};

pub(super) static TABLE: Table = Table {
    level: Level::Scalar,
    dot,
    l2sq,
    dot_f16,
    l2sq_f16,
    dot_bytes,
    dots_tile,
    l2sq_tile,
    multiply,
    butterfly,
    hadamard,
    subset_sums,
    scan_block,
    scan_queries,
    bounds,
    bounds_f16,
    bounds_queries,
    full_dot,
    ex_dot,
    byte_dots,
    byte_dots_across: None,
    at_most,
    not_zero,
    ones,
    rows_in,
    prefetch,
};

const LANES: usize = 32;
/// The byte that stands for 0 in [`dot_bytes`].
pub(super) const ZERO_BYTE: f32 = 128.0;

fn dot(a: &[f32], b: &[f32]) -> f32 {
    sum_lanes(a, b, f32::mul_add)
}

fn l2sq(a: &[f32], b: &[f32]) -> f32 {
    sum_lanes(a, b, square_of_difference)
}

fn dot_f16(a: &[f32], b: &[f16]) -> f32 {
    sum_lanes(a, b, |x, y, lane| x.mul_add(y.to_f32(), lane))
}

fn l2sq_f16(a: &[f32], b: &[f16]) -> f32 {
    sum_lanes(a, b, |x, y, lane| square_of_difference(x, y.to_f32(), lane))
}

fn dot_bytes(a: &[f32], b: &[u8]) -> f32 {
    sum_lanes(a, b, |x, y, lane| x.mul_add(f32::from(y) - ZERO_BYTE, lane))
}

fn square_of_difference(x: f32, y: f32, lane: f32) -> f32 {
    (x - y).mul_add(x - y, lane)
}

fn sum_lanes<T: Copy + Default>(a: &[f32], b: &[T], step: impl Fn(f32, T, f32) -> f32) -> f32 {
    let len = a.len().min(b.len());
    let (a_blocks, a_rest) = a[..len].as_chunks::<LANES>();
    let (b_blocks, b_rest) = b[..len].as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    let mut add = |a: &[f32; LANES], b: &[T; LANES]| {
        for (lane, (&x, &y)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane = step(x, y, *lane);
        }
    };
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        add(a, b);
    }
    if !a_rest.is_empty() {
        add(&zero_filled(a_rest), &zero_filled(b_rest));
    }
    fold(lanes)
}

pub(super) fn zero_filled<T: Copy + Default>(rest: &[T]) -> [T; LANES] {
    let mut block = [T::default(); LANES];
    for (slot, &value) in block.iter_mut().zip(rest) {
        *slot = value;
    }
    block
}

fn fold(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        let (low, high) = lanes.split_at_mut(half);
        for (low, &high) in low.iter_mut().zip(&*high) {
            *low += high;
        }
        half /= 2;
    }
    lanes[0]
}

fn dots_tile(queries: &[f32], rows: &[f32], dim: usize, out: &mut [f32]) {
    tile(queries, rows, dim, out, dot);
}

fn l2sq_tile(queries: &[f32], rows: &[f32], dim: usize, out: &mut [f32]) {
    tile(queries, rows, dim, out, l2sq);
}

fn tile(queries: &[f32], rows: &[f32], dim: usize, out: &mut [f32], pair: impl Fn(&[f32], &[f32]) -> f32) {
    let nrows = rows.len() / dim;
    for (query, out) in queries.chunks_exact(dim).zip(out.chunks_exact_mut(nrows)) {
        for (row, out) in rows.chunks_exact(dim).zip(out) {
            *out = pair(query, row);
        }
    }
}

#[expect(clippy::inline_always, reason = "the wider levels compile this body again, with their registers")]
#[inline(always)]
pub(super) fn multiply(values: &mut [f32], factors: &[f32]) {
    for (value, &factor) in values.iter_mut().zip(factors) {
        *value *= factor;
    }
}

#[expect(clippy::inline_always, reason = "the wider levels compile this body again, with their registers")]
#[inline(always)]
pub(super) fn butterfly(left: &mut [f32], right: &mut [f32]) {
    for (left, right) in left.iter_mut().zip(right) {
        (*left, *right) = (*left + *right, *left - *right);
    }
}

pub(super) fn hadamard(values: &mut [f32]) {
    let mut half = 1;
    while 2 * half <= values.len() {
        for pair in values.chunks_exact_mut(2 * half) {
            let (left, right) = pair.split_at_mut(half);
            butterfly(left, right);
        }
        half *= 2;
    }
}

#[expect(clippy::inline_always, reason = "the wider levels compile this body again, with their registers")]
#[inline(always)]
pub(super) fn subset_sums(rotated: &[f32], per_step: f32, lut: &mut [u8]) {
    for (group, entries) in rotated.as_chunks::<4>().0.iter().zip(lut.as_chunks_mut::<16>().0) {
        let [a, b, c, d] = group.map(|value| value * per_step);
        // The smallest sum is that of the negative numbers; every other adds to it, one bit after the other.
        let lowest = ((-a).max(0.0) + (-b).max(0.0)) + ((-c).max(0.0) + (-d).max(0.0));
        let one = [lowest, lowest + a];
        let two = [one[0], one[1], one[0] + b, one[1] + b];
        for (pattern, entry) in entries.iter_mut().enumerate() {
            let sum = two[pattern & 3];
            let sum = if pattern & 4 == 0 { sum } else { sum + c };
            let sum = if pattern & 8 == 0 { sum } else { sum + d };
            *entry = round_to_6_bits(sum);
        }
    }
}

/// The nearest integer of a number in `-0.5..=63.5`: adding 1.5 * 2^23 leaves it in the low bits of the float.
#[expect(clippy::inline_always, reason = "the wider levels compile this body again, with their registers")]
#[inline(always)]
fn round_to_6_bits(value: f32) -> u8 {
    ((value + 12_582_912.0).to_bits() as u8).min(63)
}

fn scan_block(bin_code: &[u8], lut: &[u8], sums: &mut [u32; BLOCK]) {
    sums.fill(0);
    let (low_sums, high_sums) = sums.split_at_mut(BLOCK / 2);
    for (codes, entries) in bin_code.as_chunks::<16>().0.iter().zip(lut.as_chunks::<16>().0) {
        for (&code, (low, high)) in codes.iter().zip(low_sums.iter_mut().zip(high_sums.iter_mut())) {
            *low += u32::from(entries[usize::from(code & 15)]);
            *high += u32::from(entries[usize::from(code >> 4)]);
        }
    }
}

fn scan_queries(bin_code: &[u8], luts: &[&[u8]], sums: &mut [[u32; BLOCK]]) {
    for (lut, sums) in luts.iter().zip(sums) {
        scan_block(bin_code, lut, sums);
    }
}

fn bounds(sums: &[u32; BLOCK], factors: &BlockFactors<'_>, query: &QueryTerms, out: &mut BlockBounds) -> u32 {
    let mut mask = 0;
    for (lane, &sum) in sums.iter().enumerate() {
        let inner = query.delta * sum as f32 + query.shift;
        let rescale = factors.f_rescale[lane];
        let estimate = (factors.f_add[lane] + query.g_add) + rescale * inner;
        let lower = estimate - (factors.f_error[lane] * query.g_error + rescale.abs() * query.slack);
        out.estimate[lane] = estimate;
        out.lower[lane] = lower;
        let dropped = lower > query.limit;
        mask |= u32::from(!dropped) << lane;
    }
    mask
}

fn bounds_f16(
    sums: &[u32; BLOCK],
    factors: &HalfFactors<'_>,
    query: &QueryTerms,
    out: &mut BlockBounds,
) -> u32 {
    let [add_scale, rescale_scale, error_scale] = factors.scale;
    let widen = |halves: &[u16; BLOCK], scale: f32| halves.map(|bits| f16::from_bits(bits).to_f32() * scale);
    let factors = BlockFactors {
        f_add: &widen(factors.f_add, add_scale),
        f_rescale: &widen(factors.f_rescale, rescale_scale),
        f_error: &widen(factors.f_error, error_scale),
    };
    bounds(sums, &factors, query, out)
}

fn bounds_queries(
    sums: &[[u32; BLOCK]],
    factors: &HalfFactors<'_>,
    queries: &[QueryTerms],
    out: &mut [BlockBounds],
    masks: &mut [u32],
) {
    masks.fill(0);
    for (((sums, query), out), mask) in sums.iter().zip(queries).zip(out).zip(masks) {
        *mask = bounds_f16(sums, factors, query, out);
    }
}

fn full_dot(query: &[f32], block: &[u8], lane: usize, mut ex_code: &[u8], ex: u32) -> f32 {
    let (column, shift) = (lane % 16, lane / 16 * 4);
    let mut lanes = [0.0; LANES];
    let mut ex_values = [0; 64];
    for (query, groups) in query.as_chunks::<64>().0.iter().zip(block.as_chunks::<256>().0) {
        let Some((planes, rest)) = ex_code.split_at_checked(ex_bytes(64, ex)) else { break };
        ex_code = rest;
        unpack_ex(planes, ex, &mut ex_values);
        for (dim, (&x, &ex_value)) in query.iter().zip(&ex_values).enumerate() {
            let bit = u32::from(groups[dim / 4 * 16 + column] >> shift >> (dim % 4) & 1);
            let value = (bit << ex) + u32::from(ex_value);
            lanes[dim % LANES] = x.mul_add(value as f32, lanes[dim % LANES]);
        }
    }
    fold(lanes)
}

fn ex_dot(query: &[i8], mut ex_code: &[u8], ex: u32) -> i32 {
    let mut ex_values = [0; 64];
    let mut sum = 0;
    for query in query.as_chunks::<64>().0 {
        let Some((planes, rest)) = ex_code.split_at_checked(ex_bytes(64, ex)) else { break };
        ex_code = rest;
        unpack_ex(planes, ex, &mut ex_values);
        sum += byte_dot(query, &ex_values);
    }
    sum
}

fn byte_dots(query: &[i8], rows: &[u8], out: &mut [i32]) {
    for (row, out) in rows.chunks_exact(query.len()).zip(out) {
        *out = byte_dot(query, row);
    }
}

pub(super) fn byte_dot(query: &[i8], row: &[u8]) -> i32 {
    query.iter().zip(row).map(|(&x, &y)| i32::from(x) * i32::from(y)).sum()
}

#[expect(clippy::inline_always, reason = "the other levels compile this body again, with their registers")]
#[inline(always)]
pub(super) fn at_most(values: &[f32], limit: f32, masks: &mut [u32]) -> usize {
    let mut count = 0;
    for (values, mask) in values.chunks(32).zip(masks) {
        *mask = values.iter().rev().fold(0, |mask, &value| mask << 1 | u32::from(value <= limit));
        count += mask.count_ones() as usize;
    }
    count
}

pub(super) fn not_zero(bytes: &[u8], masks: &mut [u64]) {
    for (bytes, mask) in bytes.chunks(64).zip(masks) {
        let (eights, rest) = bytes.as_chunks::<8>();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        *mask = eights
            .iter()
            .chain([&last])
            .zip((0..64).step_by(8))
            .fold(0, |mask, (eight, shift)| mask | eight_not_zero(*eight) << shift);
    }
}

/// Bit `i` says whether byte `i` is not 0.
fn eight_not_zero(bytes: [u8; 8]) -> u64 {
    let mut word = u64::from_le_bytes(bytes);
    // Whatever a byte holds, its lowest bit says it. What comes over from the next byte never gets as far.
    word |= word >> 4;
    word |= word >> 2;
    word |= word >> 1;
    // Bit 8 i, times 2^(56 - 7 i), is bit 56 + i, and nothing else gets there.
    (word & 0x0101_0101_0101_0101).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

pub(super) fn ones(words: &[u64]) -> usize {
    words.iter().map(|word| word.count_ones() as usize).sum()
}

pub(super) fn rows_in(packed: &[u8], bits: u32, first_row: u64, set: &[u64]) -> u32 {
    let mut mask = 0;
    for (lane, number) in row_numbers::unpack(packed, bits).into_iter().enumerate() {
        let row = first_row + u64::from(number);
        let word = usize::try_from(row / 64).ok().and_then(|at| set.get(at)).copied().unwrap_or(0);
        mask |= ((word >> (row % 64)) as u32 & 1) << lane;
    }
    mask
}

/// Plain Rust has no such thing.
fn prefetch(_bytes: &[u8]) {}
