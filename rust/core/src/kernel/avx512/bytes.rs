//! Inner products of bytes.

#[allow(clippy::wildcard_imports, reason = "intrinsics are a language of their own")]
use std::arch::x86_64::*;

use super::load_bytes;
use crate::kernel::scalar;

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

/// Four queries at a time, two rows at a time: what is read of a row serves all four.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn byte_dots_of_four_vnni(queries: &[i8], rows: &[u8], out: &mut [i32]) {
    let (dim, count) = (queries.len() / 4, out.len() / 4);
    if dim % 64 != 0 {
        for (query, out) in queries.chunks_exact(dim).zip(out.chunks_exact_mut(count)) {
            byte_dots_vnni(query, rows, out);
        }
        return;
    }
    let mut place = |row: usize, totals: [i32; 4]| {
        totals.into_iter().enumerate().for_each(|(query, total)| out[query * count + row] = total);
    };
    let mut pairs = rows.chunks_exact(2 * dim);
    for (at, pair) in pairs.by_ref().enumerate() {
        let (first, second) = pair.split_at(dim);
        let [a, b] = dots_of_four([first, second], queries);
        place(2 * at, a);
        place(2 * at + 1, b);
    }
    let last = pairs.remainder();
    if !last.is_empty() {
        let [totals] = dots_of_four([last], queries);
        place(count - 1, totals);
    }
}

/// The inner products of each of some rows with four queries, all of a whole number of steps.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
fn dots_of_four<const R: usize>(rows: [&[u8]; R], queries: &[i8]) -> [[i32; 4]; R] {
    let queries = queries.as_chunks::<64>().0;
    let steps = queries.len() / 4;
    let chunks = rows.map(|row| &row.as_chunks::<64>().0[..steps]);
    let mut sums = [[_mm512_setzero_si512(); 4]; R];
    for step in 0..steps {
        for (sums, chunks) in sums.iter_mut().zip(chunks) {
            let row = load_bytes(&chunks[step]);
            for (sum, query) in sums.iter_mut().zip(0..4) {
                // SAFETY: there are four times as many chunks as steps.
                let query = unsafe { queries.get_unchecked(query * steps + step) };
                *sum = _mm512_dpbusd_epi32(*sum, row, load_signed(query));
            }
        }
    }
    sums.map(|sums| totals(sums))
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

#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
#[inline]
fn load_signed(bytes: &[i8; 64]) -> __m512i {
    // SAFETY: the array has the 64 bytes that are read, and the load asks for no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

/// What is left of a row after the last whole step.
fn of_rest(rest: &[i8], row: &[u8]) -> i32 {
    scalar::byte_dot(rest, &row[row.len() - rest.len()..])
}
