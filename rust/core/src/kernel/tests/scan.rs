//! FastScan, bounds, and codes of several bits.

use super::*;
use crate::rabitq::{block_bytes, code_bytes, pack_ex, unpack};

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
fn scans_of_several_queries_equal_single_ones() {
    let mut random = SplitMix64::new(10);
    for dim in [64, 128, 384, 1536, 4096, 4160, 8256] {
        let (block, ..) = scan_case(&mut random, dim, 63);
        let luts: Vec<Vec<u8>> = (0..11).map(|_| scan_case(&mut random, dim, 63).1).collect();
        let luts: Vec<&[u8]> = luts.iter().map(Vec::as_slice).collect();
        let mut expected = vec![[0; BLOCK]; luts.len()];
        for (lut, sums) in luts.iter().zip(&mut expected) {
            scalar().scan_block(&block, lut, sums);
        }
        for kernels in Kernels::available() {
            for count in 0..=luts.len() {
                let mut sums = vec![[u32::MAX; BLOCK]; count];
                kernels.scan_queries(&block, &luts[..count], &mut sums);
                assert_eq!(sums, expected[..count], "{kernels:?} {dim} {count}");
            }
        }
    }
}

#[test]
fn scans_do_not_overflow() {
    for dim in scan_dims() {
        let (block, lut) = (vec![0xA5; dim * 4], vec![63; dim * 4]);
        for kernels in Kernels::available() {
            let mut sums = [[0; BLOCK]; 6];
            kernels.scan_block(&block, &lut, &mut sums[0]);
            kernels.scan_queries(&block, &[lut.as_slice(); 5], &mut sums[1..]);
            assert_eq!(sums, [[63 * (dim as u32 / 4); BLOCK]; 6], "{kernels:?} {dim}");
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
fn bounds_of_halves_equal_those_of_widened_factors() {
    let mut random = SplitMix64::new(11);
    for case in 0..500 {
        let sums = std::array::from_fn(|_| random.below(1 << 20) as u32);
        let mut halves = || std::array::from_fn(|_| f16::from_bits(random.next_u64() as u16));
        let kinds: [[f16; BLOCK]; 3] = [halves(), halves(), halves()].map(|kind: [f16; BLOCK]| {
            kind.map(|half| if half.is_finite() { half } else { f16::MIN_POSITIVE_SUBNORMAL })
        });
        let scale = [0, 1, 2].map(|_| 2.0_f32.powi(random.below(60) as i32 - 30));
        let bits_of = kinds.map(|kind| kind.map(f16::to_bits));
        let factors = HalfFactors { f_add: &bits_of[0], f_rescale: &bits_of[1], f_error: &bits_of[2], scale };
        let widened: [[f32; BLOCK]; 3] =
            std::array::from_fn(|kind| kinds[kind].map(|half| half.to_f32() * scale[kind]));
        let numbers = floats(&mut random, 8);
        let query = query_terms(&numbers, [f32::INFINITY, 0.0, numbers[7] * 1e9][case % 3]);
        let far = QueryTerms { limit: f32::NEG_INFINITY, ..query };
        let wide = BlockFactors { f_add: &widened[0], f_rescale: &widened[1], f_error: &widened[2] };
        let mut expected = BlockBounds::default();
        let mask = scalar().bounds(&sums, &wide, &query, &mut expected);
        for kernels in Kernels::available() {
            let mut out = BlockBounds::default();
            assert_eq!(kernels.bounds_f16(&sums, &factors, &query, &mut out), mask, "{kernels:?}");
            assert_eq!(bits(&out.estimate), bits(&expected.estimate), "{kernels:?}");
            assert_eq!(bits(&out.lower), bits(&expected.lower), "{kernels:?}");
            let (mut several, mut masks) = ([BlockBounds::default(), BlockBounds::default()], [0; 2]);
            kernels.bounds_queries(&[sums; 2], &factors, &[far, query], &mut several, &mut masks);
            assert_eq!(masks, [0, mask], "{kernels:?}");
            assert_eq!(bits(&several[1].estimate), bits(&expected.estimate), "{kernels:?}");
            assert_eq!(bits(&several[1].lower), bits(&expected.lower), "{kernels:?}");
        }
    }
}

/// A packed block of random codes, the extra code of one row, and the numbers that the two mean for `lane`.
fn full_case(random: &mut SplitMix64, dim: usize, lane: usize, ex: u32) -> (Vec<u8>, Vec<u8>, Vec<f32>) {
    let block: Vec<u8> = (0..block_bytes(dim)).map(|_| random.next_u64() as u8).collect();
    let ex_values: Vec<u8> = (0..dim).map(|_| random.below(1 << ex) as u8).collect();
    let (mut code, mut ex_code) = (vec![0; code_bytes(dim)], vec![0; ex_bytes(dim, ex)]);
    unpack(&block, lane, dim, &mut code);
    pack_ex(&ex_values, ex, &mut ex_code);
    let bit = |i: usize| u32::from(code[i / 8] >> (i % 8) & 1);
    let values = ex_values.iter().enumerate().map(|(i, &value)| ((bit(i) << ex) + u32::from(value)) as f32);
    (block, ex_code, values.collect())
}

#[test]
fn codes_of_several_bits_equal_products_of_their_values() {
    let mut random = SplitMix64::new(12);
    for dim in scan_dims().filter(|dim| dim % 192 == 0 || *dim < 400 || *dim > 8192) {
        for ex in 0..=8 {
            let lane = random.below(BLOCK as u64) as usize;
            let (block, ex_code, values) = full_case(&mut random, dim, lane, ex);
            let query = floats(&mut random, dim);
            let expected = scalar().dot(&query, &values);
            for kernels in Kernels::available() {
                let found = kernels.full_dot(&query, &block, lane, &ex_code, ex);
                assert_eq!(found.to_bits(), expected.to_bits(), "{kernels:?} {dim} 1+{ex} bits, lane {lane}");
            }
        }
    }
}

#[test]
fn products_of_extra_values_are_equal() {
    let mut random = SplitMix64::new(14);
    for dim in scan_dims() {
        for ex in 0..=8 {
            let largest: i16 = if ex == 8 { 63 } else { 127 };
            // The largest numbers, too: nothing saturates on the way.
            let extreme = dim % 192 == 0;
            let mut query = |_| {
                let value = if extreme { 2 * largest } else { random.below(2 * largest as u64 + 1) as i16 };
                (value - largest) as i8
            };
            let query: Vec<i8> = (0..dim).map(&mut query).collect();
            let mut value = |_| if extreme { ((1_u32 << ex) - 1) as u8 } else { random.below(1 << ex) as u8 };
            let values: Vec<u8> = (0..dim).map(&mut value).collect();
            let mut ex_code = vec![0; ex_bytes(dim, ex)];
            pack_ex(&values, ex, &mut ex_code);
            let products = query.iter().zip(&values).map(|(&x, &y)| i64::from(x) * i64::from(y));
            let expected: i64 = products.sum();
            for kernels in with_and_without_vnni() {
                let found = i64::from(kernels.ex_dot(&query, &ex_code, ex));
                assert_eq!(found, expected, "{kernels:?} {dim} {ex}");
            }
        }
    }
}

#[test]
fn every_lane_has_its_bits() {
    let mut random = SplitMix64::new(13);
    let query = floats(&mut random, 128);
    for lane in 0..BLOCK {
        let (block, ex_code, values) = full_case(&mut random, 128, lane, 3);
        let expected = scalar().dot(&query, &values).to_bits();
        for kernels in Kernels::available() {
            assert_eq!(
                kernels.full_dot(&query, &block, lane, &ex_code, 3).to_bits(),
                expected,
                "{kernels:?}"
            );
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

proptest! {
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
