//! RaBitQ: one to nine bits per dimension, an unbiased estimate of the distance, and a bound on its error.
//!
//! A vector `o_r` belongs to a list with centroid `c`. What is left of it after rotation, the residual
//! `r = P(o_r) - P(c)`, is kept as the signs of its coordinates and three factors. A query is rotated once,
//! `q' = P(q_r)`, and shifted once, by the mean `m` of all centroids, so that what is rounded is as large as the data's
//! spread and not as their distance from the origin. The factors carry the centroid's part. For every code
//!
//! ```text
//! estimate = f_add + g_add + f_rescale * <u - 1/2, q' - m>
//! bound    = epsilon * f_error * g_error
//! ```
//!
//! and the true distance lies within `estimate +- bound` unless an event of `epsilon` standard deviations happens. Where
//! an index ranks by `estimate` and drops by `estimate - bound`, `epsilon` is the price of a miss: 1.9 loses 2.9 % of the
//! rows at the edge, 3 loses 0.13 %.
//!
//! | paper | here | meaning |
//! |---|---|---|
//! | `D` | `padded_dim` | length of rotated vectors, a multiple of 64 |
//! | `o_r - c`, rotated | `residual`, `r` | what is encoded |
//! | `n = norm(o_r - c)` | inside the factors | length of the residual |
//! | `x_b`, `u` | `bin_code`, `code` | bit `i` is set when `r_i > 0` |
//! | `o_bar`, here `z = u - 1/2` | [`cosine_quality`] compares | the code read as a vector, not scaled to unit length |
//! | `<o_bar, o>` | [`cosine_quality`] | how well the code points along `r`, about 0.8 |
//! | `a = <r, z>`, `b = <P c - m, z>` | [`Moments`] | |
//! | eq. 20 rearranged | `f_add`, `f_rescale` | [`Factors`], per code |
//! | Theorem 3.2 | `f_error` | [`Factors`], per code, without `epsilon` |
//! | | `m` in [`Around`] | the mean of the centroids, the only shift that all lists share |
//! | `norm(q_r - c)` | `g_error` | [`ListTerms`], per query and list |
//! | `norm(q_r - c)^2`, or `-<q_r, c>` | `g_add` | [`ListTerms`], per query and list |
//! | `epsilon_0` | `epsilon` | a knob of the query, never baked into a code |
//! | `q_u`, 4 bits per coordinate | `lut`, `delta`, `shift` | [`Query`]: 6 bits per subset sum of 4 coordinates |
//!
//! Sources: Gao and Long, "RaBitQ: quantizing high-dimensional vectors with a theoretical error bound", SIGMOD 2024;
//! the one formula for all metrics is that of the authors' later library. Two things differ from both: the inner
//! product here is its negative, without the `1 -`, and the query becomes a table of sums rather than of coordinates,
//! which adds 0.3 % to the error instead of 6 %.
//!
//! More bits than one lie beside the first ([`pack_ex`]) and have factors of their own, by the same formulas with another
//! `z`: a scan reads the first bit, [`FurtherBits`] adds the others for the rows that are left, and a [`Refiner`] reads all of
//! them where the estimate is the answer (Gao et al., "Practical and asymptotically optimal quantization of
//! high-dimensional vectors", arXiv 2409.09913).
//!
//! The modules follow the data: an [`Encoder`] takes a residual, [`pack_block`] 32 codes for FastScan, prepare a [`Query`], and
//! combine the sums with [`ListTerms`] into [`QueryTerms`] and [`BlockBounds`].

mod alone;
mod encode;
mod encoder;
mod estimate;
mod ex_layout;
mod further;
mod halves;
mod layout;
mod levels;
mod moments;
mod query;
mod refine;
#[cfg(test)]
mod tests;

pub use alone::{Quantized, Quantizer};
pub use encode::{cosine_quality, encode, encode_bits};
pub use encoder::{Coded, Encoder};
pub use estimate::{BlockBounds, BlockFactors, HalfFactors, ListTerms, QueryTerms, list_terms};
pub(crate) use ex_layout::plane;
pub use ex_layout::{ex_bytes, pack_ex, unpack_ex};
pub use further::FurtherBits;
pub use halves::HalfBlock;
pub(crate) use halves::{SCALE_BYTES, scale_byte, scale_of};
pub use layout::{block_bytes, code_bytes, pack_block, unpack};
pub use moments::{Around, Factors, Moments};
pub use query::Query;
pub use refine::{Refined, Refiner};

/// How many codes are scanned together, and stored together.
pub const BLOCK: usize = 32;

/// The most bits per dimension that a code can have.
pub const MAX_BITS: u32 = 9;
