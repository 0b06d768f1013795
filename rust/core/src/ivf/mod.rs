//! The inverted file: rows are grouped around `nlist` centroids, a query looks into the nearest few groups.
//!
//! Everything happens in the rotated space, where distances are the same as outside: a vector is rotated once and
//! then serves for routing and for coding.

pub mod assign;
mod bytes;
pub mod centroids;
mod codes;
pub mod encode;
mod groups;
mod halve;
mod hierarchy;
mod kmeans;
pub(crate) mod loose;
mod order;
mod project;
pub mod router;
mod tails;
