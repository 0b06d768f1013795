//! Numbers rounded to whole steps of one width.

/// The width of a step, so that the largest number is `steps` of them, and one over it; 0 for zeros.
pub(crate) fn step(values: &[f32], steps: f32) -> (f32, f32) {
    let mut largest = [0.0_f32; 16];
    let (blocks, rest) = values.as_chunks::<16>();
    for block in blocks {
        for (largest, value) in largest.iter_mut().zip(block) {
            *largest = largest.max(value.abs());
        }
    }
    let largest = largest.iter().chain(rest).fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let per_step = steps / largest;
    if per_step.is_finite() { (largest / steps, per_step) } else { (0.0, 0.0) }
}

/// The nearest whole number of steps.
pub(crate) fn whole(value: f32, per_step: f32) -> i32 {
    // Adding 1.5 * 2^23 leaves the number in the low bits, rounded to even, on every machine and without a call.
    const SHIFT: f32 = 12_582_912.0;
    (value * per_step + SHIFT).to_bits() as i32 - SHIFT.to_bits() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_the_nearest() {
        for (value, expected) in [(0.4, 0), (0.6, 1), (-0.6, -1), (-63.0, -63), (127.0, 127), (1.5, 2)] {
            assert_eq!(whole(value, 1.0), expected, "{value}");
        }
    }
}
