//! The loops everything else waits for, once in plain Rust and once per instruction set.
//!
//! [`Kernels`] is a proof: a value of it exists only for a level that this CPU has, so its methods are safe to call
//! and need not look again. The level is chosen once per search, by [`Kernels::detect`], and each call goes through
//! one function pointer; calls are long (a row, a block of 32 codes, a tile), so the indirection is free.
//!
//! Invariant: every level gives the same bits as [`Level::Scalar`], floats too. Two rules make this so.
//!
//! - Sums of floats have a fixed arrangement of 32 lanes. Lane `j` gathers `x[32 i + j]` in order of `i` by fused
//!   multiply-add; a last block that is not full is filled up with zeros; then lanes are folded in halves,
//!   lane `j` += lane `j + half` for half = 16, 8, 4, 2, 1.
//! - Everything else is element by element in one order of operations, without fused multiply-add.
//!
//! A kernel hands no closure to `map` and the like: those are compiled without the level's instructions, so the closure
//! would be called, registers saved and restored around it, instead of becoming part of the loop.
//!
//! Lengths that do not fit each other are a mistake of the caller: debug builds stop, release builds do the part that
//! fits. No length makes a kernel read or write outside the slices it was given.

#![allow(unsafe_code, reason = "SIMD instructions and the calls that vouch for the CPU having them")]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod level;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod packed_rows;
mod scalar;
#[cfg(test)]
mod tests;

use std::{env, fmt, sync::OnceLock};

use half::f16;

use self::level::LEVEL_NAMES;
pub use self::level::Level;
use crate::{
    error::{Error, Result},
    rabitq::{BLOCK, BlockBounds, BlockFactors, HalfFactors, QueryTerms, ex_bytes},
};

/// Calls a kernel that is compiled once for each number of extra bits; more than 8 count as 8.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! with_ex {
    ($ex:expr, $name:ident => $call:expr) => {
        with_ex!(@ $ex, $name, $call, 0 1 2 3 4 5 6 7)
    };
    (@ $ex:expr, $name:ident, $call:expr, $($value:literal)*) => {
        match $ex {
            $($value => { const $name: usize = $value; $call })*
            _ => { const $name: usize = 8; $call }
        }
    };
}
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use with_ex;

/// The environment variable that forces a level; for tests, measurements and bug reports.
pub const LEVEL_VARIABLE: &str = "RUVECTOR_SIMD";

/// Queries that meet the same bytes side by side.
const ACROSS: usize = 16;
/// Fewer are answered one after the other: a place without a query costs as much as one with.
const WORTH_ACROSS: usize = 4;

/// The kernels of one level, all safe to run on this CPU.
#[derive(Clone, Copy)]
pub struct Kernels {
    table: &'static Table,
}

/// One entry per kernel. They are `unsafe` to call because the CPU must have the level; nothing else is asked.
#[allow(clippy::type_complexity, reason = "the types are those of the methods below")]
struct Table {
    level: Level,
    dot: unsafe fn(&[f32], &[f32]) -> f32,
    l2sq: unsafe fn(&[f32], &[f32]) -> f32,
    dot_f16: unsafe fn(&[f32], &[f16]) -> f32,
    l2sq_f16: unsafe fn(&[f32], &[f16]) -> f32,
    dot_bytes: unsafe fn(&[f32], &[u8]) -> f32,
    dots_tile: Tile,
    l2sq_tile: Tile,
    multiply: unsafe fn(&mut [f32], &[f32]),
    butterfly: unsafe fn(&mut [f32], &mut [f32]),
    hadamard: unsafe fn(&mut [f32]),
    subset_sums: unsafe fn(&[f32], f32, &mut [u8]),
    scan_block: unsafe fn(&[u8], &[u8], &mut [u32; BLOCK]),
    scan_queries: unsafe fn(&[u8], &[&[u8]], &mut [[u32; BLOCK]]),
    bounds: unsafe fn(&[u32; BLOCK], &BlockFactors<'_>, &QueryTerms, &mut BlockBounds) -> u32,
    bounds_f16: unsafe fn(&[u32; BLOCK], &HalfFactors<'_>, &QueryTerms, &mut BlockBounds) -> u32,
    bounds_queries:
        unsafe fn(&[[u32; BLOCK]], &HalfFactors<'_>, &[QueryTerms], &mut [BlockBounds], &mut [u32]),
    full_dot: unsafe fn(&[f32], &[u8], usize, &[u8], u32) -> f32,
    ex_dot: unsafe fn(&[i8], &[u8], u32) -> i32,
    byte_dots: unsafe fn(&[i8], &[u8], &mut [i32]),
    /// Several queries side by side, where that is quicker than one after the other.
    byte_dots_across: Option<unsafe fn(&[[i8; 4 * ACROSS]], &[u8], &mut [i32], usize)>,
    at_most: unsafe fn(&[f32], f32, &mut [u32]) -> usize,
    not_zero: unsafe fn(&[u8], &mut [u64]),
    ones: unsafe fn(&[u64]) -> usize,
    rows_in: unsafe fn(&[u8], u32, u64, &[u64]) -> u32,
    prefetch: unsafe fn(&[u8]),
}

type Tile = unsafe fn(&[f32], &[f32], usize, &mut [f32]);

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
        && is_x86_feature_detected!("popcnt")
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
}

impl fmt::Debug for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kernels").field(&self.level()).finish()
    }
}

impl Kernels {
    /// The kernels of `level`, if this CPU has it.
    pub fn for_level(level: Level) -> Option<Self> {
        match level {
            Level::Scalar => Some(Self { table: &scalar::TABLE }),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => has_avx2().then_some(Self { table: &avx2::TABLE }),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => (has_avx2() && has_avx512()).then(|| Self {
                table: if is_x86_feature_detected!("avx512vnni") {
                    &avx512::TABLE_WITH_VNNI
                } else {
                    &avx512::TABLE
                },
            }),
            #[cfg(target_arch = "aarch64")]
            Level::Neon => {
                std::arch::is_aarch64_feature_detected!("neon").then_some(Self { table: &neon::TABLE })
            }
            #[allow(unreachable_patterns, reason = "levels of other architectures")]
            _ => None,
        }
    }

    /// The kernels of every level this CPU has, the best last. Tests run on all of them.
    pub fn available() -> impl Iterator<Item = Self> {
        Level::ALL.into_iter().filter_map(Self::for_level)
    }

    /// The best kernels this CPU has, or those of the level that `RUVECTOR_SIMD` names (read once per process).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] when `RUVECTOR_SIMD` names no level, or one this CPU lacks.
    pub fn detect() -> Result<Self> {
        static CHOICE: OnceLock<Result<Kernels, String>> = OnceLock::new();
        let choice = CHOICE.get_or_init(|| {
            let request = env::var_os(LEVEL_VARIABLE);
            Self::choose(request.map(|text| text.to_string_lossy().into_owned()).as_deref())
        });
        choice.clone().map_err(|actual| Error::invalid_parameter(LEVEL_VARIABLE, LEVEL_NAMES, actual))
    }

    /// What [`Kernels::detect`] decides; an empty request is none. The error says what was found instead.
    fn choose(request: Option<&str>) -> Result<Self, String> {
        match request.filter(|text| !text.is_empty()) {
            None => Ok(Self::available().last().unwrap_or(Self { table: &scalar::TABLE })),
            Some(name) => {
                let level: Level = name.parse().map_err(|_| format!("{name:?}"))?;
                Self::for_level(level).ok_or_else(|| format!("{name:?}, which this cpu lacks"))
            }
        }
    }

    /// The level these kernels belong to.
    pub fn level(self) -> Level {
        self.table.level
    }

    /// The inner product `sum a_i b_i`.
    #[inline]
    pub fn dot(self, a: &[f32], b: &[f32]) -> f32 {
        debug_assert_eq!(a.len(), b.len());
        // SAFETY: `self` exists, so the CPU has the level.
        unsafe { (self.table.dot)(a, b) }
    }

    /// The squared Euclidean distance `sum (a_i - b_i)^2`.
    #[inline]
    pub fn l2sq(self, a: &[f32], b: &[f32]) -> f32 {
        debug_assert_eq!(a.len(), b.len());
        // SAFETY: `self` exists, so the CPU has the level.
        unsafe { (self.table.l2sq)(a, b) }
    }

    /// [`Kernels::dot`] with a vector of half floats: the same bits as for its values widened first.
    #[inline]
    pub fn dot_f16(self, a: &[f32], b: &[f16]) -> f32 {
        debug_assert_eq!(a.len(), b.len());
        // SAFETY: `self` exists, so the CPU has the level.
        unsafe { (self.table.dot_f16)(a, b) }
    }

    /// [`Kernels::l2sq`] to a vector of half floats: the same bits as for its values widened first.
    #[inline]
    pub fn l2sq_f16(self, a: &[f32], b: &[f16]) -> f32 {
        debug_assert_eq!(a.len(), b.len());
        // SAFETY: `self` exists, so the CPU has the level.
        unsafe { (self.table.l2sq_f16)(a, b) }
    }

    /// [`Kernels::dot`] with whole numbers in bytes, 128 standing for 0: the same bits as for `b_i - 128` as floats.
    #[inline]
    pub fn dot_bytes(self, a: &[f32], b: &[u8]) -> f32 {
        debug_assert_eq!(a.len(), b.len());
        // SAFETY: `self` exists, so the CPU has the level.
        unsafe { (self.table.dot_bytes)(a, b) }
    }

    /// The inner product of `query` with each of `rows` (row-major, `query.len()` numbers each), one per `out`.
    pub fn dots(self, query: &[f32], rows: &[f32], out: &mut [f32]) {
        debug_assert_eq!(rows.len(), query.len() * out.len());
        if query.is_empty() {
            return out.fill(0.0);
        }
        for (row, dot) in rows.chunks_exact(query.len()).zip(out) {
            *dot = self.dot(query, row);
        }
    }

    /// The inner products of each of `queries` with each of `rows`: `out[q * nrows + r]`, both inputs row-major with
    /// `dim` numbers a row. The same bits as [`Kernels::dot`], at several times the speed.
    pub fn dots_tile(self, queries: &[f32], rows: &[f32], dim: usize, out: &mut [f32]) {
        self.tile(|table| table.dots_tile, queries, rows, dim, out);
    }

    /// The squared distances of each of `queries` to each of `rows`, as [`Kernels::dots_tile`]. The same bits as
    /// [`Kernels::l2sq`].
    pub fn l2sq_tile(self, queries: &[f32], rows: &[f32], dim: usize, out: &mut [f32]) {
        self.tile(|table| table.l2sq_tile, queries, rows, dim, out);
    }

    fn tile(self, kernel: fn(&Table) -> Tile, queries: &[f32], rows: &[f32], dim: usize, out: &mut [f32]) {
        if dim == 0 {
            return out.fill(0.0);
        }
        let nrows = rows.len() / dim;
        debug_assert_eq!((queries.len() % dim, rows.len() % dim), (0, 0));
        debug_assert_eq!(out.len(), queries.len() / dim * nrows);
        if nrows == 0 {
            return;
        }
        let nqueries = (queries.len() / dim).min(out.len() / nrows);
        let queries = &queries[..nqueries * dim];
        let out = &mut out[..nqueries * nrows];
        // SAFETY: `self` exists, so the CPU has the level.
        unsafe { kernel(self.table)(queries, &rows[..nrows * dim], dim, out) }
    }

    /// `values[i] *= factors[i]`.
    #[inline]
    pub fn multiply(self, values: &mut [f32], factors: &[f32]) {
        debug_assert_eq!(values.len(), factors.len());
        // SAFETY: `self` exists, so the CPU has the level.
        unsafe { (self.table.multiply)(values, factors) }
    }

    /// `(left[i], right[i])` becomes `(left[i] + right[i], left[i] - right[i])`.
    #[inline]
    pub fn butterfly(self, left: &mut [f32], right: &mut [f32]) {
        debug_assert_eq!(left.len(), right.len());
        // SAFETY: `self` exists, so the CPU has the level.
        unsafe { (self.table.butterfly)(left, right) }
    }

    /// The Walsh-Hadamard transform, unscaled, in place: butterflies at distance 1, 2, 4, .. in this order.
    ///
    /// The length is a power of two; of any other length only the leading power of two is transformed.
    #[inline]
    pub fn hadamard(self, values: &mut [f32]) {
        debug_assert!(values.len().is_power_of_two());
        let span = values.len().checked_ilog2().map_or(0, |log| 1 << log);
        // SAFETY: `self` exists, so the CPU has the level.
        unsafe { (self.table.hadamard)(&mut values[..span]) }
    }

    /// The table of [`rabitq::Query`](crate::rabitq::Query): for each group of 4 numbers of `rotated`, 16 sums of those
    /// of them whose bit is set in the pattern `0..16`, above the smallest of the 16, times `per_step`, rounded.
    ///
    /// No entry exceeds 63, whatever `per_step` is.
    pub fn subset_sums(self, rotated: &[f32], per_step: f32, lut: &mut [u8]) {
        debug_assert_eq!(lut.len(), rotated.len() * 4);
        // SAFETY: `self` exists, so the CPU has the level.
        unsafe { (self.table.subset_sums)(rotated, per_step, lut) }
    }

    /// FastScan over one block: for each of its 32 codes, the sum of the table entries the code picks.
    ///
    /// `bin_code` is a block of [`rabitq::pack_block`](crate::rabitq::pack_block), `padded_dim / 8 * 32` bytes; `lut`
    /// has 16 entries for each group of 4 dimensions, `padded_dim / 4 * 16` bytes, each at most 63: four entries
    /// then add up inside a byte (André, Kermarrec and Le Scouarnec, "Cache locality is not enough", VLDB 2015, with
    /// 6 instead of 8 bits). Any number of dimensions: sums are 32 bits wide in the end.
    #[inline]
    pub fn scan_block(self, bin_code: &[u8], lut: &[u8], sums: &mut [u32; BLOCK]) {
        debug_assert_eq!(bin_code.len(), lut.len());
        debug_assert!(lut.len().is_multiple_of(256) && lut.iter().all(|&entry| entry < 64));
        // SAFETY: `self` exists, so the CPU has the level.
        unsafe { (self.table.scan_block)(bin_code, lut, sums) }
    }

    /// [`Kernels::scan_block`] over one block for several queries, one table and one array of sums each: faster than
    /// one call for each, because the codes are taken apart only once for every few queries.
    #[inline]
    pub fn scan_queries(self, bin_code: &[u8], luts: &[&[u8]], sums: &mut [[u32; BLOCK]]) {
        debug_assert_eq!(luts.len(), sums.len());
        debug_assert!(
            luts.iter().all(|lut| lut.len() == bin_code.len() && lut.iter().all(|&entry| entry < 64))
        );
        // SAFETY: `self` exists, so the CPU has the level.
        unsafe { (self.table.scan_queries)(bin_code, luts, sums) }
    }

    /// Distance estimates and lower bounds of a block from the sums of [`Kernels::scan_block`].
    ///
    /// The formulas are those of [`QueryTerms`]. Returns the lanes that may still matter, lane `j` in bit `j`: those
    /// whose lower bound is not above the limit. A tie survives, and so does a bound that is not a number.
    #[inline]
    pub fn bounds(
        self,
        sums: &[u32; BLOCK],
        factors: &BlockFactors<'_>,
        query: &QueryTerms,
        out: &mut BlockBounds,
    ) -> u32 {
        // SAFETY: `self` exists, so the CPU has the level.
        unsafe { (self.table.bounds)(sums, factors, query, out) }
    }

    /// [`Kernels::bounds`] from factors kept as half floats: the same bits as for their values widened first.
    #[inline]
    pub fn bounds_f16(
        self,
        sums: &[u32; BLOCK],
        factors: &HalfFactors<'_>,
        query: &QueryTerms,
        out: &mut BlockBounds,
    ) -> u32 {
        // SAFETY: `self` exists, so the CPU has the level.
        unsafe { (self.table.bounds_f16)(sums, factors, query, out) }
    }

    /// [`Kernels::bounds_f16`] of one block for several queries, one of each slice's items for each: the factors are
    /// widened once for all. The lanes that may still matter go to `masks`.
    #[inline]
    pub fn bounds_queries(
        self,
        sums: &[[u32; BLOCK]],
        factors: &HalfFactors<'_>,
        queries: &[QueryTerms],
        out: &mut [BlockBounds],
        masks: &mut [u32],
    ) {
        debug_assert_eq!([queries.len(), out.len(), masks.len()], [sums.len(); 3]);
        // SAFETY: `self` exists, so the CPU has the level.
        unsafe { (self.table.bounds_queries)(sums, factors, queries, out, masks) }
    }

    /// The inner product of a query with a code of `1 + ex` bits, `sum q_i (2^ex b_i + e_i)`, as exact as floats are.
    ///
    /// Bit `b_i` is that of `lane` in a block of [`rabitq::pack_block`](crate::rabitq::pack_block), `e_i` is value `i`
    /// of a code of [`rabitq::pack_ex`](crate::rabitq::pack_ex). With `ex` = 0 and no extra code it is the sum of the
    /// query's numbers where the bit is set. The query has `padded_dim` numbers.
    #[inline]
    pub fn full_dot(self, query: &[f32], block: &[u8], lane: usize, ex_code: &[u8], ex: u32) -> f32 {
        debug_assert!(query.len().is_multiple_of(64) && lane < BLOCK && ex <= 8);
        debug_assert_eq!((block.len(), ex_code.len()), (query.len() * 4, ex_bytes(query.len(), ex)));
        // SAFETY: `self` exists, so the CPU has the level.
        unsafe { (self.table.full_dot)(query, block, lane % BLOCK, ex_code, ex.min(8)) }
    }

    /// The inner product of a query with the extra values of a code, `sum q_i e_i`, see [`Kernels::full_dot`].
    ///
    /// Where `ex` is 8, the query's numbers are at most 63 either way, as for [`Kernels::byte_dots`]; otherwise at most
    /// [`i8::MAX`] either way.
    #[inline]
    pub fn ex_dot(self, query: &[i8], ex_code: &[u8], ex: u32) -> i32 {
        debug_assert!(query.len().is_multiple_of(64) && ex <= 8);
        debug_assert_eq!(ex_code.len(), ex_bytes(query.len(), ex));
        debug_assert!(query.iter().all(|value| *value >= -i8::MAX && (ex < 8 || value.abs() <= 63)));
        // SAFETY: `self` exists, so the CPU has the level.
        unsafe { (self.table.ex_dot)(query, ex_code, ex.min(8)) }
    }

    /// The inner products of `query` with each of `rows` (row-major, `query.len()` bytes each), one per `out`.
    ///
    /// The query's numbers are at most 63 either way: two products with bytes then add up inside 16 bits, where AVX2
    /// adds them, and all levels agree to the bit. At most 131,072 dimensions, where 32 bits end.
    #[inline]
    pub fn byte_dots(self, query: &[i8], rows: &[u8], out: &mut [i32]) {
        debug_assert_eq!(rows.len(), query.len() * out.len());
        debug_assert!(query.iter().all(|value| value.abs() <= 63));
        if query.is_empty() {
            return out.fill(0);
        }
        // SAFETY: `self` exists, so the CPU has the level.
        unsafe { (self.table.byte_dots)(query, rows, out) }
    }

    /// The same for several queries of `dim` numbers, one after the other: `out` holds all products of the first, then those
    /// of the second, and so on.
    pub fn byte_dots_tile(self, queries: &[i8], rows: &[u8], dim: usize, out: &mut [i32]) {
        let count = rows.len().checked_div(dim).unwrap_or(0);
        if queries.is_empty() || count == 0 {
            return out.fill(0);
        }
        debug_assert!(queries.iter().all(|value| value.abs() <= 63));
        let across = self.table.byte_dots_across.filter(|_| dim.is_multiple_of(4));
        let mut side_by_side = Vec::new();
        for (queries, out) in queries.chunks(ACROSS * dim).zip(out.chunks_mut(ACROSS * count)) {
            match across {
                Some(across) if queries.len() >= WORTH_ACROSS * dim => {
                    put_side_by_side(queries, dim, &mut side_by_side);
                    // SAFETY: `self` exists, so the CPU has the level.
                    unsafe { across(&side_by_side, &rows[..count * dim], out, count) };
                }
                _ => {
                    for (query, out) in queries.chunks_exact(dim).zip(out.chunks_exact_mut(count)) {
                        self.byte_dots(query, rows, out);
                    }
                }
            }
        }
    }

    /// Which of `values` do not exceed a limit, and how many these are: value `32 i + j` has bit `j` of `masks[i]`.
    #[inline]
    pub fn at_most(self, values: &[f32], limit: f32, masks: &mut [u32]) -> usize {
        debug_assert_eq!(masks.len(), values.len().div_ceil(32));
        // SAFETY: `self` exists, so the CPU has the level.
        unsafe { (self.table.at_most)(values, limit, masks) }
    }

    /// Which of `bytes` are not 0: byte `64 i + j` has bit `j` of `masks[i]`.
    pub fn not_zero(self, bytes: &[u8], masks: &mut [u64]) {
        debug_assert_eq!(masks.len(), bytes.len().div_ceil(64));
        // SAFETY: `self` exists, so the CPU has the level.
        unsafe { (self.table.not_zero)(bytes, masks) }
    }

    /// How many bits of `words` are set.
    pub fn ones(self, words: &[u64]) -> usize {
        // SAFETY: `self` exists, so the CPU has the level.
        unsafe { (self.table.ones)(words) }
    }

    /// Which of a block's rows are in a set, a bit for each. Their numbers are packed in `bits` (1 to 32) each, see
    /// [`RowNumbers`](crate::row_numbers::RowNumbers), and count from `first_row`; row `64 i + j` is in the set if bit `j` of
    /// `set[i]` says so, and no row beyond its end.
    #[inline]
    pub fn rows_in(self, packed: &[u8], bits: u32, first_row: u64, set: &[u64]) -> u32 {
        debug_assert!((1..=32).contains(&bits) && packed.len() == BLOCK / 8 * bits as usize);
        // SAFETY: `self` exists, so the CPU has the level.
        unsafe { (self.table.rows_in)(packed, bits.clamp(1, 32), first_row, set) }
    }

    /// Asks for memory that will be read soon. Only the time of the later read changes.
    #[inline]
    pub fn prefetch(self, bytes: &[u8]) {
        // SAFETY: `self` exists, so the CPU has the level.
        unsafe { (self.table.prefetch)(bytes) }
    }
}

/// The 64 numbers of a query that meet each group of an extra code.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline]
fn groups<'a, const EX: usize>(
    query: &'a [i8],
    ex_code: &'a [u8],
) -> impl Iterator<Item = (&'a [i8; 64], &'a [u8])> {
    query.as_chunks().0.iter().zip(ex_code.chunks_exact((8 * EX).max(1)))
}

/// The first four numbers of each query, the next four of each, and so on; zeros where there are fewer queries.
fn put_side_by_side(queries: &[i8], dim: usize, out: &mut Vec<[i8; 4 * ACROSS]>) {
    out.clear();
    out.resize(dim / 4, [0; 4 * ACROSS]);
    for (at, query) in queries.chunks_exact(dim).enumerate() {
        for (out, four) in out.iter_mut().zip(query.as_chunks::<4>().0) {
            out.as_chunks_mut::<4>().0[at] = *four;
        }
    }
}
