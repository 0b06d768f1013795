//! The statistics of the estimator against the paper's and our own simulation, and the layout against itself.

mod codes;
mod halves;

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    kernel::Kernels,
    metric::Family,
    random::SplitMix64,
    segment::{ExCodes, Segment},
};

fn kernels() -> Kernels {
    Kernels::available().last().unwrap()
}

/// Box-Muller.
fn gaussian(random: &mut SplitMix64) -> f64 {
    let radius = (-2.0 * (1.0 - random.unit_f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.unit_f64()).cos()
}

fn gaussians(random: &mut SplitMix64, dim: usize) -> Vec<f32> {
    (0..dim).map(|_| gaussian(random) as f32).collect()
}

fn unit(random: &mut SplitMix64, dim: usize) -> Vec<f32> {
    let vector = gaussians(random, dim);
    let norm = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    vector.into_iter().map(|x| (f64::from(x) / norm) as f32).collect()
}

fn exact_dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
}

/// `<u - 1/2, q'>` without a table.
fn dot_with_code(code: &[u8], query: &[f32]) -> f64 {
    let bit = |i: usize| if code[i / 8] >> (i % 8) & 1 == 1 { 0.5 } else { -0.5 };
    query.iter().enumerate().map(|(i, &x)| bit(i) * f64::from(x)).sum()
}

fn encoded(family: Family, residual: &[f32], centroid: &[f32]) -> (Vec<u8>, Factors) {
    let mut code = vec![0xFF; code_bytes(residual.len())];
    let factors = encode(kernels(), family, residual, centroid, &mut Vec::new(), &mut code);
    (code, factors)
}

struct Oracle {
    dim: usize,
    quality: f64,
    sigma: f64,
}

const ORACLES: [Oracle; 4] = [
    Oracle { dim: 128, quality: 0.8029, sigma: 6.6e-2 },
    Oracle { dim: 384, quality: 0.7985, sigma: 3.9e-2 },
    Oracle { dim: 768, quality: 0.7980, sigma: 2.7e-2 },
    Oracle { dim: 1536, quality: 0.7967, sigma: 1.9e-2 },
];

/// Errors of the estimated inner product of unit vectors, with what is needed to judge them.
#[derive(Default)]
struct Errors {
    count: f64,
    sum: f64,
    squares: f64,
    truth_squares: f64,
    truth_estimate: f64,
    misses: f64,
    one_sided_misses: f64,
}

impl Errors {
    fn add(&mut self, truth: f64, estimate: f64, bound: f64) {
        let error = estimate - truth;
        self.count += 1.0;
        self.sum += error;
        self.squares += error * error;
        self.truth_squares += truth * truth;
        self.truth_estimate += truth * estimate;
        self.misses += f64::from(error.abs() > bound);
        self.one_sided_misses += f64::from(error > bound);
    }
}

const VECTORS: usize = 160;

#[test]
fn an_exact_query_meets_the_oracle() {
    for oracle in ORACLES {
        let mut random = SplitMix64::new(11);
        let dim = oracle.dim;
        let queries: Vec<Vec<f32>> = (0..500).map(|_| unit(&mut random, dim)).collect();
        let (mut errors, mut quality) = (Errors::default(), 0.0);
        for _ in 0..VECTORS {
            let vector = unit(&mut random, dim);
            quality += f64::from(cosine_quality(&vector));
            let (code, factors) = encoded(Family::Ip, &vector, &vec![0.0; dim]);
            for query in &queries {
                let estimate =
                    f64::from(factors.f_add) + f64::from(factors.f_rescale) * dot_with_code(&code, query);
                let bound = 1.9 * f64::from(factors.f_error);
                errors.add(-exact_dot(&vector, query), estimate, bound);
            }
        }
        let Errors { count, .. } = errors;
        let quality = quality / VECTORS as f64;
        assert!((quality - oracle.quality).abs() < 0.004, "{dim}: quality {quality}");
        let sigma = (errors.squares / count).sqrt();
        assert!((sigma / oracle.sigma - 1.0).abs() < 0.05, "{dim}: sigma {sigma}");
        let bias = errors.sum / count / sigma;
        assert!(bias.abs() < 0.02, "{dim}: bias {bias} sigma");
        let slope = errors.truth_estimate / errors.truth_squares;
        assert!((slope - 1.0).abs() < 0.01, "{dim}: slope {slope}");
        let misses = errors.misses / count;
        assert!((misses - 0.057).abs() < 0.005, "{dim}: misses {misses}");
    }
}

#[test]
fn a_table_query_meets_the_oracle() {
    for oracle in ORACLES {
        let mut random = SplitMix64::new(12);
        let dim = oracle.dim;
        let (zero, mut scratch) = (vec![0.0; dim], Vec::new());
        let mut errors = Errors::default();
        let queries: Vec<Vec<f32>> = (0..400).map(|_| unit(&mut random, dim)).collect();
        let tables: Vec<Query> = queries.iter().map(|query| Query::new(kernels(), query)).collect();
        for _ in 0..6 {
            let vectors: Vec<Vec<f32>> = (0..BLOCK).map(|_| unit(&mut random, dim)).collect();
            let block = Block::of(Family::Ip, &vectors, &zero, &mut scratch);
            for (query, table) in queries.iter().zip(&tables) {
                let list = list_terms(Family::Ip, kernels(), query, &zero);
                let (bounds, _) = block.scan(table, &QueryTerms::new(table, list, 1.9, f32::INFINITY));
                for (lane, vector) in vectors.iter().enumerate() {
                    let estimate = f64::from(bounds.estimate[lane]);
                    errors.add(-exact_dot(vector, query), estimate, estimate - f64::from(bounds.lower[lane]));
                }
            }
        }
        let sigma = (errors.squares / errors.count).sqrt();
        assert!((sigma / oracle.sigma - 1.0).abs() < 0.06, "{dim}: sigma {sigma}");
        let misses = errors.one_sided_misses / errors.count;
        assert!(misses <= 0.029 + 0.003, "{dim}: one-sided misses {misses}");
        let slope = errors.truth_estimate / errors.truth_squares;
        assert!((slope - 1.0).abs() < 0.015, "{dim}: slope {slope}");
    }
}

/// 32 codes and their factors, as a list holds them.
struct Block {
    codes: Vec<u8>,
    halves: HalfBlock,
}

impl Block {
    /// The block of `vectors` around `centroid`, both rotated already.
    fn of(family: Family, vectors: &[Vec<f32>], centroid: &[f32], scratch: &mut Vec<f32>) -> Self {
        let dim = centroid.len();
        let mut codes = vec![0; vectors.len() * code_bytes(dim)];
        let around = Around { family, centroid, shifted: centroid };
        let coded = vectors.iter().zip(codes.chunks_exact_mut(code_bytes(dim))).map(|(vector, code)| {
            let residual: Vec<f32> = vector.iter().zip(centroid).map(|(x, c)| x - c).collect();
            encode_bits(kernels(), around, &residual, scratch, code)
        });
        let halves = HalfBlock::new(&coded.collect::<Vec<_>>());
        let mut block = vec![0; block_bytes(dim)];
        pack_block(&codes, vectors.len(), dim, &mut block);
        Self { codes: block, halves }
    }

    fn scan(&self, query: &Query, terms: &QueryTerms) -> (BlockBounds, u32) {
        let (mut sums, mut bounds) = ([0; BLOCK], BlockBounds::default());
        kernels().scan_block(&self.codes, query.lut(), &mut sums);
        let mask = kernels().bounds_f16(&sums, &self.halves.lend(), terms, &mut bounds);
        (bounds, mask)
    }
}

fn exact_distance(family: Family, a: &[f32], b: &[f32]) -> f64 {
    match family {
        Family::L2 => a.iter().zip(b).map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2)).sum(),
        Family::Ip => -exact_dot(a, b),
    }
}

fn moved(center: &[f32], by: &[f32], times: f32) -> Vec<f32> {
    center.iter().zip(by).map(|(c, x)| c + times * x).collect()
}

#[test]
fn both_families_stay_within_five_sigma_of_any_centroid() {
    let mut random = SplitMix64::new(13);
    for (family, dim) in
        [Family::L2, Family::Ip].into_iter().flat_map(|family| [(family, 128), (family, 768)])
    {
        let mut errors = Errors::default();
        for _ in 0..20 {
            let centroid: Vec<f32> = gaussians(&mut random, dim).iter().map(|x| 3.0 * x + 1.0).collect();
            let mut around = |times| moved(&centroid, &gaussians(&mut random, dim), times);
            let vectors: Vec<Vec<f32>> = (0..BLOCK).map(|_| around(0.7)).collect();
            let queries: Vec<Vec<f32>> = (0..20).map(|_| around(1.5)).collect();
            let block = Block::of(family, &vectors, &centroid, &mut Vec::new());
            for query in &queries {
                let list = list_terms(family, kernels(), query, &centroid);
                let table = Query::new(kernels(), query);
                let (bounds, _) = block.scan(&table, &QueryTerms::new(&table, list, 5.0, f32::INFINITY));
                for (lane, vector) in vectors.iter().enumerate() {
                    let truth = exact_distance(family, vector, query);
                    let estimate = f64::from(bounds.estimate[lane]);
                    errors.add(truth, estimate, estimate - f64::from(bounds.lower[lane]));
                }
            }
        }
        assert!(errors.misses < 0.5, "{family:?} {dim}: {} misses of {}", errors.misses, errors.count);
        let (bias, sigma) = (errors.sum / errors.count, (errors.squares / errors.count).sqrt());
        assert!(bias.abs() < 0.1 * sigma, "{family:?} {dim}: bias {bias}, sigma {sigma}");
    }
}

#[test]
fn a_vector_on_its_centroid_is_exact() {
    let mut random = SplitMix64::new(14);
    for family in [Family::L2, Family::Ip] {
        let (centroid, query) = (gaussians(&mut random, 128), gaussians(&mut random, 128));
        let block = Block::of(family, std::slice::from_ref(&centroid), &centroid, &mut Vec::new());
        let list = list_terms(family, kernels(), &query, &centroid);
        let table = Query::new(kernels(), &query);
        let (bounds, mask) = block.scan(&table, &QueryTerms::new(&table, list, 5.0, list.g_add));
        assert_eq!((bounds.estimate[0], bounds.lower[0], mask & 1), (list.g_add, list.g_add, 1));
        let truth = exact_distance(family, &centroid, &query);
        assert!((f64::from(list.g_add) - truth).abs() < 1e-3, "{family:?}: {} {truth}", list.g_add);
        assert_eq!(encoded(family, &vec![0.0; 128], &centroid), (vec![0; 16], Factors::default()));
    }
}

#[test]
fn factors_follow_their_formulas() {
    let mut random = SplitMix64::new(15);
    let (residual, centroid) = (gaussians(&mut random, 192), gaussians(&mut random, 192));
    let (code, l2) = encoded(Family::L2, &residual, &centroid);
    let (same_code, ip) = encoded(Family::Ip, &residual, &centroid);
    assert_eq!(code, same_code);
    let (a, b) = (dot_with_code(&code, &residual), dot_with_code(&code, &centroid));
    let n2 = exact_dot(&residual, &residual);
    let quality = f64::from(cosine_quality(&residual));
    let g = ((1.0 / quality.powi(2) - 1.0) / 191.0).sqrt();
    let close = |found: f32, expected: f64| {
        assert!((f64::from(found) - expected).abs() <= 1e-4 * (1.0 + expected.abs()), "{found} {expected}");
    };
    close(l2.f_add, n2 + 2.0 * n2 * b / a);
    close(l2.f_rescale, -2.0 * n2 / a);
    close(l2.f_error, 2.0 * n2.sqrt() * g);
    close(ip.f_add, n2 * b / a - exact_dot(&residual, &centroid));
    close(ip.f_rescale, -n2 / a);
    close(ip.f_error, n2.sqrt() * g);
}

#[test]
fn extreme_residuals_give_finite_factors() {
    for scale in [1e-38_f32, 1e-30, 1e-20, 1e-10, 1e10, 1e15] {
        for family in [Family::L2, Family::Ip] {
            let one_hot: Vec<f32> = (0..64).map(|i| if i == 5 { -scale } else { 0.0 }).collect();
            for residual in [one_hot, vec![scale; 64]] {
                let (_, factors) = encoded(family, &residual, &vec![scale; 64]);
                let Factors { f_add, f_rescale, f_error } = factors;
                assert!(f_add.is_finite() && f_rescale.is_finite(), "{scale} {factors:?}");
                assert!(f_error.is_finite() && f_error >= 0.0, "{scale} {factors:?}");
            }
        }
    }
}

#[test]
fn the_table_is_the_query_rounded() {
    let mut random = SplitMix64::new(16);
    let mut query = Query::default();
    for dim in [64, 128, 768, 4160] {
        let rotated = gaussians(&mut random, dim);
        query.prepare(kernels(), &rotated);
        let table = Query::new(kernels(), &rotated);
        assert_eq!((query.lut(), query.delta(), query.shift()), (table.lut(), table.delta(), table.shift()));
        assert_eq!(query.lut().iter().max(), Some(&63));
        for (group, entries) in rotated.as_chunks::<4>().0.iter().zip(query.lut().as_chunks::<16>().0) {
            let lowest: f32 = group.iter().map(|x| x.min(0.0)).sum();
            for (pattern, &entry) in entries.iter().enumerate() {
                let sum: f32 = (0..4).filter(|bit| pattern >> bit & 1 == 1).map(|bit| group[bit]).sum();
                let error = query.delta() * f32::from(entry) - (sum - lowest);
                assert!(error.abs() <= query.delta() * 0.5001, "{dim} {pattern:04b} {error}");
            }
        }
        let shift: f32 = -rotated.iter().map(|x| x.abs()).sum::<f32>() / 2.0;
        assert!((query.shift() - shift).abs() <= 1e-4 * shift.abs());
    }
}

#[test]
fn the_table_errs_as_much_as_it_says() {
    let mut random = SplitMix64::new(17);
    let (mut squares, mut count) = (0.0, 0.0);
    for _ in 0..200 {
        let rotated = gaussians(&mut random, 256);
        let query = Query::new(kernels(), &rotated);
        let codes: Vec<u8> = (0..BLOCK * 32).map(|_| random.next_u64() as u8).collect();
        let (mut block, mut sums) = (vec![0; block_bytes(256)], [0; BLOCK]);
        pack_block(&codes, BLOCK, 256, &mut block);
        kernels().scan_block(&block, query.lut(), &mut sums);
        for (code, sum) in codes.chunks_exact(32).zip(sums) {
            let found = f64::from(query.delta()) * f64::from(sum) + f64::from(query.shift());
            squares += ((found - dot_with_code(code, &rotated)) / f64::from(query.lut_sigma())).powi(2);
            count += 1.0;
        }
    }
    let ratio = (squares / count).sqrt();
    assert!((ratio - 1.0).abs() < 0.06, "{ratio}");
}

#[test]
fn a_query_of_zeros_is_a_table_of_zeros() {
    for value in [0.0_f32, -0.0, 1e-44] {
        let query = Query::new(kernels(), &[value; 64]);
        assert!(query.lut().iter().all(|&entry| entry == 0));
        assert_eq!((query.delta(), query.lut_sigma()), (0.0, 0.0));
        assert!(query.shift().abs() < 1e-37);
    }
}

#[test]
fn layout_puts_rows_where_it_says() {
    let codes: Vec<u8> = (0..BLOCK).flat_map(|row| [row as u8 ^ 0x50, 0, 0, 0, 0, 0, 0, 0xF0]).collect();
    let mut block = vec![0xFF; block_bytes(64)];
    pack_block(&codes, BLOCK, 64, &mut block);
    for row in 0..16_u8 {
        let (low, high) = (row ^ 0x50, (row + 16) ^ 0x50);
        assert_eq!(block[usize::from(row)], (low & 15) | (high & 15) << 4);
        assert_eq!(block[16 + usize::from(row)], low >> 4 | high & 0xF0);
    }
    assert!(block[32..240].iter().all(|&byte| byte == 0));
    assert!(block[240..].iter().all(|&byte| byte == 0xFF));
}

proptest! {
    #[test]
    fn layout_round_trips(
        words in 1_usize..8,
        count in 0_usize..=BLOCK,
        bytes in vec(any::<u8>(), BLOCK * 64),
    ) {
        let padded_dim = words * 64;
        let codes = &bytes[..count * code_bytes(padded_dim)];
        let mut block = vec![0xFF; block_bytes(padded_dim)];
        pack_block(codes, count, padded_dim, &mut block);
        let mut code = vec![0xFF; code_bytes(padded_dim)];
        for lane in 0..BLOCK {
            unpack(&block, lane, padded_dim, &mut code);
            let expected = codes.get(lane * code.len()..(lane + 1) * code.len());
            prop_assert!(expected.map_or(code.iter().all(|&byte| byte == 0), |expected| expected == code));
        }
    }
}
