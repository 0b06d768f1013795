//! How fast the kernels are, in cache, on one core: `cargo bench -p ruvector-core --bench kernels`.
//!
//! Every level that this CPU has, at some dimensions. `-- --smoke` runs each loop for a moment only: it shows that the
//! bench still works, and its figures mean nothing. `-- avx2 384` keeps the lines that have both words.

#![allow(clippy::print_stdout, reason = "what a bench is for")]

use std::{
    env,
    hint::black_box,
    time::{Duration, Instant},
};

use half::f16;
use ruvector_core::{
    kernel::Kernels,
    rabitq::{BLOCK, BlockBounds, HalfFactors, QueryTerms, block_bytes, ex_bytes},
    random::SplitMix64,
};

const DIMS: [usize; 4] = [128, 384, 768, 1536];

/// How many queries are scanned together, and how many queries and rows a tile has.
const QUERIES: usize = 8;
const ROWS: usize = 96;

/// The numbers of a cache line.
const LINE: usize = 16;

/// Codes that stay in the second cache.
const CODE_BYTES: usize = 128 * 1024;

struct Bench {
    words: Vec<String>,
    window: Duration,
    rounds: usize,
}

impl Bench {
    fn from_args() -> Self {
        let (flags, words): (Vec<_>, Vec<_>) = env::args().skip(1).partition(|word| word.starts_with("--"));
        let smoke = flags.iter().any(|flag| flag == "--smoke");
        let (window, rounds) =
            if smoke { (Duration::from_micros(50), 1) } else { (Duration::from_millis(1), 150) };
        Self { words, window, rounds }
    }

    /// Prints `units` per second over the best of many short rounds, or the time itself where `units` is 0. What else
    /// runs on the machine slows some rounds down, and seldom all of them.
    fn line(&self, kernels: Kernels, dim: usize, what: &str, unit: (f64, &str), mut call: impl FnMut()) {
        let name = format!("{:8}{dim:6}  {what:30}", kernels.level());
        if !self.words.iter().all(|word| name.split_whitespace().any(|part| part == word)) {
            return;
        }
        let mut best = f64::INFINITY;
        for _ in 0..self.rounds {
            let (start, mut calls) = (Instant::now(), 0);
            while start.elapsed() < self.window {
                (0..8).for_each(|_| call());
                calls += 8;
            }
            best = best.min(start.elapsed().as_secs_f64() / f64::from(calls));
        }
        let (units, label) = unit;
        let figure = if units == 0.0 { best * 1e9 } else { units / best };
        println!("{name}{figure:10.1} {label}");
    }
}

/// Random inputs of every kernel at one dimension.
struct Case {
    dim: usize,
    codes: Vec<u8>,
    luts: Vec<Vec<u8>>,
    floats: Vec<f32>,
    halves: Vec<f16>,
    factors: [[u16; BLOCK]; 3],
}

impl Case {
    fn new(dim: usize) -> Self {
        let mut random = SplitMix64::new(dim as u64);
        let mut float = || random.unit_f64() as f32 - 0.5;
        let floats: Vec<f32> = (0..2 * ROWS * dim + LINE).map(|_| float()).collect();
        let halves = floats.iter().map(|&value| f16::from_f32(value)).collect();
        let factors = [0; 3].map(|_| [0; BLOCK].map(|_| f16::from_f32(float()).to_bits()));
        let blocks = (CODE_BYTES / block_bytes(dim)).max(1);
        let codes = (0..blocks * block_bytes(dim)).map(|_| random.next_u64() as u8).collect();
        let luts = (0..QUERIES).map(|_| (0..dim * 4).map(|_| random.below(64) as u8).collect()).collect();
        Self { dim, codes, luts, floats, halves, factors }
    }

    fn blocks(&self) -> impl Iterator<Item = &[u8]> {
        self.codes.chunks_exact(block_bytes(self.dim))
    }

    fn half_factors(&self) -> HalfFactors<'_> {
        let [f_add, f_rescale, f_error] = &self.factors;
        HalfFactors { f_add, f_rescale, f_error, scale: [1.0, 2.0, 0.5] }
    }

    /// Scans and bounds, in millions of codes per second.
    fn scans(&self, bench: &Bench, kernels: Kernels) {
        let codes = (self.blocks().count() * BLOCK) as f64 / 1e6;
        let (terms, factors) = (far_query(), self.half_factors());
        let (all_terms, mut masks) = ([terms; QUERIES], [0; QUERIES]);
        let (mut sums, mut bounds) = ([[0; BLOCK]; QUERIES], [0; QUERIES].map(|_| BlockBounds::default()));
        bench.line(kernels, self.dim, "scan_block", (codes, "M codes/s"), || {
            for block in self.blocks() {
                kernels.scan_block(black_box(block), &self.luts[0], &mut sums[0]);
                black_box(&sums);
            }
        });
        bench.line(kernels, self.dim, "scan_block+bounds_f16", (codes, "M codes/s"), || {
            for block in self.blocks() {
                kernels.scan_block(black_box(block), &self.luts[0], &mut sums[0]);
                black_box(kernels.bounds_f16(&sums[0], &factors, &terms, &mut bounds[0]));
            }
        });
        let luts: Vec<&[u8]> = self.luts.iter().map(Vec::as_slice).collect();
        for queries in [2, 4, QUERIES] {
            let (codes, name) = (codes * queries as f64, format!("scan_queries/{queries}"));
            bench.line(kernels, self.dim, &name, (codes, "M codes/s"), || {
                for block in self.blocks() {
                    kernels.scan_queries(black_box(block), &luts[..queries], &mut sums[..queries]);
                    black_box(&sums);
                }
            });
            bench.line(kernels, self.dim, &format!("{name}+bounds_queries"), (codes, "M codes/s"), || {
                for block in self.blocks() {
                    kernels.scan_queries(black_box(block), &luts[..queries], &mut sums[..queries]);
                    let (sums, out) = (&sums[..queries], &mut bounds[..queries]);
                    kernels.bounds_queries(sums, &factors, &all_terms[..queries], out, &mut masks[..queries]);
                    black_box(&masks);
                }
            });
        }
    }

    /// Tiles in GFLOP per second, single products in nanoseconds.
    fn products(&self, bench: &Bench, kernels: Kernels) {
        let dim = self.dim;
        // Where Arrow would put them: at the start of a cache line.
        let start = self.floats.as_ptr().align_offset(4 * LINE);
        let (queries, rows) = self.floats[start..][..2 * ROWS * dim].split_at(ROWS * dim);
        let mut out = vec![0.0; ROWS * ROWS];
        let products = (ROWS * ROWS * dim) as f64 / 1e9;
        bench.line(kernels, dim, "dots_tile", (2.0 * products, "GFLOP/s"), || {
            kernels.dots_tile(black_box(queries), rows, dim, &mut out);
        });
        bench.line(kernels, dim, "l2sq_tile", (3.0 * products, "GFLOP/s"), || {
            kernels.l2sq_tile(black_box(queries), rows, dim, &mut out);
        });
        let (query, row, half_row) = (&queries[..dim], &rows[..dim], &self.halves[..dim]);
        let nanoseconds = (0.0, "ns");
        bench.line(kernels, dim, "dot", nanoseconds, || {
            black_box(kernels.dot(black_box(query), row));
        });
        bench.line(kernels, dim, "dot_f16", nanoseconds, || {
            black_box(kernels.dot_f16(black_box(query), half_row));
        });
        bench.line(kernels, dim, "l2sq_f16", nanoseconds, || {
            black_box(kernels.l2sq_f16(black_box(query), half_row));
        });
        let byte_row = &self.codes[..dim];
        bench.line(kernels, dim, "dot_bytes", nanoseconds, || {
            black_box(kernels.dot_bytes(black_box(query), byte_row));
        });
        let bytes: Vec<i8> = self.luts[0][..dim].iter().map(|&entry| entry as i8).collect();
        let mut dots = vec![0; self.codes.len() / dim];
        let products = dots.len() as f64 / 1e6;
        bench.line(kernels, dim, "byte_dots", (products, "M rows/s"), || {
            kernels.byte_dots(black_box(&bytes), &self.codes[..dots.len() * dim], &mut dots);
        });
        let bytes = bytes.repeat(16);
        let mut dots = vec![0; 16 * dots.len()];
        bench.line(kernels, dim, "byte_dots_tile/16", (16.0 * products, "M rows/s"), || {
            kernels.byte_dots_tile(black_box(&bytes), &self.codes[..dots.len() / 16 * dim], dim, &mut dots);
        });
        let values = &queries[..dim];
        let (limit, mut masks) = (values[dim / 2], vec![0; dim.div_ceil(32)]);
        bench.line(kernels, dim, "at_most", nanoseconds, || {
            black_box(kernels.at_most(black_box(values), limit, &mut masks));
        });
        let mut masks = vec![0; dim.div_ceil(64)];
        bench.line(kernels, dim, "not_zero", nanoseconds, || {
            kernels.not_zero(black_box(byte_row), &mut masks);
        });
        let block = &self.codes[..block_bytes(dim)];
        for ex in 0..=8 {
            let ex_code = &self.luts[0][..ex_bytes(dim, ex)];
            bench.line(kernels, dim, &format!("full_dot/1+{ex}"), nanoseconds, || {
                black_box(kernels.full_dot(black_box(query), block, 21, ex_code, ex));
            });
            bench.line(kernels, dim, &format!("ex_dot/{ex}"), nanoseconds, || {
                black_box(kernels.ex_dot(black_box(&bytes[..dim]), ex_code, ex));
            });
        }
    }
}

/// A query for which almost every row is too far away, as in a search that has found its best.
fn far_query() -> QueryTerms {
    QueryTerms { delta: 1e-3, shift: 0.1, slack: 1e-3, g_add: 100.0, g_error: 0.5, limit: 1.0 }
}

fn main() {
    let bench = Bench::from_args();
    for dim in DIMS {
        let case = Case::new(dim);
        for kernels in Kernels::available() {
            case.scans(&bench, kernels);
            case.products(&bench, kernels);
        }
    }
}
