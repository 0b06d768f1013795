//! Which level each coordinate of a residual gets when there is more than one bit for it.
//!
//! A coordinate of magnitude `o` is kept as a level `y` = 1/2, 3/2, .. and its sign. What counts is the angle between the
//! residual and its levels: for a scale `t` the best level is the one nearest to `t o`, so the levels follow from the
//! scale, and the scale has to be found. The smaller it is, the coarser are the levels; the larger, the more coordinates
//! lie beyond the last one.
//!
//! Extended RaBitQ (Gao et al., arXiv 2409.09913, section 3.2) tries all scales at which a level changes, `2^ex D` of
//! them. A scale fixed per dimension and number of bits is fast but does not fit vectors whose largest coordinates
//! happen to be small or large: beyond 6 bits that is most of the error. Here a search along the scale starts from the
//! fixed one, and then coordinates move by one level where that improves the cosine, as in CAQ (SAQ, arXiv 2509.12086,
//! section 3.1). Every step goes over the coordinates once.

/// Sums run in this many lanes, so that the order of additions is the same on every machine.
const LANES: usize = 16;
/// 1.5 * 2^23: added to a small number, it leaves the nearest integer in the low bits.
const TO_INTEGER: f32 = 12_582_912.0;
/// The width of a level of the best uniform quantizer of a standard normal variable, for 2 to 9 bits with sign (Max,
/// "Quantizing for minimum distortion", 1960, and its continuation).
const WIDTHS: [f32; 8] = [0.9957, 0.5860, 0.3352, 0.1881, 0.1041, 0.0569, 0.0308, 0.0166];
/// The steps of the search along the scale: the cosine has many peaks, and all that are worth climbing lie within a few.
const STRIDE: f32 = 1.05;
/// Steps up and down that are always tried.
const SPAN: i32 = 5;
/// How far to go while the last step is the best.
const FURTHEST: i32 = 80;
/// Steps of half the size of the one before.
const HALVINGS: usize = 4;
/// Rounds of moving coordinates; most vectors need two.
const ROUNDS: usize = 6;

/// Writes the level of each of `magnitudes` to `levels`, from 1/2 to `2^ex - 1/2`.
///
/// The number of magnitudes is a multiple of 64; they are not negative. Where all are 0, so is the cosine, whatever
/// their levels.
pub(super) fn choose(magnitudes: &[f32], ex: u32, levels: &mut [f32]) {
    let top = ((1_u32 << ex) - 1) as f32;
    let scale = best_scale(magnitudes, ex, top);
    for (level, &magnitude) in levels.iter_mut().zip(magnitudes) {
        *level = level_of(magnitude * scale, top);
    }
    adjust(magnitudes, top, levels);
}

/// The level nearest to a scaled magnitude.
#[inline]
fn level_of(scaled: f32, top: f32) -> f32 {
    ((scaled - 0.5).max(0.0).min(top) + TO_INTEGER) - TO_INTEGER + 0.5
}

/// The scale with the least loss of those tried.
fn best_scale(magnitudes: &[f32], ex: u32, top: f32) -> f32 {
    let largest = magnitudes.iter().fold(0.0_f32, |largest, &value| largest.max(value));
    if largest <= 0.0 {
        return 0.0;
    }
    let squares: f64 = magnitudes.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
    let spread = (squares / magnitudes.len() as f64).sqrt() as f32;
    let usual = WIDTHS.get(ex as usize - 1).map_or(1.0, |width| 1.0 / width);
    // Where even the largest coordinate has a level of its own, a smaller scale cannot be better.
    let start = (usual / spread).max((top + 0.5) / largest);
    let loss = |ratio: f32| loss(magnitudes, start * ratio, top) / (ratio * ratio);
    let (mut best, mut step) = ((f32::INFINITY, 0), -SPAN);
    while step <= SPAN || best.1 == step - 1 && step < FURTHEST {
        let here = loss(STRIDE.powi(step));
        if here < best.0 {
            best = (here, step);
        }
        step += 1;
    }
    step = -SPAN;
    while best.1 == step && step > -FURTHEST {
        step -= 1;
        let here = loss(STRIDE.powi(step));
        if here < best.0 {
            best = (here, step);
        }
    }
    let (mut least, mut at) = (best.0, STRIDE.powi(best.1));
    let mut stride = STRIDE.sqrt();
    for _ in 0..HALVINGS {
        let (below, above) = (loss(at / stride), loss(at * stride));
        if below < least && below <= above {
            (at, least) = (at / stride, below);
        } else if above < least {
            (at, least) = (at * stride, above);
        }
        stride = stride.sqrt();
    }
    start * at
}

/// The squared distance between the scaled magnitudes and their levels: divided by the square of the scale, an upper
/// bound of the squared distance to the best multiple of the levels, and equal to it at the best scale.
fn loss(magnitudes: &[f32], scale: f32, top: f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    for magnitudes in magnitudes.as_chunks::<LANES>().0 {
        for (lane, &magnitude) in lanes.iter_mut().zip(magnitudes) {
            let scaled = magnitude * scale;
            let apart = scaled - level_of(scaled, top);
            *lane += apart * apart;
        }
    }
    lanes.into_iter().sum()
}

/// Moves coordinates by one level while that raises the cosine.
///
/// With `a = <o, y>` and `b = |y|^2` the cosine is `a / sqrt(b)` but for the length of `o`. A move of `y_i` by `d` = 1 or -1
/// makes `a + d o_i` and `b + 2 d y_i + 1` of them, which is an improvement where
///
/// ```text
/// 2 d (t o_i - y_i) + t o_i^2 / a > 1    with t = b / a
/// ```
///
/// Both sums follow each move, so that it is judged by all moves before it.
fn adjust(magnitudes: &[f32], top: f32, levels: &mut [f32]) {
    let (mut along, mut squares) = (0.0_f64, 0.0_f64);
    for (&magnitude, &level) in magnitudes.iter().zip(&*levels) {
        along += f64::from(magnitude * level);
        squares += f64::from(level * level);
    }
    if along <= 0.0 {
        return;
    }
    for _ in 0..ROUNDS {
        let mut moved = false;
        let chunks = magnitudes.as_chunks::<LANES>().0.iter().zip(levels.as_chunks_mut::<LANES>().0);
        for (magnitudes, levels) in chunks {
            let scale = squares / along;
            if !any_moves(magnitudes, levels, scale as f32, (scale / along) as f32) {
                continue;
            }
            for (&magnitude, level) in magnitudes.iter().zip(levels) {
                let (o, y) = (f64::from(magnitude), f64::from(*level));
                let step = if o * squares > y * along { 1.0 } else { -1.0 };
                let target = y + step;
                let (new_along, new_squares) = (along + step * o, squares + 2.0 * step * y + 1.0);
                let inside = target > 0.0 && target < f64::from(top) + 1.0;
                if inside && new_along * new_along * squares > along * along * new_squares {
                    (along, squares, *level) = (new_along, new_squares, target as f32);
                    moved = true;
                }
            }
        }
        if !moved {
            break;
        }
    }
}

/// Whether any of some coordinates may want to move, the last level and the first not being told apart from others.
#[inline]
fn any_moves(magnitudes: &[f32; LANES], levels: &[f32; LANES], scale: f32, curvature: f32) -> bool {
    let mut most = [0.0_f32; LANES];
    for ((most, &magnitude), &level) in most.iter_mut().zip(magnitudes).zip(levels) {
        *most = 2.0 * (magnitude * scale - level).abs() + curvature * magnitude * magnitude;
    }
    most.into_iter().any(|most| most > 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    fn cosine(magnitudes: &[f32], levels: &[f32]) -> f64 {
        let wide = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<_>>();
        let (o, y) = (wide(magnitudes), wide(levels));
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        dot(&o, &y) / (dot(&o, &o) * dot(&y, &y)).sqrt()
    }

    /// The best cosine over all scales: each at which a level changes is tried (Extended RaBitQ, section 3.2).
    fn best_cosine(magnitudes: &[f32], ex: u32) -> f64 {
        let o: Vec<f64> = magnitudes.iter().map(|&value| f64::from(value)).collect();
        let mut changes: Vec<(f64, usize, f64)> = (1..1_u32 << ex)
            .flat_map(|level| {
                o.iter().enumerate().map(move |(at, o)| (f64::from(level) / o, at, f64::from(level)))
            })
            .filter(|change| change.0.is_finite())
            .collect();
        changes.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let (mut along, mut squares) = (0.5 * o.iter().sum::<f64>(), 0.25 * o.len() as f64);
        let mut best = along / squares.sqrt();
        for (_, at, level) in changes {
            along += o[at];
            squares += 2.0 * level;
            best = best.max(along / squares.sqrt());
        }
        best / o.iter().map(|o| o * o).sum::<f64>().sqrt()
    }

    /// Magnitudes of normal variables to some power: with a power of 3, a few stand out as they do before a rotation.
    fn magnitudes(random: &mut SplitMix64, dim: usize, power: i32) -> Vec<f32> {
        let normal = |random: &mut SplitMix64| {
            let radius = (-2.0 * (1.0 - random.unit_f64()).ln()).sqrt();
            (radius * (std::f64::consts::TAU * random.unit_f64()).cos()).abs()
        };
        (0..dim).map(|_| normal(random).powi(power) as f32).collect()
    }

    #[test]
    fn as_good_as_trying_every_scale() {
        let mut random = SplitMix64::new(3);
        for (dim, power) in [(64, 1), (128, 1), (384, 1), (768, 1), (128, 3)] {
            for ex in 1..=8 {
                let (mut mine, mut best) = (0.0, 0.0);
                for _ in 0..12 {
                    let o = magnitudes(&mut random, dim, power);
                    let mut levels = vec![0.0; dim];
                    choose(&o, ex, &mut levels);
                    let top = (1_u32 << ex) as f32 - 0.5;
                    assert!(levels.iter().all(|&y| (0.5..=top).contains(&y) && 2.0 * y % 2.0 > 0.5));
                    let (found, limit) = (cosine(&o, &levels), best_cosine(&o, ex));
                    assert!(found <= limit + 1e-12, "{found} {limit}");
                    mine += 1.0 - found;
                    best += 1.0 - limit;
                }
                // Where the levels are fine, many scales are about as good, and the search takes one of them.
                let most = if dim == 64 {
                    1.15
                } else if ex <= 5 {
                    1.01
                } else {
                    1.06
                };
                assert!(mine <= best * most, "dim {dim}, ex {ex}: 1 - cos is {} times the best", mine / best);
            }
        }
    }

    #[test]
    fn no_magnitude_is_too_large_or_too_small_and_zeros_are_harmless() {
        let mut random = SplitMix64::new(4);
        let o = magnitudes(&mut random, 128, 1);
        let mut expected = vec![0.0; 128];
        choose(&o, 4, &mut expected);
        for exponent in [-50, -20, 20, 50] {
            let scaled: Vec<f32> = o.iter().map(|o| o * 2.0_f32.powi(exponent)).collect();
            let mut levels = vec![0.0; 128];
            choose(&scaled, 4, &mut levels);
            assert_eq!(levels, expected, "2^{exponent}");
        }
        for ex in 1..=8 {
            let mut levels = vec![0.0; 64];
            choose(&[0.0; 64], ex, &mut levels);
            assert_eq!(levels, [0.5; 64]);
            let mut one_hot = [0.0; 64];
            one_hot[5] = 7.0;
            choose(&one_hot, ex, &mut levels);
            assert!(cosine(&one_hot, &levels) >= best_cosine(&one_hot, ex) - 1e-3, "{ex}");
        }
    }
}
