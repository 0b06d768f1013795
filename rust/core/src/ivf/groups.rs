//! Centroids in groups of 32 neighbouring ones, which is how they are ordered ([`super::order`]).

use super::{
    centroids::Centroids,
    order::{GROUP, mean},
};
use crate::{kernel::Kernels, key::Key};

/// The means of all groups.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    /// `dim` numbers of each, one after the other.
    pub(super) means: Vec<f32>,
    /// The squared length of each mean.
    pub(super) squares: Vec<f32>,
}

impl Groups {
    pub(super) fn new(centroids: &Centroids) -> Self {
        let (kernels, dim, nlist) = (centroids.kernels(), centroids.dim(), centroids.nlist());
        let mut groups = Self::default();
        let mut values = Vec::new();
        for first in (0..nlist).step_by(GROUP) {
            centroids.write_group(first / GROUP, &mut values);
            let mean = mean(&values, dim);
            groups.squares.push(kernels.dot(&mean, &mean));
            groups.means.extend(mean);
        }
        groups
    }

    /// The number of groups.
    pub(super) fn len(&self) -> usize {
        self.squares.len()
    }

    /// The group whose mean is nearest.
    pub(super) fn nearest(&self, kernels: Kernels, vector: &[f32], dots: &mut Vec<f32>) -> u32 {
        dots.resize(self.len(), 0.0);
        kernels.dots(vector, &self.means, dots);
        let keys = dots.iter().zip(&self.squares).zip(0_u32..);
        keys.map(|((dot, square), group)| Key::new(0.5 * square - dot, group)).min().map_or(0, Key::number)
    }

    /// Bytes of memory it holds.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.means[..]) + size_of_val(&self.squares[..])
    }
}
