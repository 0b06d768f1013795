//! Factors in half floats keep what bounds of `f32` factors keep.

use super::*;

/// One setting: vectors around a centroid, queries around it, and what both are shifted by.
#[derive(Clone, Copy, Debug)]
struct Setting {
    family: Family,
    dim: usize,
    /// The length of everything.
    scale: f32,
    /// The distance of the centroid from the shift, in units of the residuals' spread.
    centroid: f32,
    /// The distance of the shift from the origin, in the same units.
    offset: f32,
    /// The distance of queries from the centroid, in the same units.
    queries: f32,
}

const PLAIN: Setting =
    Setting { family: Family::L2, dim: 128, scale: 1.0, centroid: 1.0, offset: 0.0, queries: 1.5 };

/// How often bounds of 1.9 standard deviations miss: those of `f32` factors, then those of half floats.
struct Misses {
    count: f64,
    two_sided: [f64; 2],
    one_sided: [f64; 2],
}

fn misses(setting: Setting) -> Misses {
    let Setting { family, dim, scale, .. } = setting;
    let mut random = SplitMix64::new(71 + dim as u64);
    let mut misses = Misses { count: 0.0, two_sided: [0.0; 2], one_sided: [0.0; 2] };
    for _ in 0..8 {
        let zero = vec![0.0; dim];
        let shift = moved(&zero, &gaussians(&mut random, dim), setting.offset * scale);
        let centroid = moved(&shift, &gaussians(&mut random, dim), setting.centroid * scale);
        let shifted: Vec<f32> = centroid.iter().zip(&shift).map(|(c, m)| c - m).collect();
        let around = Around { family, centroid: &centroid, shifted: &shifted };
        let mut draw = |times: f32| moved(&centroid, &gaussians(&mut random, dim), times * scale);
        // Lengths within a block differ by a factor of eight.
        let vectors: Vec<Vec<f32>> =
            (0..BLOCK).map(|lane| draw(0.25 * 2.0_f32.powi(lane as i32 % 4))).collect();
        let queries: Vec<Vec<f32>> = (0..100).map(|_| draw(setting.queries)).collect();
        let mut coded = Vec::new();
        let mut codes = vec![vec![0; code_bytes(dim)]; BLOCK];
        for (vector, code) in vectors.iter().zip(&mut codes) {
            let residual: Vec<f32> = vector.iter().zip(&centroid).map(|(x, c)| x - c).collect();
            coded.push(encode_bits(kernels(), around, &residual, &mut Vec::new(), code));
        }
        let halves = HalfBlock::new(&coded);
        for query in &queries {
            let shifted: Vec<f32> = query.iter().zip(&shift).map(|(q, m)| q - m).collect();
            let apart = exact_distance(Family::L2, query, &centroid);
            let g_add = if family == Family::L2 { apart } else { exact_distance(family, query, &centroid) };
            for (lane, (vector, code)) in vectors.iter().zip(&codes).enumerate() {
                let truth = exact_distance(family, vector, query);
                let along = dot_with_code(code, &shifted);
                misses.count += 1.0;
                for (kind, factors) in [coded[lane].factors(), halves.lend().lane(lane)].iter().enumerate() {
                    let estimate = f64::from(factors.f_add) + g_add + f64::from(factors.f_rescale) * along;
                    let bound = 1.9 * f64::from(factors.f_error) * apart.sqrt();
                    misses.two_sided[kind] += f64::from((estimate - truth).abs() > bound);
                    misses.one_sided[kind] += f64::from(estimate - truth > bound);
                }
            }
        }
    }
    misses
}

#[test]
fn bounds_miss_as_often_as_epsilon_says_and_no_oftener_than_with_f32() {
    for dim in [128, 384, 768, 1536] {
        for family in [Family::L2, Family::Ip] {
            let setting = Setting { family, dim, ..PLAIN };
            let Misses { count, two_sided, one_sided } = misses(setting);
            let share = two_sided[1] / count;
            assert!((share - 0.057).abs() < 0.005, "{setting:?}: {share}");
            assert!(one_sided[1] <= one_sided[0], "{setting:?}: {one_sided:?}");
        }
    }
}

#[test]
fn no_magnitude_is_too_large_or_too_small() {
    for scale in [1e-15, 1e-9, 1e-4, 1e4, 1e9, 1e15] {
        for family in [Family::L2, Family::Ip] {
            let setting = Setting { family, dim: 192, scale, ..PLAIN };
            let Misses { count, two_sided, one_sided } = misses(setting);
            let share = two_sided[1] / count;
            assert!((share - 0.057).abs() < 0.006, "{setting:?}: {share}");
            assert!(one_sided[1] <= one_sided[0], "{setting:?}: {one_sided:?}");
        }
    }
}

/// Far from the origin, a shift keeps distances as good as near it; inner products still have sound lower bounds.
#[test]
fn an_offset_of_all_the_data_is_shifted_away() {
    for offset in [10.0, 100.0, 1000.0] {
        for family in [Family::L2, Family::Ip] {
            let setting = Setting { family, dim: 384, offset, ..PLAIN };
            let Misses { count, two_sided, one_sided } = misses(setting);
            let share = two_sided[1] / count;
            assert!(family == Family::Ip || (share - 0.057).abs() < 0.005, "{setting:?}: {share}");
            assert!(one_sided[1] <= one_sided[0], "{setting:?}: {one_sided:?}");
        }
    }
}

/// Where a query lies on the centroid or the centroid far away, rounding is all the error there is.
#[test]
fn lower_bounds_hold_where_rounding_is_larger_than_the_error() {
    for (queries, centroid) in [(0.01, 1.0), (1.0, 300.0), (0.001, 30.0)] {
        for family in [Family::L2, Family::Ip] {
            let setting = Setting { family, dim: 256, queries, centroid, ..PLAIN };
            let Misses { one_sided, .. } = misses(setting);
            assert!(one_sided[1] <= one_sided[0], "{setting:?}: {one_sided:?}");
        }
    }
}

#[test]
fn the_estimate_for_a_query_on_the_centroid_is_not_raised_and_hardly_lowered() {
    let mut random = SplitMix64::new(77);
    let dim = 320;
    let centroid = gaussians(&mut random, dim);
    let around = Around { family: Family::L2, centroid: &centroid, shifted: &centroid };
    let mut coded = Vec::new();
    let mut codes = vec![vec![0; code_bytes(dim)]; BLOCK];
    let residuals: Vec<Vec<f32>> = (0..BLOCK).map(|_| gaussians(&mut random, dim)).collect();
    for (residual, code) in residuals.iter().zip(&mut codes) {
        coded.push(encode_bits(kernels(), around, residual, &mut Vec::new(), code));
    }
    let halves = HalfBlock::new(&coded);
    for (lane, (residual, code)) in residuals.iter().zip(&codes).enumerate() {
        let factors = halves.lend().lane(lane);
        let estimate =
            f64::from(factors.f_add) + f64::from(factors.f_rescale) * dot_with_code(code, &centroid);
        let truth = exact_dot(residual, residual);
        let step = f64::from(halves.lend().add_step());
        assert!(
            estimate <= truth * 1.000_001 && estimate >= truth - step * 1.01,
            "{estimate} {truth} {step}"
        );
    }
}
