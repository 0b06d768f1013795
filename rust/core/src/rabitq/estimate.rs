//! From the sums of a scan to distances and bounds.

use super::{BLOCK, Query};
use crate::{kernel::Kernels, metric::Family};

/// What one query and one list have in common: the part of the estimate that no code changes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ListTerms {
    /// `|q' - P c|^2` for [`Family::L2`], `-<q', P c>` for [`Family::Ip`].
    pub g_add: f32,
    /// `|q' - P c|`, which the error of every estimate is proportional to.
    pub g_error: f32,
}

/// The terms of a rotated query and a rotated centroid, `padded_dim` numbers each.
pub fn list_terms(
    family: Family,
    kernels: Kernels,
    rotated_query: &[f32],
    rotated_centroid: &[f32],
) -> ListTerms {
    let squared = kernels.l2sq(rotated_query, rotated_centroid);
    let g_add = match family {
        Family::L2 => squared,
        Family::Ip => -kernels.dot(rotated_query, rotated_centroid),
    };
    ListTerms { g_add, g_error: squared.sqrt() }
}

/// Everything a block needs to know of a query, a list and the search so far.
///
/// With `sum` from [`Kernels::scan_block`]:
///
/// ```text
/// estimate = f_add + g_add + f_rescale * (delta * sum + shift)
/// lower    = estimate - (f_error * g_error + |f_rescale| * slack)
/// ```
///
/// Two errors meet in an estimate: the code's, `f_error * g_error`, and the table's, `|f_rescale| * slack`. They are
/// independent, so `epsilon` standard deviations of both together would be the root of the sum of their squares. The
/// plain sum is never less than that root, so the bound misses no oftener than `epsilon` says; it costs no root
/// per row, and since the table's error is small the bound is wider by little.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct QueryTerms {
    /// [`Query::delta`].
    pub delta: f32,
    /// [`Query::shift`].
    pub shift: f32,
    /// `epsilon *` [`Query::lut_sigma`].
    pub slack: f32,
    /// [`ListTerms::g_add`].
    pub g_add: f32,
    /// `epsilon *` [`ListTerms::g_error`].
    pub g_error: f32,
    /// The distance to beat: rows whose lower bound is above it are dropped. Infinity keeps everything.
    pub limit: f32,
}

impl QueryTerms {
    /// The terms of `query` on a list, for bounds of `epsilon` standard deviations.
    pub fn new(query: &Query, list: ListTerms, epsilon: f32, limit: f32) -> Self {
        Self {
            delta: query.delta(),
            shift: query.shift(),
            slack: epsilon * query.lut_sigma(),
            g_add: list.g_add,
            g_error: epsilon * list.g_error,
            limit,
        }
    }
}

/// The [`Factors`](super::Factors) of a block's 32 codes, each kind by itself.
#[derive(Clone, Copy, Debug)]
pub struct BlockFactors<'a> {
    /// `f_add` of each lane.
    pub f_add: &'a [f32; BLOCK],
    /// `f_rescale` of each lane.
    pub f_rescale: &'a [f32; BLOCK],
    /// `f_error` of each lane.
    pub f_error: &'a [f32; BLOCK],
}

/// The same in half the room: a factor is the half float with these bits, times the scale of its kind.
///
/// Scales are powers of two, so that multiplying by them loses nothing.
#[derive(Clone, Copy, Debug)]
pub struct HalfFactors<'a> {
    /// `f_add` of each lane.
    pub f_add: &'a [u16; BLOCK],
    /// `f_rescale` of each lane.
    pub f_rescale: &'a [u16; BLOCK],
    /// `f_error` of each lane.
    pub f_error: &'a [u16; BLOCK],
    /// What all of `f_add`, of `f_rescale` and of `f_error` are multiplied by.
    pub scale: [f32; 3],
}

/// What a scan says of a block's 32 codes. Squared distances are not clamped: an estimate below 0 still ranks.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockBounds {
    /// The estimated distance of each lane.
    pub estimate: [f32; BLOCK],
    /// What the distance of each lane is at least, with the confidence that `epsilon` buys.
    pub lower: [f32; BLOCK],
}

impl Default for BlockBounds {
    fn default() -> Self {
        Self { estimate: [0.0; BLOCK], lower: [0.0; BLOCK] }
    }
}
