//! Every level against the scalar one, bit for bit, over one table of cases.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::random::SplitMix64;

const LONG: [usize; 11] = [384, 768, 1000, 1024, 1028, 1029, 1536, 2048, 4160, 4224, 8192];

fn scalar() -> Kernels {
    Kernels::for_level(Level::Scalar).unwrap()
}

fn dims() -> impl Iterator<Item = usize> {
    (0..=300).chain(LONG)
}

/// Numbers of both signs over some orders of magnitude, with zeros of both signs among them.
fn floats(random: &mut SplitMix64, len: usize) -> Vec<f32> {
    (0..len)
        .map(|_| match random.below(16) {
            0 => 0.0,
            1 => -0.0,
            exponent => (random.unit_f64() - 0.5) as f32 * 2.0_f32.powi(exponent as i32 - 8),
        })
        .collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn float_sums_are_equal_to_the_bit() {
    let mut random = SplitMix64::new(1);
    for dim in dims() {
        let (a, b) = (floats(&mut random, dim), floats(&mut random, dim));
        for kernels in Kernels::available() {
            assert_eq!(kernels.dot(&a, &b).to_bits(), scalar().dot(&a, &b).to_bits(), "{kernels:?} {dim}");
            assert_eq!(kernels.l2sq(&a, &b).to_bits(), scalar().l2sq(&a, &b).to_bits(), "{kernels:?} {dim}");
        }
    }
}

#[test]
fn float_sums_are_right() {
    let mut random = SplitMix64::new(2);
    for dim in dims() {
        let (a, b) = (floats(&mut random, dim), floats(&mut random, dim));
        let pairs = || a.iter().zip(&b).map(|(&x, &y)| (f64::from(x), f64::from(y)));
        let (dot, l2sq): (f64, f64) =
            (pairs().map(|(x, y)| x * y).sum(), pairs().map(|(x, y)| (x - y).powi(2)).sum());
        let scale: f64 = pairs().map(|(x, y)| x * x + y * y).sum();
        assert!((f64::from(scalar().dot(&a, &b)) - dot).abs() <= 1e-6 * scale, "{dim}");
        assert!((f64::from(scalar().l2sq(&a, &b)) - l2sq).abs() <= 2e-6 * scale, "{dim}");
    }
}

#[test]
fn tiles_equal_single_products() {
    let mut random = SplitMix64::new(3);
    let shapes = [(1, 1), (1, 7), (2, 3), (3, 4), (4, 3), (5, 8), (9, 1), (13, 11), (0, 3), (3, 0)];
    let long = LONG.into_iter().map(|dim| (dim, (6, 7)));
    let short = [1, 7, 8, 31, 32, 33, 63, 64, 65, 100, 128, 200, 384];
    let cases = short.into_iter().flat_map(|dim| shapes.map(|shape| (dim, shape))).chain(long).chain([
        (8, (70, 1100)),
        (384, (200, 40)),
        (16, (4200, 5)),
    ]);
    for (dim, (nqueries, nrows)) in cases {
        let (queries, rows) = (floats(&mut random, nqueries * dim), floats(&mut random, nrows * dim));
        let single: Vec<f32> = queries
            .chunks_exact(dim)
            .flat_map(|query| rows.chunks_exact(dim).map(|row| scalar().dot(query, row)))
            .collect();
        for kernels in Kernels::available() {
            let mut out = vec![f32::NAN; nqueries * nrows];
            kernels.dots_tile(&queries, &rows, dim, &mut out);
            assert_eq!(bits(&out), bits(&single), "{kernels:?} {dim} {nqueries} x {nrows}");
            if let Some(query) = queries.get(..dim) {
                let mut out = vec![f32::NAN; nrows];
                kernels.dots(query, &rows, &mut out);
                assert_eq!(bits(&out), bits(&single[..nrows]), "{kernels:?} {dim} {nrows}");
            }
        }
    }
}

#[test]
fn rotation_steps_are_equal_to_the_bit() {
    let mut random = SplitMix64::new(4);
    for dim in dims() {
        let (a, b) = (floats(&mut random, dim), floats(&mut random, dim));
        for kernels in Kernels::available() {
            let run = |kernels: Kernels| {
                let (mut product, mut left, mut right) = (a.clone(), a.clone(), b.clone());
                kernels.multiply(&mut product, &b);
                kernels.butterfly(&mut left, &mut right);
                [bits(&product), bits(&left), bits(&right)]
            };
            assert_eq!(run(kernels), run(scalar()), "{kernels:?} {dim}");
        }
    }
}

#[test]
fn hadamard_is_equal_to_the_bit_and_right() {
    let mut random = SplitMix64::new(5);
    for log in 0..=16 {
        let values = floats(&mut random, 1 << log);
        for kernels in Kernels::available() {
            let (mut ours, mut expected) = (values.clone(), values.clone());
            kernels.hadamard(&mut ours);
            scalar().hadamard(&mut expected);
            assert_eq!(bits(&ours), bits(&expected), "{kernels:?} 2^{log}");
        }
        if log <= 8 {
            assert_hadamard(&values);
        }
    }
}

/// Row `i`, column `j` of the Hadamard matrix is minus one to the number of bits that `i` and `j` share.
fn assert_hadamard(values: &[f32]) {
    let mut ours = values.to_vec();
    scalar().hadamard(&mut ours);
    for (i, &found) in ours.iter().enumerate() {
        let sign = |j: usize| if (i & j).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 };
        let expected: f64 = values.iter().enumerate().map(|(j, &value)| sign(j) * f64::from(value)).sum();
        let scale: f64 = values.iter().map(|&value| f64::from(value.abs())).sum();
        assert!((f64::from(found) - expected).abs() <= 1e-5 * scale, "{i} of {}", values.len());
    }
}

/// A block, a table with entries up to `largest`, and the sums by the definition.
fn scan_case(random: &mut SplitMix64, dim: usize, largest: u64) -> (Vec<u8>, Vec<u8>, [u32; BLOCK]) {
    let block: Vec<u8> = (0..dim * 4).map(|_| random.next_u64() as u8).collect();
    let lut: Vec<u8> = (0..dim * 4).map(|_| random.below(largest + 1) as u8).collect();
    let mut sums = [0; BLOCK];
    for (group, entries) in lut.chunks_exact(16).enumerate() {
        for (row, sum) in sums.iter_mut().enumerate() {
            let byte = block[group * 16 + row % 16];
            *sum += u32::from(entries[usize::from(if row < 16 { byte & 15 } else { byte >> 4 })]);
        }
    }
    (block, lut, sums)
}

fn scan_dims() -> impl Iterator<Item = usize> {
    (64..=1536).step_by(64).chain([2048, 4096, 4160, 4224, 8192, 8256, 65472, 65536])
}

#[test]
fn scans_equal_the_definition() {
    let mut random = SplitMix64::new(6);
    for dim in scan_dims() {
        let (block, lut, expected) = scan_case(&mut random, dim, 63);
        for kernels in Kernels::available() {
            let mut sums = [u32::MAX; BLOCK];
            kernels.scan_block(&block, &lut, &mut sums);
            assert_eq!(sums, expected, "{kernels:?} {dim}");
        }
    }
}

#[test]
fn scans_do_not_overflow() {
    for dim in scan_dims() {
        let (block, lut) = (vec![0xA5; dim * 4], vec![63; dim * 4]);
        for kernels in Kernels::available() {
            let mut sums = [0; BLOCK];
            kernels.scan_block(&block, &lut, &mut sums);
            assert_eq!(sums, [63 * (dim as u32 / 4); BLOCK], "{kernels:?} {dim}");
        }
    }
}

fn query_terms(numbers: &[f32], limit: f32) -> QueryTerms {
    let [delta, shift, slack, g_add, g_error] = [0, 1, 2, 3, 4].map(|i| numbers[i]);
    QueryTerms { delta, shift, slack: slack.abs(), g_add, g_error: g_error.abs(), limit }
}

#[test]
fn bounds_are_equal_to_the_bit() {
    let mut random = SplitMix64::new(7);
    for case in 0..500 {
        let sums = std::array::from_fn(|_| random.below(1 << 20) as u32);
        let numbers = floats(&mut random, 3 * BLOCK + 5);
        let (blocks, rest) = numbers.as_chunks::<BLOCK>();
        let factors = BlockFactors { f_add: &blocks[0], f_rescale: &blocks[1], f_error: &blocks[2] };
        let limit = [f32::INFINITY, f32::NEG_INFINITY, 0.0, rest[0] * 1e4][case % 4];
        let query = query_terms(rest, limit);
        let mut expected = BlockBounds::default();
        let mask = scalar().bounds(&sums, &factors, &query, &mut expected);
        let by_hand =
            expected.lower.iter().enumerate().map(|(lane, &lower)| u32::from(lower <= limit) << lane);
        assert_eq!(mask, by_hand.sum::<u32>());
        for kernels in Kernels::available() {
            let mut out = BlockBounds::default();
            assert_eq!(kernels.bounds(&sums, &factors, &query, &mut out), mask, "{kernels:?}");
            assert_eq!(bits(&out.estimate), bits(&expected.estimate), "{kernels:?}");
            assert_eq!(bits(&out.lower), bits(&expected.lower), "{kernels:?}");
        }
    }
}

#[test]
fn bounds_keep_ties_and_what_is_not_a_number() {
    let (ones, mut f_add) = ([1.0; BLOCK], [2.0; BLOCK]);
    f_add[3] = f32::NAN;
    f_add[5] = 2.5;
    let factors = BlockFactors { f_add: &f_add, f_rescale: &ones, f_error: &ones };
    let query = QueryTerms { limit: 2.0, ..QueryTerms::default() };
    for kernels in Kernels::available() {
        let mask = kernels.bounds(&[0; BLOCK], &factors, &query, &mut BlockBounds::default());
        assert_eq!(mask, !(1 << 5), "{kernels:?}");
    }
}

#[test]
fn subset_sums_are_equal_to_the_byte() {
    let mut random = SplitMix64::new(8);
    for dim in scan_dims() {
        let rotated = floats(&mut random, dim);
        for per_step in [0.0, 1e-3, 0.25, 0.97, 1e30] {
            let run = |kernels: Kernels| {
                let mut lut = vec![255; dim * 4];
                kernels.subset_sums(&rotated, per_step, &mut lut);
                lut
            };
            let expected = run(scalar());
            assert!(expected.iter().all(|&entry| entry < 64));
            Kernels::available().for_each(|kernels| assert_eq!(run(kernels), expected, "{kernels:?} {dim}"));
        }
    }
}

#[test]
fn levels_have_names() {
    for level in Level::ALL {
        assert_eq!(level.to_string().parse::<Level>().unwrap(), level);
    }
    let error = "AVX2".parse::<Level>().unwrap_err();
    assert_eq!(error.to_string(), "simd level: expected one of scalar, avx2, avx512, neon, got \"AVX2\"");
    assert!(Level::Scalar.is_available());
    assert_eq!(Kernels::available().next().unwrap().level(), Level::Scalar);
}

#[test]
fn a_request_is_met_or_refused() {
    let best = Kernels::available().last().unwrap().level();
    assert_eq!(Kernels::choose(None).unwrap().level(), best);
    assert_eq!(Kernels::choose(Some("")).unwrap().level(), best);
    assert_eq!(Kernels::choose(Some("scalar")).unwrap().level(), Level::Scalar);
    assert_eq!(Kernels::choose(Some("sse9")).unwrap_err(), "\"sse9\"");
    let avx2 = Kernels::choose(Some("avx2"));
    assert_eq!(avx2.is_ok(), Level::Avx2.is_available());
    assert!(Kernels::detect().is_ok(), "the tests run with a level this cpu has");
}

/// Runs a kernel with lengths that do not fit: the answer is free, reading outside is not (Miri and sanitizers watch).
#[cfg(not(debug_assertions))]
#[test]
fn lengths_that_do_not_fit_stay_inside() {
    let mut random = SplitMix64::new(9);
    for _ in 0..2000 {
        let lens: [usize; 3] = std::array::from_fn(|_| random.below(300) as usize);
        let (a, b) = (floats(&mut random, lens[0]), floats(&mut random, lens[1]));
        let bytes: Vec<u8> = (0..lens[2]).map(|_| random.below(64) as u8).collect();
        for kernels in Kernels::available() {
            let mut out = vec![0.0; lens[2]];
            kernels.dots(&a, &b, &mut out);
            kernels.dots_tile(&a, &b, 1 + lens[2] / 8, &mut out);
            assert_eq!(kernels.dot(&a, &b).to_bits(), scalar().dot(&a, &b).to_bits());
            kernels.hadamard(&mut a.clone());
            kernels.butterfly(&mut a.clone(), &mut b.clone());
            kernels.multiply(&mut a.clone(), &b);
            kernels.scan_block(&bytes, &vec![63; lens[0]], &mut [0; BLOCK]);
            kernels.subset_sums(&a, 1.0, &mut bytes.clone());
        }
    }
}

proptest! {
    #[test]
    fn any_sum_is_equal_to_the_bit(pairs in vec((-1e15_f32..1e15, -1e15_f32..1e15), 0..700)) {
        let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
        for kernels in Kernels::available() {
            prop_assert_eq!(kernels.dot(&a, &b).to_bits(), scalar().dot(&a, &b).to_bits());
            prop_assert_eq!(kernels.l2sq(&a, &b).to_bits(), scalar().l2sq(&a, &b).to_bits());
        }
    }

    #[test]
    fn any_tile_equals_single_products(dim in 1_usize..150, nqueries in 0_usize..10, nrows in 0_usize..10, seed: u64) {
        let mut random = SplitMix64::new(seed);
        let (queries, rows) = (floats(&mut random, nqueries * dim), floats(&mut random, nrows * dim));
        for kernels in Kernels::available() {
            let mut out = vec![f32::NAN; nqueries * nrows];
            kernels.dots_tile(&queries, &rows, dim, &mut out);
            for (index, found) in out.iter().enumerate() {
                let (query, row) = (&queries[index / nrows * dim..][..dim], &rows[index % nrows * dim..][..dim]);
                prop_assert_eq!(found.to_bits(), scalar().dot(query, row).to_bits());
            }
        }
    }

    #[test]
    fn any_scan_equals_the_definition(words in 1_usize..24, largest in 0_u64..64, seed: u64) {
        let (block, lut, expected) = scan_case(&mut SplitMix64::new(seed), words * 64, largest);
        for kernels in Kernels::available() {
            let mut sums = [0; BLOCK];
            kernels.scan_block(&block, &lut, &mut sums);
            prop_assert_eq!(sums, expected);
        }
    }
}
