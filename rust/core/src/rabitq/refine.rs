//! Distances from all bits of a code, for the rows that the first bit could not rule out.

use super::{BLOCK, ListTerms};
use crate::{kernel::Kernels, segment::Segment, short_floats::SHORT_ROUNDING};

/// Room for rounding in a sum of `f32`, as a share of the numbers that a distance is added up from.
pub(super) const ROUNDING: f64 = 1.0 / (1 << 20) as f64;

/// One query, made ready for codes of several bits: as it is, without a table and its error.
///
/// ```text
/// estimate = f_add_ex + g_add + f_rescale_ex * <u - (2^bits - 1) / 2, q' - m>
/// lower    = estimate - epsilon * f_error_ex * g_error
/// ```
#[derive(Clone, Debug, Default)]
pub struct Refiner {
    query: Vec<f32>,
    sum: f64,
    epsilon: f64,
}

/// What all bits of a code say of a row's distance.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Refined {
    /// The estimated distance, in the terms of the metric's family; squared distances are not clamped.
    pub estimate: f32,
    /// What the distance is at least, with the confidence that `epsilon` buys.
    pub lower: f32,
}

impl Refiner {
    /// For a query that is rotated and shifted as for [`Query`](super::Query), and bounds of `epsilon` standard
    /// deviations.
    pub fn new(shifted: &[f32], epsilon: f32) -> Self {
        let mut refiner = Self::default();
        refiner.prepare(shifted, epsilon);
        refiner
    }

    /// Makes this one for another query, in the same memory.
    pub fn prepare(&mut self, shifted: &[f32], epsilon: f32) {
        self.query.clear();
        self.query.extend_from_slice(shifted);
        self.sum = shifted.iter().map(|&value| f64::from(value)).sum();
        self.epsilon = epsilon.into();
    }

    /// The distance of the row in `slot`, whose list has the terms `list`; `None` where there is but one bit.
    pub fn refine(
        &self,
        kernels: Kernels,
        segment: &Segment,
        slot: usize,
        list: ListTerms,
    ) -> Option<Refined> {
        let row = segment.ex(slot, self.query.len())?;
        let block = segment.code(slot / BLOCK, self.query.len());
        let numbers = kernels.full_dot(&self.query, block, slot % BLOCK, row.code, row.ex);
        let middle = f64::from((2_u32 << row.ex) - 1) / 2.0;
        let along = f64::from(row.factors.f_rescale) * (f64::from(numbers) - middle * self.sum);
        let (f_add, g_add) = (f64::from(row.factors.f_add), f64::from(list.g_add));
        let estimate = f_add + g_add + along;
        let rounding = ROUNDING * (f_add.abs() + g_add.abs() + along.abs()) + SHORT_ROUNDING * f_add.abs();
        let error = self.epsilon * f64::from(row.factors.f_error) * f64::from(list.g_error);
        Some(Refined { estimate: estimate as f32, lower: (estimate - error - rounding) as f32 })
    }
}
