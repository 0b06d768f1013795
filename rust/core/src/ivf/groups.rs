//! Centroids in groups of 32 neighbouring ones, which is how they are ordered ([`super::order`]).

use super::{
    centroids::Centroids,
    order::{GROUP, mean},
};
use crate::{kernel::Kernels, key::Key, rotate::Rotation};

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

    /// Bytes of memory it holds.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.means[..]) + size_of_val(&self.squares[..])
    }
}

/// The same as vectors outside: near which of them a query is can be told before it is rotated.
#[derive(Clone, Debug)]
pub(super) struct Regions(Groups);

impl Regions {
    pub(super) fn new(centroids: &Centroids, rotation: &Rotation) -> Self {
        let Groups { means: rotated, squares } = Groups::new(centroids);
        let mut means = vec![0.0; squares.len() * rotation.dim()];
        let each = rotated.chunks_exact(rotation.padded_dim()).zip(means.chunks_exact_mut(rotation.dim()));
        each.for_each(|(rotated, mean)| rotation.unrotate(centroids.kernels(), rotated, mean));
        Self(Groups { means, squares })
    }

    /// The group whose mean is nearest to `vector` times `scale`.
    pub(super) fn nearest(&self, kernels: Kernels, vector: &[f32], scale: f32, dots: &mut Vec<f32>) -> u32 {
        let Groups { means, squares } = &self.0;
        dots.resize(squares.len(), 0.0);
        kernels.dots(vector, means, dots);
        let keys = dots.iter().zip(squares).zip(0_u32..);
        let keys = keys.map(|((dot, square), group)| Key::new(0.5 * square - scale * dot, group));
        keys.min().map_or(0, Key::number)
    }

    /// Bytes of memory it holds.
    pub(super) fn bytes(&self) -> usize {
        self.0.bytes()
    }
}
