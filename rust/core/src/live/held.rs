//! What a snapshot keeps alive.

use super::Snapshot;
use crate::vectors::Vectors;

impl Snapshot {
    /// All bytes that cannot be let go of before this is: [`Snapshot::memory_bytes`], what it maps, and the column that
    /// the index was built from.
    pub fn held_bytes(&self) -> usize {
        let base = self.base.as_ref().map_or(0, Vectors::value_bytes);
        self.memory_bytes() + self.index().mapped_bytes() + base
    }
}
