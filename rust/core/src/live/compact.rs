//! Making one segment of all: what was deleted is dropped, and centroids that no longer fit are trained anew.

use std::sync::Arc;

use super::{
    Live, Writer,
    delta::Delta,
    draft::Work,
    lock,
    part::Part,
    snapshot::{Place, Snapshot},
};
use crate::{
    error::{Error, Result},
    filter::Filter,
    ids::{Id, IdType, Ids},
    index::{BuildParams, Index, VectorsKept, default_nlist},
    ivf::assign::Assigner,
    monitor::Monitor,
    pool::Pool,
    repack::repack,
    segment::Segment,
    vectors::Vectors,
};

/// Rows that the spread is measured on.
const SAMPLE: usize = 512;
/// Centroids are trained anew when rows are so much further from them than when they were trained: squared distances,
/// by which codes lose precision and lists lose meaning.
const DRIFT: f64 = 1.25;
/// Or when there are so many times more rows, or fewer.
const CROWD: f64 = 8.0;

/// Whether to train centroids anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retrain {
    /// When the rows have drifted away from them, or the number of rows has become another.
    #[default]
    Auto,
    /// Keep them.
    Never,
    /// In any case.
    Always,
}

/// What a compaction has done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Compacted {
    /// The number of rows.
    pub rows: usize,
    /// Coded rows that were dropped because they had been deleted or replaced.
    pub dropped: usize,
    /// The number of segments before.
    pub segments: usize,
    /// The mean squared distance of a row to its centroid, as a multiple of what it was before the first change; `None`
    /// when the index keeps codes only or has never changed.
    pub drift: Option<f64>,
    /// Whether centroids were trained anew.
    pub retrained: bool,
}

impl Live {
    /// Makes one segment of all rows, without those that were deleted. Readers go on with the snapshots they have;
    /// writers wait. An index whose rows were all deleted stays as it is.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] when centroids are to be trained and the index keeps codes only,
    /// [`Error::Interrupted`] when the monitor says so. Nothing is changed then.
    pub fn compact(&self, retrain: Retrain, pool: &Pool, monitor: &dyn Monitor) -> Result<Compacted> {
        self.rearrange(&mut *self.writer()?, retrain, Work { pool, monitor })
    }

    fn rearrange(&self, writer: &mut Writer, retrain: Retrain, work: Work<'_>) -> Result<Compacted> {
        let mut next = Snapshot::clone(&self.snapshot());
        let report = next.compact(writer.spread, retrain, work)?;
        writer.recent.clear();
        if report.retrained {
            writer.spread = next.spread();
        }
        self.publish(next);
        Ok(report)
    }

    /// The index of the current state, with every row coded and no deleted ones: what is saved and compared.
    ///
    /// # Errors
    /// [`Error::EmptyIndex`] when all rows were deleted; otherwise as [`Live::compact`].
    pub fn sealed(&self, pool: &Pool, monitor: &dyn Monitor) -> Result<Arc<Index>> {
        let mut snapshot = self.snapshot();
        if snapshot.is_empty() {
            return Err(Error::EmptyIndex("all rows were deleted".into()));
        }
        if !snapshot.is_sealed() {
            // Rows stay what they are: even a snapshot may do this.
            self.rearrange(&mut lock(&self.writer), Retrain::Never, Work { pool, monitor })?;
            snapshot = self.snapshot();
        }
        Ok(Arc::clone(&snapshot.index))
    }
}

impl Snapshot {
    fn compact(&mut self, spread: Option<f64>, retrain: Retrain, work: Work<'_>) -> Result<Compacted> {
        let (rows, segments) = (self.len(), self.parts.len());
        let mut report = Compacted { rows, dropped: 0, segments, drift: None, retrained: false };
        if rows == 0 || (self.alive.is_none() && segments == 1 && retrain != Retrain::Always) {
            return Ok(report);
        }
        self.prepare();
        self.seal(&mut std::collections::HashMap::new(), work)?;
        report.dropped = self.dead();
        report.drift = self.spread().zip(spread).map(|(now, then)| now / then.max(f64::MIN_POSITIVE));
        report.retrained = match retrain {
            Retrain::Never => false,
            Retrain::Always => true,
            Retrain::Auto => {
                let keeps = self.index.vectors_kept() != VectorsKept::None;
                keeps && (report.drift.is_some_and(|drift| drift > DRIFT) || self.is_crowded())
            }
        };
        if report.retrained {
            self.rebuild(work)?;
        } else if report.dropped > 0 || self.parts.len() > 1 {
            self.repack_all()?;
        }
        Ok(report)
    }

    /// Moves all codes into one segment. Rows of the column that was built from keep their numbers, for that column is
    /// not ours to change; those added since move up.
    fn repack_all(&mut self) -> Result<()> {
        let base = self.base.as_ref().map_or(0, Vectors::len);
        let added: Vec<usize> = self
            .alive
            .iter()
            .flat_map(|alive| alive.rows())
            .map(|row| row as usize)
            .filter(|&row| row >= base)
            .collect();
        let borrows = self.index.vectors_kept() == VectorsKept::Borrowed;
        let end = self.end_of_index();
        let moves = borrows && base + added.len() < end as usize;
        if moves {
            self.rename()?;
            self.naming.in_order = false;
        }
        let new_row = |row: u64| {
            let at = if moves { added.binary_search(&(row as usize)).ok() } else { None };
            if row < base as u64 || !moves { Some(row) } else { at.map(|at| (base + at) as u64) }
        };
        let row_of = |row: u64| if self.is_alive(row) { new_row(row) } else { None };
        let parts: Vec<&Segment> = self.parts.iter().map(|part| &part.segment).collect();
        let segment = repack(&parts, self.index.dim(), self.index.router().padded_dim(), &row_of);
        let borrowed = match (self.index.borrowed(), &self.base) {
            (Some(column), base) if borrows => {
                let added = column.gather(&added)?;
                Some(base.as_ref().map_or(Ok(added.clone()), |base| base.append(&added))?)
            }
            (column, _) => column.cloned(),
        };
        let end = if moves { (base + added.len()) as u64 } else { end };
        self.replace(vec![segment], end);
        self.reindex(borrowed)
    }

    /// Trains, codes and measures anew, over the vectors that are there.
    fn rebuild(&mut self, work: Work<'_>) -> Result<()> {
        self.rename()?;
        let base = self.base.as_ref().map_or(0, Vectors::len);
        let places = self.places();
        let (kept, added): (Vec<_>, Vec<_>) = places.into_iter().partition(|(row, _)| (*row as usize) < base);
        let dim = self.index.dim();
        let mut values = vec![0.0; added.len() * dim];
        for (&(_, place), target) in added.iter().zip(values.chunks_exact_mut(dim)) {
            if !self.vector(place, target) {
                let expected = "an index that stores or borrows its vectors";
                return Err(Error::invalid_parameter("retrain", expected, "one that holds codes only"));
            }
        }
        let values = self.as_in_column(Vectors::from_f32("added", dim, values.into())?)?;
        let column = match &self.base {
            Some(base) => {
                let there = Filter::from_rows(kept.iter().map(|(row, _)| *row), base.len() as u64);
                base.only(&there).append(&values)?
            }
            None => values,
        };
        let ids = self.ids_by_row(&kept, &added, base);
        let (router, rows) = (self.index.router(), self.len());
        let nlist = if self.is_crowded() { default_nlist(rows) } else { router.nlist() };
        let params = BuildParams {
            metric: router.metric(),
            nlist: Some(nlist),
            seed: router.rotation().seed(),
            bits: self.index.bits(),
        };
        let nulls = self.index.null_count();
        let end = column.len() as u64;
        let index = Index::build(column, Some(&ids), &params, work.pool, work.monitor)?;
        let calibration = index.calibration().clone();
        self.naming.in_order &= end == self.end_of_index();
        self.index = Arc::new(index.with_facts(nulls, calibration, 0));
        self.naming.rows_trained = rows;
        self.replace(self.index.segments().to_vec(), end);
        Ok(())
    }

    /// The ids of a column whose first `base` rows are the old ones, and the others those that were added.
    fn ids_by_row(&self, kept: &[(u64, Place)], added: &[(u64, Place)], base: usize) -> Ids {
        let blank = match self.id_type() {
            IdType::Int64 => Id::Int64(0),
            IdType::UInt64 => Id::UInt64(0),
            IdType::Utf8 => Id::Utf8(""),
        };
        let mut ids = vec![blank; base];
        for &(row, place) in kept {
            ids[row as usize] = self.id(place);
        }
        ids.extend(added.iter().map(|&(_, place)| self.id(place)));
        Ids::collect(self.id_type(), ids.into_iter())
    }

    /// Puts new segments in place of the old ones; all their rows are there.
    fn replace(&mut self, segments: Vec<crate::segment::Segment>, end: u64) {
        let rows = segments.iter().flat_map(|segment| segment.slots().map(|slot| segment.row(slot)));
        let alive = Filter::from_rows(rows, end);
        self.parts = segments.into_iter().map(|segment| Arc::new(Part::new(segment, true))).collect();
        self.alive = Some(Arc::new(alive));
        self.delta = Delta::new(self.index.dim(), end);
    }

    /// Whether lists have become much longer or shorter than they were made.
    fn is_crowded(&self) -> bool {
        let ratio = self.len() as f64 / self.naming.rows_trained as f64;
        !(1.0 / CROWD..=CROWD).contains(&ratio)
    }

    /// The mean squared distance of some rows to their centroids; `None` when the vectors are not at hand.
    pub(super) fn spread(&self) -> Option<f64> {
        let router = self.index.router();
        let (dim, padded) = (router.dim(), router.padded_dim());
        let slots: Vec<(usize, usize)> = self
            .parts
            .iter()
            .enumerate()
            .flat_map(|(at, part)| part.segment.slots().map(move |slot| (at, slot)))
            .filter(|&(at, slot)| self.is_alive(self.parts[at].segment.row(slot)))
            .collect();
        let (mut vector, mut scratch, mut projected) = (vec![0.0; dim], Vec::new(), vec![0.0; padded]);
        let (mut sum, mut count) = (0.0, 0);
        let assigner = Assigner::new(router);
        for &(at, slot) in slots.iter().step_by(slots.len().div_ceil(SAMPLE).max(1)) {
            if !self.vector(Place::Sealed(at, slot), &mut vector) {
                return None;
            }
            router.project(&vector, &mut scratch, &mut projected);
            let list = assigner.assign(&projected).first().copied().unwrap_or(0);
            sum += f64::from(router.kernels().l2sq(&projected, &router.centroid(list as usize)));
            count += 1;
        }
        (count > 0).then(|| sum / f64::from(count))
    }
}
