//! Every level against the scalar one, bit for bit, over one table of cases.

mod scan;

use half::f16;
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{random::SplitMix64, row_numbers::RowNumbers};

const LONG: [usize; 11] = [384, 768, 1000, 1024, 1028, 1029, 1536, 2048, 4160, 4224, 8192];

fn scalar() -> Kernels {
    Kernels::for_level(Level::Scalar).unwrap()
}

/// Those of AVX-512 twice, where the CPU has VNNI.
fn with_and_without_vnni() -> impl Iterator<Item = Kernels> {
    #[cfg(target_arch = "x86_64")]
    let plain = has_avx512().then_some(Kernels { table: &avx512::TABLE });
    #[cfg(not(target_arch = "x86_64"))]
    let plain = None;
    Kernels::available().chain(plain)
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
    for dim in (0..=2048).chain([2049, 4160, 4224, 8192]) {
        let (a, b) = (floats(&mut random, dim + 1), floats(&mut random, dim + 1));
        let halves: Vec<f16> = b.iter().copied().map(f16::from_f32).collect();
        let widened: Vec<f32> = halves.iter().copied().map(f32::from).collect();
        // Slices that begin at an odd place, too: no kernel may count on alignment.
        let from = dim % 2;
        let (a, b) = (&a[from..][..dim], &b[from..][..dim]);
        let (halves, widened) = (&halves[from..][..dim], &widened[from..][..dim]);
        let bytes: Vec<u8> = (0..=dim).map(|_| random.below(256) as u8).collect();
        let bytes = &bytes[from..][..dim];
        let numbers: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte) - 128.0).collect();
        for kernels in Kernels::available() {
            let pairs = [
                (kernels.dot(a, b), scalar().dot(a, b)),
                (kernels.l2sq(a, b), scalar().l2sq(a, b)),
                (kernels.dot_f16(a, halves), scalar().dot(a, widened)),
                (kernels.l2sq_f16(a, halves), scalar().l2sq(a, widened)),
                (kernels.dot_bytes(a, bytes), scalar().dot(a, &numbers)),
            ];
            for (index, (found, expected)) in pairs.into_iter().enumerate() {
                assert_eq!(found.to_bits(), expected.to_bits(), "{kernels:?} {dim} {index}");
            }
        }
    }
}

#[test]
fn halves_of_every_kind_are_widened_exactly() {
    for bits in 0..=u16::MAX {
        let half = f16::from_bits(bits);
        if half.is_nan() {
            continue;
        }
        for kernels in Kernels::available() {
            // Two places: one inside a full block of 32, one in the rest.
            let halves = [f16::ZERO; 33].map(|_| half);
            let mut ones = [0.0; 33];
            ones[(bits % 2) as usize * 32] = 1.0;
            if half.is_finite() {
                assert_eq!(kernels.dot_f16(&ones, &halves).to_bits(), (half.to_f32() + 0.0).to_bits());
            }
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
        let single = |of_pair: fn(Kernels, &[f32], &[f32]) -> f32| -> Vec<f32> {
            let of_query = |query| rows.chunks_exact(dim).map(move |row| of_pair(scalar(), query, row));
            queries.chunks_exact(dim).flat_map(of_query).collect()
        };
        let (dots, l2sqs) = (single(Kernels::dot), single(Kernels::l2sq));
        for kernels in Kernels::available() {
            let mut out = vec![f32::NAN; nqueries * nrows];
            kernels.dots_tile(&queries, &rows, dim, &mut out);
            assert_eq!(bits(&out), bits(&dots), "{kernels:?} {dim} {nqueries} x {nrows}");
            out.fill(f32::NAN);
            kernels.l2sq_tile(&queries, &rows, dim, &mut out);
            assert_eq!(bits(&out), bits(&l2sqs), "{kernels:?} {dim} {nqueries} x {nrows}");
            if let Some(query) = queries.get(..dim) {
                let mut out = vec![f32::NAN; nrows];
                kernels.dots(query, &rows, &mut out);
                assert_eq!(bits(&out), bits(&dots[..nrows]), "{kernels:?} {dim} {nrows}");
            }
        }
    }
}

#[test]
fn products_of_bytes_are_equal() {
    let mut random = SplitMix64::new(7);
    for dim in dims().skip(1) {
        for rows in [0, 1, 3, 4, 5, 9] {
            // The largest numbers, too: nothing saturates on the way.
            let largest = dim % 3 == 0;
            let query: Vec<i8> =
                (0..dim).map(|_| if largest { 63 } else { random.below(127) as i8 - 63 }).collect();
            let bytes: Vec<u8> =
                (0..dim * rows).map(|_| if largest { 255 } else { random.below(256) as u8 }).collect();
            let expected: Vec<i64> = bytes
                .chunks_exact(dim)
                .map(|row| query.iter().zip(row).map(|(&x, &y)| i64::from(x) * i64::from(y)).sum())
                .collect();
            for kernels in with_and_without_vnni() {
                let mut out = vec![i32::MIN; rows];
                kernels.byte_dots(&query, &bytes, &mut out);
                assert!(
                    out.iter().copied().map(i64::from).eq(expected.iter().copied()),
                    "{kernels:?} {dim} {rows}"
                );
            }
        }
    }
}

#[test]
fn a_tile_of_bytes_equals_single_products() {
    let mut random = SplitMix64::new(8);
    for dim in [1, 7, 63, 64, 128, 130, 384, 1024] {
        for (queries, rows) in [(0, 3), (3, 0), (1, 1), (4, 1), (4, 2), (7, 5), (8, 9), (17, 4)] {
            let asked: Vec<i8> = (0..dim * queries).map(|_| random.below(127) as i8 - 63).collect();
            let bytes: Vec<u8> = (0..dim * rows).map(|_| random.below(256) as u8).collect();
            for kernels in Kernels::available() {
                let mut tile = vec![i32::MIN; queries * rows];
                kernels.byte_dots_tile(&asked, &bytes, dim, &mut tile);
                let mut expected = vec![0; queries * rows];
                for (query, out) in asked.chunks_exact(dim).zip(expected.chunks_exact_mut(rows.max(1))) {
                    scalar().byte_dots(query, &bytes, out);
                }
                assert_eq!(tile, expected, "{kernels:?} {dim} {queries} {rows}");
            }
        }
    }
}

#[test]
fn rows_in_a_set_have_their_bits() {
    let mut random = SplitMix64::new(21);
    for bits in 1..=32 {
        for (words, first_row) in
            [(0, 0), (1, 0), (3, 70), (64, 1 << 31), (1 << 12, 9000), (1 << 12, (1 << 32) - 40), (9, 1 << 40)]
        {
            let set: Vec<u64> = (0..words).map(|_| random.next_u64()).collect();
            let widest = if bits % 2 == 0 { u32::MAX >> (32 - bits) } else { 1 << (bits - 1) };
            let mut numbers: Vec<u32> =
                (0..BLOCK).map(|_| random.below(1 + u64::from(widest)) as u32).collect();
            (numbers[7], numbers[31]) = (0, widest);
            let packed = RowNumbers::pack(&numbers);
            let is_in = |number: &u32| {
                let row = first_row + u64::from(*number);
                set.get((row / 64) as usize).is_some_and(|word| word >> (row % 64) & 1 == 1)
            };
            let expected = numbers.iter().rev().fold(0, |mask, number| mask << 1 | u32::from(is_in(number)));
            for kernels in Kernels::available() {
                let found = kernels.rows_in(packed.packed_block(0), packed.bits(), first_row, &set);
                assert_eq!(found, expected, "{kernels:?}, {bits} bits, {words} words from {first_row}");
            }
        }
    }
}

#[test]
fn what_is_at_most_a_limit_has_its_bit() {
    let mut random = SplitMix64::new(10);
    for len in dims() {
        let mut values = floats(&mut random, len);
        values.iter_mut().skip(5).step_by(37).for_each(|value| *value = f32::NAN);
        let inside = values.get(len / 2).copied().unwrap_or(0.0);
        for limit in [inside, 0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            let expected: Vec<bool> = values.iter().map(|&value| value <= limit).collect();
            for kernels in Kernels::available() {
                let mut masks = vec![u32::MAX; len.div_ceil(32)];
                let count = kernels.at_most(&values, limit, &mut masks);
                let found: Vec<bool> = (0..len).map(|at| masks[at / 32] >> (at % 32) & 1 == 1).collect();
                assert_eq!(found, expected, "{kernels:?} {len} {limit}");
                let all: u32 = masks.iter().map(|mask| mask.count_ones()).sum();
                assert_eq!((count, all as usize), (expected.iter().filter(|&&is| is).count(), count));
            }
        }
    }
}

#[test]
fn what_is_not_zero_has_its_bit() {
    let mut random = SplitMix64::new(11);
    for len in dims() {
        let any = |_| if random.below(2) == 0 { 0 } else { random.below(256) as u8 };
        let bytes: Vec<u8> = (0..len).map(any).collect();
        for kernels in Kernels::available() {
            let mut masks = vec![u64::MAX; len.div_ceil(64)];
            kernels.not_zero(&bytes, &mut masks);
            let found = |at: usize| masks[at / 64] >> (at % 64) & 1 == 1;
            assert!((0..len).all(|at| found(at) == (bytes[at] != 0)), "{kernels:?} {len}");
            assert_eq!(kernels.ones(&masks), bytes.iter().filter(|&&byte| byte != 0).count());
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
            kernels.l2sq_tile(&a, &b, 1 + lens[2] / 8, &mut out);
            let halves = vec![f16::ONE; lens[2]];
            assert_eq!(kernels.dot_f16(&a, &halves).to_bits(), scalar().dot_f16(&a, &halves).to_bits());
            assert_eq!(kernels.l2sq_f16(&a, &halves).to_bits(), scalar().l2sq_f16(&a, &halves).to_bits());
            assert_eq!(kernels.dot_bytes(&a, &bytes).to_bits(), scalar().dot_bytes(&a, &bytes).to_bits());
            let lut = vec![63; lens[0]];
            let query: Vec<i8> = lut.iter().map(|&entry| entry as i8).collect();
            kernels.at_most(&a, 0.0, &mut vec![0; lens[1] % 10]);
            kernels.byte_dots_tile(&query, &bytes, 1 + lens[1] / 8, &mut vec![0; lens[1]]);
            kernels.not_zero(&bytes, &mut vec![0; lens[1] % 10]);
            kernels.rows_in(&bytes, lens[0] as u32, 0, &vec![u64::MAX; lens[1] % 10]);
            kernels.prefetch(&bytes);
            kernels.scan_block(&bytes, &lut, &mut [0; BLOCK]);
            kernels.scan_queries(&bytes, &vec![&lut[..]; lens[1] % 10], &mut vec![[0; BLOCK]; lens[2] % 10]);
            let ex = lens[0] as u32 % 12;
            let dots = [kernels, scalar()].map(|k| k.full_dot(&a, &bytes, lens[1], &lut, ex).to_bits());
            assert_eq!(dots[0], dots[1]);
            let dots = [kernels, scalar()].map(|k| k.ex_dot(&query, &bytes, ex));
            assert_eq!(dots[0], dots[1]);
            kernels.subset_sums(&a, 1.0, &mut bytes.clone());
            kernels.byte_dots(&query, &bytes, &mut vec![0; lens[1] % 10]);
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
            let mut out_l2sq = out.clone();
            kernels.dots_tile(&queries, &rows, dim, &mut out);
            kernels.l2sq_tile(&queries, &rows, dim, &mut out_l2sq);
            for (index, (dot, l2sq)) in out.iter().zip(&out_l2sq).enumerate() {
                let (query, row) = (&queries[index / nrows * dim..][..dim], &rows[index % nrows * dim..][..dim]);
                prop_assert_eq!(dot.to_bits(), scalar().dot(query, row).to_bits());
                prop_assert_eq!(l2sq.to_bits(), scalar().l2sq(query, row).to_bits());
            }
        }
    }
}
