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
//! Lengths that do not fit each other are a mistake of the caller: debug builds stop, release builds do the part that
//! fits. No length makes a kernel read or write outside the slices it was given.

#![allow(unsafe_code, reason = "SIMD instructions and the calls that vouch for the CPU having them")]

#[cfg(target_arch = "x86_64")]
mod avx2;
mod scalar;
#[cfg(test)]
mod tests;

use std::{env, fmt, str::FromStr, sync::OnceLock};

use crate::{
    error::{Error, Result},
    rabitq::{BLOCK, BlockBounds, BlockFactors, QueryTerms},
};

/// The environment variable that forces a level; for tests, measurements and bug reports.
pub const LEVEL_VARIABLE: &str = "RUVECTOR_SIMD";

const LEVEL_NAMES: &str = "one of scalar, avx2";

/// An instruction set that has kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// Plain Rust, what every CPU has and what defines the results.
    Scalar,
    /// AVX2 and FMA: `x86_64` since Haswell (2013) and Zen (2017).
    Avx2,
}

impl Level {
    /// All levels, the best last.
    pub const ALL: [Self; 2] = [Self::Scalar, Self::Avx2];

    /// The level's name, as users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
        }
    }

    /// Whether this CPU has the level. The answer never changes while the process runs.
    pub fn is_available(self) -> bool {
        Kernels::for_level(self).is_some()
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Level {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|level| level.name() == text)
            .ok_or_else(|| Error::invalid_parameter("simd level", LEVEL_NAMES, format!("{text:?}")))
    }
}

/// The kernels of one level, all safe to run on this CPU.
#[derive(Clone, Copy)]
pub struct Kernels {
    table: &'static Table,
}

/// One entry per kernel. They are `unsafe` to call because the CPU must have the level; nothing else is asked.
struct Table {
    level: Level,
    dot: unsafe fn(&[f32], &[f32]) -> f32,
    l2sq: unsafe fn(&[f32], &[f32]) -> f32,
    dots_tile: unsafe fn(&[f32], &[f32], usize, &mut [f32]),
    multiply: unsafe fn(&mut [f32], &[f32]),
    butterfly: unsafe fn(&mut [f32], &mut [f32]),
    hadamard: unsafe fn(&mut [f32]),
    subset_sums: unsafe fn(&[f32], f32, &mut [u8]),
    scan_block: unsafe fn(&[u8], &[u8], &mut [u32; BLOCK]),
    bounds: unsafe fn(&[u32; BLOCK], &BlockFactors<'_>, &QueryTerms, &mut BlockBounds) -> u32,
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
            Level::Avx2 => (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"))
                .then_some(Self { table: &avx2::TABLE }),
            #[cfg(not(target_arch = "x86_64"))]
            Level::Avx2 => None,
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
        unsafe { (self.table.dots_tile)(queries, &rows[..nrows * dim], dim, out) }
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
}
