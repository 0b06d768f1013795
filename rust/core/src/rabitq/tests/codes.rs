//! Codes of more than one bit against the simulation: how well they point, how much they err, how often bounds miss.

use super::*;
use crate::short_floats::{ShortFloats, push_short};

/// Figures of the exact search for levels, on random directions: the mean cosine at 2 to 9 bits.
const COSINES: [(usize, [f64; 8]); 4] = [
    (128, [0.9413, 0.9830, 0.9953, 0.9988, 0.9997, 0.99993, 0.99998, 1.0]),
    (384, [0.9404, 0.9819, 0.9947, 0.9985, 0.9996, 0.99991, 0.99998, 0.99999]),
    (768, [0.9384, 0.9812, 0.9943, 0.9984, 0.9996, 0.99989, 0.99997, 0.99999]),
    (1536, [0.9386, 0.9812, 0.9943, 0.9983, 0.9995, 0.99987, 0.99997, 0.99999]),
];

/// The standard deviation of the estimated inner product of unit vectors at 4 and at 8 bits.
const SIGMAS: [(usize, [f64; 2]); 4] =
    [(128, [8.6e-3, 5.3e-4]), (384, [5.3e-3, 3.5e-4]), (768, [3.9e-3, 2.8e-4]), (1536, [2.7e-3, 2.1e-4])];

/// A code taken apart again: `z`.
fn read_back(code: &[u8], ex_code: &[u8], bits: u32) -> Vec<f32> {
    let dim = code.len() * 8;
    let mut values = vec![0; dim];
    unpack_ex(ex_code, bits - 1, &mut values);
    let middle = ((1_u32 << bits) - 1) as f32 / 2.0;
    let bit = |at: usize| u32::from(code[at / 8] >> (at % 8) & 1);
    (0..dim).map(|at| ((bit(at) << (bits - 1)) + u32::from(values[at])) as f32 - middle).collect()
}

/// What 40 random directions and 400 queries of each say of a width.
struct Measured {
    cosine: f64,
    sigma: f64,
    misses: f64,
    bias: f64,
}

fn measure(dim: usize, bits: u32) -> Measured {
    let mut random = SplitMix64::new(100 + u64::from(bits));
    let mut encoder = Encoder::new(kernels(), dim, bits);
    let (mut code, mut ex_code) = (vec![0; code_bytes(dim)], vec![0; ex_bytes(dim, bits - 1)]);
    let zero = vec![0.0; dim];
    let around = Around { family: Family::Ip, centroid: &zero, shifted: &zero };
    let queries: Vec<Vec<f32>> = (0..400).map(|_| unit(&mut random, dim)).collect();
    let (mut errors, mut cosine) = (Errors::default(), 0.0);
    for _ in 0..80 {
        let vector = unit(&mut random, dim);
        let factors = encoder.encode(around, &vector, &mut code, &mut ex_code).full.factors();
        let z = read_back(&code, &ex_code, bits);
        assert!(z.iter().zip(&vector).all(|(z, x)| (*z > 0.0) == (*x > 0.0)), "signs");
        cosine += exact_dot(&z, &vector) / exact_dot(&z, &z).sqrt() / 80.0;
        for query in &queries {
            let estimate = f64::from(factors.f_add) + f64::from(factors.f_rescale) * exact_dot(&z, query);
            errors.add(-exact_dot(&vector, query), estimate, 1.9 * f64::from(factors.f_error));
        }
    }
    let sigma = (errors.squares / errors.count).sqrt();
    Measured { cosine, sigma, misses: errors.misses / errors.count, bias: errors.sum / errors.count / sigma }
}

#[test]
fn every_width_meets_the_oracle() {
    for ((dim, cosines), (_, sigmas)) in COSINES.into_iter().zip(SIGMAS) {
        for (bits, expected) in (2_u32..).zip(cosines) {
            let Measured { cosine, sigma, misses, bias } = measure(dim, bits);
            // The table is rounded to its last digit.
            let room = 0.06 * (1.0 - expected) + if bits < 7 { 6e-5 } else { 1.2e-5 };
            assert!(
                (cosine - expected).abs() <= room,
                "dim {dim}, {bits} bits: cosine {cosine}, not {expected}"
            );
            assert!((misses - 0.057).abs() < 0.005, "dim {dim}, {bits} bits: misses {misses}");
            assert!(bias.abs() < 0.03, "dim {dim}, {bits} bits: bias {bias} sigma");
            let of_table = match bits {
                4 => sigmas[0],
                8 => sigmas[1],
                _ => continue,
            };
            assert!(
                (sigma / of_table - 1.0).abs() < 0.05,
                "dim {dim}, {bits} bits: sigma {sigma}, not {of_table}"
            );
        }
    }
}

/// Both families, around a centroid, through the kernels and the factors that a segment keeps, from the codes alone and
/// from what a scan has summed up.
#[test]
fn refined_bounds_miss_as_often_as_epsilon_says() {
    for (family, bits, dim) in [
        (Family::L2, 2, 128),
        (Family::Ip, 3, 192),
        (Family::L2, 5, 384),
        (Family::Ip, 9, 768),
        (Family::L2, 9, 64),
    ] {
        let mut random = SplitMix64::new(200);
        let centroid = gaussians(&mut random, dim);
        let mut encoder = Encoder::new(kernels(), dim, bits);
        let around = Around { family, centroid: &centroid, shifted: &centroid };
        let vectors: Vec<Vec<f32>> =
            (0..BLOCK).map(|_| moved(&centroid, &gaussians(&mut random, dim), 0.6)).collect();
        let size = ex_bytes(dim, bits - 1);
        let (mut codes, mut ex_code) = (vec![0; BLOCK * code_bytes(dim)], vec![0; BLOCK * size]);
        let mut coded = Vec::new();
        for (lane, vector) in vectors.iter().enumerate() {
            let residual: Vec<f32> = vector.iter().zip(&centroid).map(|(x, c)| x - c).collect();
            let code = &mut codes[lane * code_bytes(dim)..(lane + 1) * code_bytes(dim)];
            coded.push(encoder.encode(around, &residual, code, &mut ex_code[lane * size..(lane + 1) * size]));
        }
        let segment = segment_of(&coded, &codes, ex_code, dim, bits);
        let (mut misses, mut further_misses, mut count) = (0.0, 0.0, 0.0);
        for _ in 0..600 {
            let query = moved(&centroid, &gaussians(&mut random, dim), 1.1);
            let refiner = Refiner::new(&query, 1.9);
            let table = Query::new(kernels(), &query);
            let further = FurtherBits::new(&query, &table, bits - 1, 1.9);
            let mut sums = [0; BLOCK];
            kernels().scan_block(segment.code(0, dim), table.lut(), &mut sums);
            let list = list_terms(family, kernels(), &query, &centroid);
            for (slot, vector) in vectors.iter().enumerate() {
                let refined = refiner.refine(kernels(), &segment, slot, list).unwrap();
                let truth = exact_distance(family, vector, &query);
                let bound = f64::from(refined.estimate) - f64::from(refined.lower);
                misses += f64::from((f64::from(refined.estimate) - truth).abs() > bound);
                let further = further.refine(kernels(), &segment, slot, list, sums[slot]).unwrap();
                let bound = f64::from(further.estimate) - f64::from(further.lower);
                further_misses += f64::from((f64::from(further.estimate) - truth).abs() > bound);
                count += 1.0;
            }
        }
        let share: f64 = misses / count;
        assert!((share - 0.056).abs() < 0.012, "{family:?}, {bits} bits, dim {dim}: {share}");
        // What rounding does is reckoned as its most: where it is more than the code's error, fewer are missed.
        let share: f64 = further_misses / count;
        assert!((0.01..0.068).contains(&share), "{family:?}, {bits} bits, dim {dim}, by sums: {share}");
    }
}

fn segment_of(coded: &[Coded], codes: &[u8], ex_code: Vec<u8>, dim: usize, bits: u32) -> Segment {
    let mut block = vec![0; block_bytes(dim)];
    pack_block(codes, BLOCK, dim, &mut block);
    let halves = HalfBlock::new(&coded.iter().map(|coded| coded.filter).collect::<Vec<_>>());
    let full: Vec<Factors> = coded.iter().map(|coded| coded.full.short_factors()).collect();
    Segment {
        list_id: vec![0].into(),
        first_row: vec![0].into(),
        count: vec![BLOCK as u8].into(),
        rows: crate::row_numbers::RowNumbers::pack(&(0..BLOCK as u32).collect::<Vec<_>>()),
        ids: None,
        bin_code: block.into(),
        f_add: halves.f_add.to_vec().into(),
        f_rescale: halves.f_rescale.to_vec().into(),
        f_error: halves.f_error.to_vec().into(),
        scales: halves.scale.map(scale_byte).to_vec().into(),
        ex: Some(ExCodes {
            ex: bits - 1,
            code: ex_code.into(),
            f_add: short_floats(full.iter().map(|factors| factors.f_add)),
            f_rescale: short_floats(full.iter().map(|factors| factors.f_rescale)),
            f_error: full.iter().map(|factors| ExCodes::error_bits(factors.f_error)).collect(),
        }),
        vectors: None,
    }
}

fn short_floats(values: impl Iterator<Item = f32>) -> ShortFloats {
    let mut bytes = Vec::new();
    values.for_each(|value| push_short(&mut bytes, value));
    ShortFloats::from_bytes(bytes.into())
}

#[test]
fn a_residual_of_zero_or_with_zeros_has_a_code() {
    let dim = 64;
    let zero = vec![0.0; dim];
    let around = Around { family: Family::L2, centroid: &zero, shifted: &zero };
    for bits in 2..=9 {
        let mut encoder = Encoder::new(kernels(), dim, bits);
        let (mut code, mut ex_code) = (vec![0; code_bytes(dim)], vec![0; ex_bytes(dim, bits - 1)]);
        let coded = encoder.encode(around, &zero, &mut code, &mut ex_code);
        assert_eq!(coded.full.factors(), Factors::default());
        assert_eq!(read_back(&code, &ex_code, bits), [-0.5; 64], "{bits}");
        let sparse: Vec<f32> = (0..dim).map(|at| if at % 3 == 0 { at as f32 - 20.0 } else { 0.0 }).collect();
        let coded = encoder.encode(around, &sparse, &mut code, &mut ex_code);
        let z = read_back(&code, &ex_code, bits);
        assert!(z.iter().zip(&sparse).all(|(z, x)| (*z > 0.0) == (*x > 0.0)), "{bits}");
        let factors = coded.full.factors();
        assert!(factors.f_error > 0.0 && factors.f_error.is_finite(), "{bits} {factors:?}");
    }
}

#[test]
fn an_error_in_16_bits_is_rounded_up() {
    for error in [0.0_f32, 1e-30, 1.0, 1.003, 3.337e7, 1e38] {
        let rounded = half::bf16::from_bits(ExCodes::error_bits(error)).to_f32();
        assert!(rounded >= error && rounded <= error * (1.0 + 1.0 / 128.0), "{error} {rounded}");
    }
}
