//! Inner products of bytes.

#[allow(clippy::wildcard_imports, reason = "intrinsics are a language of their own")]
use std::arch::x86_64::*;

use super::{load_bytes, load_signed, store_u32};
use crate::kernel::{ACROSS, scalar};

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
pub(super) fn byte_dots(query: &[i8], rows: &[u8], out: &mut [i32]) {
    let (steps, rest) = query.as_chunks::<64>();
    let ones = _mm512_set1_epi16(1);
    for (row, out) in rows.chunks_exact(query.len()).zip(out) {
        let mut sum = _mm512_setzero_si512();
        for (query, row) in steps.iter().zip(row.as_chunks::<64>().0) {
            let pairs = _mm512_maddubs_epi16(load_bytes(row), load_signed(query));
            sum = _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, ones));
        }
        *out = _mm512_reduce_add_epi32(sum) + of_rest(rest, row);
    }
}

/// Four rows at a time, whose sums are put together at the end. Rows farther on are fetched: the second cache hardly holds
/// all of them between two queries, and what a CPU fetches by itself ends with each page.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn byte_dots_vnni(query: &[i8], rows: &[u8], out: &mut [i32]) {
    let dim = query.len();
    let (steps, rest) = query.as_chunks::<64>();
    let (fours, last) = out.as_chunks_mut::<4>();
    for (out, rows) in fours.iter_mut().zip(rows.chunks_exact(4 * dim)) {
        let (mut chunks, mut sums) = ([&[][..]; 4], [_mm512_setzero_si512(); 4]);
        for (chunks, row) in chunks.iter_mut().zip(rows.chunks_exact(dim)) {
            *chunks = row.as_chunks::<64>().0;
        }
        for (at, query) in steps.iter().enumerate() {
            let query = load_signed(query);
            for (sum, row) in sums.iter_mut().zip(chunks) {
                // SAFETY: a row has as many chunks as the query.
                let row = unsafe { row.get_unchecked(at) };
                let later = row.as_ptr().wrapping_add(8 * dim);
                #[allow(unused_unsafe, reason = "newer toolchains call it safe")]
                // SAFETY: a prefetch reads nothing that the program could see, and never faults.
                unsafe {
                    _mm_prefetch::<_MM_HINT_T0>(later.cast());
                }
                *sum = _mm512_dpbusd_epi32(*sum, load_bytes(row), query);
            }
        }
        *out = totals(sums);
        if !rest.is_empty() {
            for (out, row) in out.iter_mut().zip(rows.chunks_exact(dim)) {
                *out += of_rest(rest, row);
            }
        }
    }
    byte_dots(query, &rows[rows.len().min(fours.len() * 4 * dim)..], last);
}

/// All queries of a tile at a time, a lane each: what is read of a row is handed to all lanes, and no sum has to be gathered
/// from the lanes of a register at the end. Eight rows at a time keep both multipliers busy.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn byte_dots_across_vnni(queries: &[[i8; 64]], rows: &[u8], out: &mut [i32], count: usize) {
    let dim = queries.len() * 4;
    for (first, sixteen) in rows.chunks(ACROSS * dim).enumerate() {
        let mut sums = [_mm512_setzero_si512(); ACROSS];
        let (sums_low, sums_high) = sums.split_at_mut(8);
        let (low, high) = sixteen.split_at(sixteen.len().min(8 * dim));
        sums_low.copy_from_slice(&eight_across(queries, low));
        if !high.is_empty() {
            sums_high.copy_from_slice(&eight_across(queries, high));
        }
        let from = first * ACROSS;
        let there = sixteen.len() / dim;
        for (sums, out) in transposed(&sums).into_iter().zip(out.chunks_exact_mut(count)) {
            for (out, sum) in out[from..from + there].iter_mut().zip(store_u32(sums)) {
                *out = sum.cast_signed();
            }
        }
    }
}

/// The inner products of up to eight rows, at least one, with 16 queries: a register for each row, a lane for each query.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
fn eight_across(queries: &[[i8; 64]], rows: &[u8]) -> [__m512i; 8] {
    let dim = queries.len() * 4;
    let last = rows.len() / dim - 1;
    let mut fours = [&[][..]; 8];
    for (row, fours) in fours.iter_mut().enumerate() {
        *fours = &rows[row.min(last) * dim..][..dim].as_chunks::<4>().0[..queries.len()];
    }
    // One sum would wait for its last addition longer than the seven others take.
    let mut sums = [[_mm512_setzero_si512(); 8]; 2];
    let (pairs, odd) = queries.as_chunks::<2>();
    for (at, pair) in pairs.iter().enumerate() {
        for ((sums, query), step) in sums.iter_mut().zip(pair).zip(2 * at..) {
            let query = load_signed(query);
            for (sum, fours) in sums.iter_mut().zip(fours) {
                // SAFETY: there are as many fours of a row as of the queries.
                let four = unsafe { fours.get_unchecked(step) };
                *sum = _mm512_dpbusd_epi32(*sum, _mm512_set1_epi32(i32::from_ne_bytes(*four)), query);
            }
        }
    }
    let [mut sums, others] = sums;
    for (sum, other) in sums.iter_mut().zip(others) {
        *sum = _mm512_add_epi32(*sum, other);
    }
    if let [query] = odd {
        for (sum, fours) in sums.iter_mut().zip(fours) {
            let four = _mm512_set1_epi32(i32::from_ne_bytes(fours[queries.len() - 1]));
            *sum = _mm512_dpbusd_epi32(*sum, four, load_signed(query));
        }
    }
    sums
}

/// Lane `j` of register `i` as lane `i` of register `j`.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn transposed(rows: &[__m512i; 16]) -> [__m512i; 16] {
    let mut pairs = *rows;
    for (pairs, rows) in pairs.as_chunks_mut::<4>().0.iter_mut().zip(rows.as_chunks::<4>().0) {
        let [a, b, c, d] = *rows;
        let (ab_low, ab_high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let (cd_low, cd_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        *pairs = [
            _mm512_unpacklo_epi64(ab_low, cd_low),
            _mm512_unpackhi_epi64(ab_low, cd_low),
            _mm512_unpacklo_epi64(ab_high, cd_high),
            _mm512_unpackhi_epi64(ab_high, cd_high),
        ];
    }
    let mut columns = pairs;
    for lane in 0..4 {
        let [a, b, c, d] = [pairs[lane], pairs[4 + lane], pairs[8 + lane], pairs[12 + lane]];
        let (ab_low, ab_high) = (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xDD>(a, b));
        let (cd_low, cd_high) = (_mm512_shuffle_i32x4::<0x88>(c, d), _mm512_shuffle_i32x4::<0xDD>(c, d));
        columns[lane] = _mm512_shuffle_i32x4::<0x88>(ab_low, cd_low);
        columns[8 + lane] = _mm512_shuffle_i32x4::<0xDD>(ab_low, cd_low);
        columns[4 + lane] = _mm512_shuffle_i32x4::<0x88>(ab_high, cd_high);
        columns[12 + lane] = _mm512_shuffle_i32x4::<0xDD>(ab_high, cd_high);
    }
    columns
}

/// The sum of each of four registers.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn totals([a, b, c, d]: [__m512i; 4]) -> [i32; 4] {
    let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    let sixteen = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    let eight = _mm256_add_epi32(_mm512_castsi512_si256(sixteen), _mm512_extracti64x4_epi64::<1>(sixteen));
    let four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256::<1>(eight));
    let mut totals = [0; 4];
    // SAFETY: the array has the 16 bytes that are written, and the store asks for no alignment.
    unsafe { _mm_storeu_si128(totals.as_mut_ptr().cast(), four) };
    totals
}

/// What is left of a row after the last whole step.
fn of_rest(rest: &[i8], row: &[u8]) -> i32 {
    scalar::byte_dot(rest, &row[row.len() - rest.len()..])
}
