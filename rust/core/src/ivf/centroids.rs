//! The centroids of all lists, a byte a number.
//!
//! What is kept of a centroid is where it lies beyond the mean `m` of all, `c = m + step * b` with whole numbers `b` of at
//! most 127 to either side. That is not an approximation of the centroids: these are the centroids, distances to them are
//! exact, and codes are of what is left after subtracting them. Only training is rounded: a learned centroid moves by up to
//! half a step in each rotated coordinate, a hundredth of its distance from the mean in all, where rows lie a hundred times
//! as far apart from it.
//!
//! In single precision centroids were an eighth of an index of one bit, and the largest thing that a query reads.

use arrow_buffer::{Buffer, MutableBuffer, ScalarBuffer};

use super::order::{GROUP, mean};
use crate::{
    kernel::Kernels,
    metric::Family,
    steps::{step, whole},
};

/// The largest number a centroid's coordinate becomes.
const STEPS: f32 = 127.0;
/// The byte that stands for 0, see [`Kernels::dot_bytes`].
pub(super) const MIDDLE: i32 = 128;

/// Centroids in the rotated space.
#[derive(Clone, Debug)]
pub struct Centroids {
    kernels: Kernels,
    /// All that a file holds of them: the mean, the steps and the bytes.
    stored: ScalarBuffer<u8>,
    mean: ScalarBuffer<f32>,
    /// The step of each.
    steps: ScalarBuffer<f32>,
    /// `dim` bytes of each, one after the other.
    bytes: ScalarBuffer<u8>,
    /// Half the squared length of each.
    half_norms: Vec<f32>,
    /// The inner product of the mean and what each has beyond it.
    along_mean: Vec<f32>,
    /// The squared length of the mean.
    squared_mean: f32,
}

impl Centroids {
    /// The centroids nearest to some of single precision, `dim` numbers each, at least one.
    pub fn learned(kernels: Kernels, values: &[f32], dim: usize) -> Self {
        let mean = mean(values, dim);
        let nlist = values.len() / dim;
        let (mut steps, mut bytes) = (Vec::with_capacity(nlist), Vec::with_capacity(values.len()));
        let mut beyond = vec![0.0; dim];
        for centroid in values.chunks_exact(dim) {
            let parts = beyond.iter_mut().zip(centroid).zip(&mean);
            parts.for_each(|((beyond, value), mean)| *beyond = value - mean);
            let (step, per_step) = step(&beyond, STEPS);
            steps.push(step);
            bytes.extend(beyond.iter().map(|value| (whole(*value, per_step) + MIDDLE) as u8));
        }
        let mut stored = MutableBuffer::new(stored_bytes(nlist, dim));
        stored.extend_from_slice(&mean);
        stored.extend_from_slice(&steps);
        stored.extend_from_slice(&bytes);
        Self::from_parts(kernels, Buffer::from(stored), nlist, dim)
    }

    /// The centroids that [`Centroids::stored`] gave; `None` if the bytes are not as many as `nlist` and `dim` ask for.
    pub fn from_stored(
        kernels: Kernels,
        stored: &ScalarBuffer<u8>,
        nlist: usize,
        dim: usize,
    ) -> Option<Self> {
        if nlist == 0 || dim == 0 || stored.len() != stored_bytes(nlist, dim) {
            return None;
        }
        // A message may have put bytes anywhere.
        let aligned = stored.as_ptr().align_offset(align_of::<f32>()) == 0;
        let stored = if aligned { stored.inner().clone() } else { Buffer::from_slice_ref(&stored[..]) };
        Some(Self::from_parts(kernels, stored, nlist, dim))
    }

    fn from_parts(kernels: Kernels, stored: Buffer, nlist: usize, dim: usize) -> Self {
        let floats = (dim + nlist) * size_of::<f32>();
        let mean = ScalarBuffer::<f32>::new(stored.clone(), 0, dim);
        let mut centroids = Self {
            kernels,
            squared_mean: kernels.dot(&mean, &mean),
            mean,
            steps: ScalarBuffer::new(stored.clone(), dim, nlist),
            bytes: ScalarBuffer::new(stored.clone(), floats, nlist * dim),
            stored: ScalarBuffer::from(stored),
            half_norms: Vec::with_capacity(nlist),
            along_mean: Vec::with_capacity(nlist),
        };
        let (mut values, mut beyond) = (vec![0.0; dim], vec![0.0; dim]);
        for list in 0..nlist {
            centroids.write(list, &mut values);
            centroids.write_beyond(list, &mut beyond);
            centroids.half_norms.push(0.5 * kernels.dot(&values, &values));
            centroids.along_mean.push(kernels.dot(&centroids.mean, &beyond));
        }
        centroids
    }

    /// What a file holds of them.
    pub fn stored(&self) -> &ScalarBuffer<u8> {
        &self.stored
    }

    /// The numbers of a file that are floats, the mean and the steps.
    pub fn floats(&self) -> impl Iterator<Item = f32> {
        self.mean.iter().chain(self.steps.iter()).copied()
    }

    /// The kernels they were made with.
    pub fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// How many they are.
    pub fn nlist(&self) -> usize {
        self.steps.len()
    }

    /// Numbers of each.
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// Their mean: that of the learned ones.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// The squared length of the mean.
    pub fn squared_mean(&self) -> f32 {
        self.squared_mean
    }

    /// Half the squared length of each.
    pub fn half_norms(&self) -> &[f32] {
        &self.half_norms
    }

    /// The steps of all, and the inner product of the mean and what each has beyond it.
    pub(super) fn beyond(&self) -> (&[f32], &[f32]) {
        (&self.steps, &self.along_mean)
    }

    /// The bytes of all, `dim` each.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn bytes_of(&self, list: usize) -> &[u8] {
        &self.bytes[list * self.dim()..(list + 1) * self.dim()]
    }

    /// Writes one of them.
    pub fn write(&self, list: usize, out: &mut [f32]) {
        let step = self.steps[list];
        for ((out, &byte), mean) in out.iter_mut().zip(self.bytes_of(list)).zip(&self.mean[..]) {
            *out = mean + step * (i32::from(byte) - MIDDLE) as f32;
        }
    }

    /// Writes what one of them has beyond the mean.
    pub fn write_beyond(&self, list: usize, out: &mut [f32]) {
        let step = self.steps[list];
        for (out, &byte) in out.iter_mut().zip(self.bytes_of(list)) {
            *out = step * (i32::from(byte) - MIDDLE) as f32;
        }
    }

    /// Writes those of a group, one after the other.
    pub(super) fn write_group(&self, group: usize, out: &mut Vec<f32>) {
        let lists = group * GROUP..((group + 1) * GROUP).min(self.nlist());
        out.resize(lists.len() * self.dim(), 0.0);
        lists.zip(out.chunks_exact_mut(self.dim())).for_each(|(list, out)| self.write(list, out));
    }

    /// Asks for the memory of one before it is needed.
    pub fn prefetch(&self, list: usize) {
        self.kernels.prefetch(self.bytes_of(list));
    }

    /// What the keys of a vector have in common: its inner product with the mean.
    pub fn along_mean(&self, vector: &[f32]) -> f32 {
        self.kernels.dot(vector, &self.mean)
    }

    /// The key of a list, see [`super::router::Router::keys`]; `along` is [`Centroids::along_mean`] of the vector.
    pub fn key(&self, vector: &[f32], along: f32, list: usize, family: Family) -> f32 {
        let dot = along + self.steps[list] * self.kernels.dot_bytes(vector, self.bytes_of(list));
        match family {
            Family::L2 => self.half_norms[list] - dot,
            Family::Ip => -dot,
        }
    }

    /// All of them, one after the other.
    #[cfg(test)]
    pub(super) fn all(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.nlist() * self.dim()];
        values.chunks_exact_mut(self.dim()).enumerate().for_each(|(list, out)| self.write(list, out));
        values
    }

    /// Bytes of memory besides what is stored.
    pub fn derived_bytes(&self) -> usize {
        size_of_val(&self.half_norms[..]) + size_of_val(&self.along_mean[..])
    }
}

/// How many bytes are stored of `nlist` centroids.
pub fn stored_bytes(nlist: usize, dim: usize) -> usize {
    let floats = dim.saturating_add(nlist).saturating_mul(size_of::<f32>());
    nlist.saturating_mul(dim).saturating_add(floats)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    fn values(lists: usize, dim: usize, far: f32) -> Vec<f32> {
        let mut random = SplitMix64::new(3);
        (0..lists * dim).map(|_| far + random.unit_f64() as f32 - 0.5).collect()
    }

    #[test]
    fn learned_centroids_move_by_half_a_step_at_most() {
        let kernels = Kernels::detect().unwrap();
        for (lists, dim, far) in [(1, 64, 0.0), (2, 64, 3.0), (41, 128, 100.0), (300, 192, 0.0)] {
            let learned = values(lists, dim, far);
            let centroids = Centroids::learned(kernels, &learned, dim);
            let widest = centroids.steps.iter().fold(0.0_f32, |widest, &step| widest.max(step));
            assert!(lists == 1 || widest > 0.0 && widest < 1.1 / 127.0);
            for (value, learned) in centroids.all().iter().zip(&learned) {
                assert!((value - learned).abs() <= 0.5 * widest + far * 1e-6, "{value} {learned}");
            }
        }
    }

    #[test]
    fn keys_are_those_of_what_is_written_on_every_level() {
        let (lists, dim) = (33, 192);
        let learned = values(lists, dim, 0.3);
        let query = values(1, dim, -0.2);
        let mut found = Vec::new();
        for kernels in Kernels::available() {
            let centroids = Centroids::learned(kernels, &learned, dim);
            let along = centroids.along_mean(&query);
            let written = centroids.all();
            let mut keys = Vec::new();
            for (list, centroid) in written.chunks_exact(dim).enumerate() {
                let dot: f64 = query.iter().zip(centroid).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                let squared: f64 = centroid.iter().map(|value| f64::from(*value).powi(2)).sum();
                let ip = centroids.key(&query, along, list, Family::Ip);
                let l2 = centroids.key(&query, along, list, Family::L2);
                assert!((f64::from(ip) + dot).abs() < 1e-5 * squared.max(1.0), "{ip} {dot}");
                assert!((f64::from(l2) - (squared / 2.0 - dot)).abs() < 1e-5 * squared.max(1.0));
                keys.push((ip.to_bits(), l2.to_bits()));
            }
            found.push((keys, centroids.half_norms().to_vec(), centroids.stored().to_vec()));
        }
        assert!(found.iter().all(|one| *one == found[0]));
    }

    #[test]
    fn what_is_stored_makes_the_same_centroids_wherever_it_lies() {
        let kernels = Kernels::detect().unwrap();
        let (lists, dim) = (7, 64);
        let centroids = Centroids::learned(kernels, &values(lists, dim, 1.0), dim);
        let stored = centroids.stored();
        assert_eq!(stored.len(), stored_bytes(lists, dim));
        for shift in [0, 1, 3] {
            let mut bytes = vec![0; shift];
            bytes.extend_from_slice(stored);
            let moved = ScalarBuffer::new(Buffer::from_vec(bytes), shift, stored.len());
            let again = Centroids::from_stored(kernels, &moved, lists, dim).unwrap();
            assert_eq!((again.all(), again.stored()), (centroids.all(), stored));
        }
        for (lists, dim) in [(6, 64), (8, 64), (7, 63), (0, 64), (7, 0), (usize::MAX, 2)] {
            assert!(Centroids::from_stored(kernels, stored, lists, dim).is_none());
        }
    }
}
