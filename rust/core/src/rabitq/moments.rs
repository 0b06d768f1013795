//! The sums of a residual and its code, and the factors that follow from them.

use crate::{kernel::Kernels, metric::Family, short_floats::short};

/// What a residual is relative to, all of it rotated.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    /// Which estimator is served.
    pub family: Family,
    /// The list's centroid `c`.
    pub centroid: &'a [f32],
    /// `c - m`, where `m` is what is subtracted from a query before it becomes a [`Query`](super::Query).
    pub shifted: &'a [f32],
}

/// The three numbers kept beside a code.
///
/// With `n = norm(r)`, `a = <r, z>`, `b = <c - m, z>` and `g = sqrt((n^2 |z|^2 / a^2 - 1) / (D - 1))`:
///
/// | | [`Family::L2`] | [`Family::Ip`] |
/// |---|---|---|
/// | `f_add` | `n^2 + 2 n^2 b / a` | `n^2 b / a - <r, c>` |
/// | `f_rescale` | `-2 n^2 / a` | `-n^2 / a` |
/// | `f_error` | `2 n g` | `n g` |
///
/// Both follow from `<r, x>` being estimated by `n^2 <z, x> / a` for `x = q' - c = (q' - m) - (c - m)`, where the distance
/// is `n^2 + |x|^2 - 2 <r, x>` for L2 and `-<c, q'> - <r, c> - <r, x>` for the inner product, and from Theorem 3.2 of the
/// RaBitQ paper, by which that estimate is off by `n |x| g` as one standard deviation. The point `m` drops out: it only
/// decides how large the numbers are that the query's table has to be made of.
///
/// A residual of zero has no direction: all three are 0, and the distance is `g_add`, exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Factors {
    /// The part of the estimate that is the same for every query.
    pub f_add: f32,
    /// What an inner product with the code is multiplied by.
    pub f_rescale: f32,
    /// One standard deviation of the error, per unit of distance between query and centroid.
    pub f_error: f32,
}

/// What [`Factors`] are made of, before anything is rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    /// The estimate for a query that lies on the centroid, less `g_add`: `n^2`, or `-<r, c>`.
    at_centroid: f64,
    /// `f_rescale` without rounding.
    rescale: f64,
    /// `<c - m, z>`.
    shifted_along_code: f64,
    /// `n`, or twice that for L2: what an error of the direction is multiplied by.
    reach: f64,
    /// `g^2`.
    spread: f64,
}

impl Moments {
    /// The moments of `residual` and its code read as a vector, `z`.
    ///
    /// `error` is the squared distance between the residual and the nearest multiple of `z`, `n^2 - a^2 / |z|^2`, where
    /// it is known better than by that difference.
    pub(super) fn new(
        kernels: Kernels,
        around: Around<'_>,
        residual: &[f32],
        code: &[f32],
        squared_code: f64,
        error: Option<f64>,
    ) -> Self {
        let squared_norm = f64::from(kernels.dot(residual, residual));
        let along_code = f64::from(kernels.dot(residual, code));
        if squared_norm <= 0.0 || along_code <= 0.0 {
            return Self::default();
        }
        let error = error.unwrap_or(squared_norm - along_code * along_code / squared_code);
        let met = (squared_norm - error).max(f64::MIN_POSITIVE);
        let (at_centroid, times) = match around.family {
            Family::L2 => (squared_norm, 2.0),
            Family::Ip => (-f64::from(kernels.dot(residual, around.centroid)), 1.0),
        };
        Self {
            at_centroid,
            rescale: -times * squared_norm / along_code,
            shifted_along_code: f64::from(kernels.dot(around.shifted, code)),
            reach: times * squared_norm.sqrt(),
            spread: error.max(0.0) / met / (residual.len() as f64 - 1.0),
        }
    }

    /// The factors as `f32`.
    pub fn factors(&self) -> Factors {
        Factors {
            f_add: self.f_add(self.rescale) as f32,
            f_rescale: self.rescale as f32,
            f_error: self.f_error(self.rescale) as f32,
        }
    }

    /// The factors of codes of several bits: `f_rescale` in three bytes, and what goes with it; `f_add` in three bytes,
    /// too, which [`Refiner`](super::Refiner) has room for.
    pub(crate) fn short_factors(&self) -> Factors {
        let f_rescale = short(self.rescale as f32);
        Factors {
            f_add: short(self.f_add(f64::from(f_rescale)) as f32),
            f_rescale,
            f_error: self.f_error(f64::from(f_rescale)) as f32,
        }
    }

    /// `f_rescale` without rounding.
    pub(super) fn rescale(&self) -> f64 {
        self.rescale
    }

    /// The `f_add` that belongs to an `f_rescale`, rounded or not: the estimate for a query on the centroid stays what
    /// it was, and what the rounding does to any other is in proportion to its distance from the centroid.
    pub(super) fn f_add(&self, f_rescale: f64) -> f64 {
        self.at_centroid - f_rescale * self.shifted_along_code
    }

    /// The `f_error` that belongs to an `f_rescale`, rounded or not.
    ///
    /// With `f_rescale` off by a share `e`, the estimate of `<r, x>` is `(1 + e) n^2 <z, x> / a`. Divide `z` into what
    /// points along `r` and what is at right angles to it: the first gives `(1 + e) <r, x>`, wrong by `e <r, x>`, the
    /// second the error of Theorem 3.2, times `1 + e`. That one comes from the part of `x` at right angles to `r` alone.
    /// So with `t` the angle between `r` and `x`, the error is within
    ///
    /// ```text
    /// n |x| (epsilon (1 + |e|) g sin t + |e| cos t) <= n |x| epsilon (1 + |e|) sqrt(g^2 + e^2)
    /// ```
    ///
    /// for every `epsilon` of at least 1, by Cauchy and Schwarz.
    pub(super) fn f_error(&self, f_rescale: f64) -> f64 {
        if self.rescale == 0.0 {
            return 0.0;
        }
        let off = (f_rescale / self.rescale - 1.0).abs();
        self.reach * (self.spread + off * off).sqrt() * (1.0 + off)
    }
}
