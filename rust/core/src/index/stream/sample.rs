//! A sample of a table that passes by.

use crate::{
    error::{Error, Result},
    index::default_nlist,
    ivf::router::SAMPLE_PER_LIST,
    random::SplitMix64,
    vectors::Vectors,
};

/// Sets the sample apart from other draws with the same seed: "sample" in ASCII.
const STREAM: u64 = 0x7361_6d70_6c65;

/// Rows drawn from a table whose length is not known beforehand.
///
/// Each row has a number drawn by lot, which depends on the row's place only, and is in the sample if that is below a
/// limit. When too many are, the limit falls.
pub(super) struct Sample {
    lots: SplitMix64,
    limit: u64,
    nlist: Option<usize>,
    column: String,
    dim: usize,
    drawn: Vec<u64>,
    values: Vec<f32>,
    /// Rows seen so far, and how many of them were null.
    pub(super) rows: usize,
    pub(super) nulls: usize,
}

impl Sample {
    /// `nlist`, if it is given, and otherwise the number of rows decide how many rows are drawn.
    pub(super) fn new(seed: u64, nlist: Option<usize>) -> Self {
        Self {
            lots: SplitMix64::new(seed ^ STREAM),
            limit: u64::MAX,
            nlist,
            column: String::new(),
            dim: 0,
            drawn: Vec::new(),
            values: Vec::new(),
            rows: 0,
            nulls: 0,
        }
    }

    /// Draws from the next rows.
    pub(super) fn extend(&mut self, vectors: &Vectors) -> Result<()> {
        if self.dim == 0 {
            self.column = vectors.column().into();
            self.dim = vectors.dim();
        }
        vectors.expect_dim("the first chunk", self.dim)?;
        for row in 0..vectors.len() {
            if vectors.is_null(row) {
                self.nulls += 1;
            } else {
                self.draw(vectors, row);
            }
            self.rows += 1;
            while self.drawn.len() > 2 * self.wanted() {
                self.halve();
            }
        }
        Ok(())
    }

    fn draw(&mut self, vectors: &Vectors, row: usize) {
        let lot = self.lots.fork(self.rows as u64).next_u64();
        if lot <= self.limit {
            self.drawn.push(lot);
            let start = self.values.len();
            self.values.resize(start + self.dim, 0.0);
            vectors.copy_row(row, &mut self.values[start..]);
        }
    }

    fn wanted(&self) -> usize {
        self.nlist.unwrap_or_else(|| default_nlist(self.rows)).saturating_mul(SAMPLE_PER_LIST)
    }

    fn halve(&mut self) {
        self.limit /= 2;
        let mut kept = 0;
        for at in 0..self.drawn.len() {
            if self.drawn[at] <= self.limit {
                self.drawn[kept] = self.drawn[at];
                self.values.copy_within(at * self.dim..(at + 1) * self.dim, kept * self.dim);
                kept += 1;
            }
        }
        self.drawn.truncate(kept);
        self.values.truncate(kept * self.dim);
    }

    /// The rows drawn, in their order.
    pub(super) fn into_vectors(self) -> Result<Vectors> {
        if self.drawn.is_empty() {
            return Err(Error::EmptyIndex(format!(
                "no chunk of {:?} has a vector that is not null",
                self.column
            )));
        }
        Vectors::from_f32(self.column, self.dim, self.values.into())
    }
}
