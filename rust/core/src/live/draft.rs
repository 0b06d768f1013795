//! The next snapshot while it is made: every step leaves it whole, nothing is seen before it is published.

use std::{collections::HashMap, sync::Arc};

use half::f16;

use super::{
    delta::Delta,
    part::Part,
    snapshot::{Place, Snapshot},
};
use crate::{
    error::{Error, Result},
    filter::Filter,
    ids::{Id, Ids, OwnedId},
    index::{Index, VectorsKept},
    ivf::encode::encode_segment,
    monitor::Monitor,
    pool::Pool,
    rabitq::BLOCK,
    repack::repack,
    segment::{Segment, StoredVectors},
    vectors::{Element, Vectors},
};

/// From so many rows on, a batch is coded at once and does not pass through the delta.
const AT_ONCE: usize = super::delta::CAPACITY / 2;

/// So many segments of about one size become one.
const FAN: usize = 4;

/// Where the work of a writer is done, and who may stop it.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) pool: &'a Pool,
    pub(super) monitor: &'a dyn Monitor,
}

impl Snapshot {
    /// Writes down which rows are there, and which number comes next.
    pub(super) fn prepare(&mut self) {
        if self.alive.is_some() {
            return;
        }
        let end = self.end_of_index();
        let rows = self.parts.iter().flat_map(|part| part.segment.slots().map(|slot| part.segment.row(slot)));
        let alive = Filter::from_rows(rows, end);
        self.delta = Delta::new(self.index.dim(), end);
        self.naming.next_id = end as i64;
        self.alive = Some(Arc::new(alive));
    }

    pub(super) fn alive_mut(&mut self) -> &mut Filter {
        Arc::make_mut(self.alive.get_or_insert_default())
    }

    /// Takes a row out.
    pub(super) fn kill(&mut self, place: Place) {
        let row = self.row(place);
        if self.alive_mut().remove(row) {
            self.recent -= usize::from(matches!(place, Place::Recent(_)));
        }
    }

    /// Where the row with this id lies, by the writer's own table of recent rows.
    pub(super) fn find_with(&self, recent: &HashMap<OwnedId, usize>, id: Id<'_>) -> Option<Place> {
        let recent = || recent.get(&id.into()).copied().filter(|&at| self.is_alive(self.delta.row(at)));
        self.find_sealed(id).or_else(|| recent().map(Place::Recent))
    }

    /// Adds rows whose ids are not there: to the delta, or to the index if they are many.
    pub(super) fn append(
        &mut self,
        recent: &mut HashMap<OwnedId, usize>,
        ids: Vec<OwnedId>,
        rows: &[usize],
        vectors: &Vectors,
        work: Work<'_>,
    ) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let batch = vectors.gather(rows)?;
        if rows.len() >= AT_ONCE {
            self.seal(recent, work)?;
            return self.attach(&ids, &batch, work);
        }
        if !self.delta.has_room(rows.len()) {
            self.seal(recent, work)?;
        }
        let mut values = vec![0.0; rows.len() * batch.dim()];
        batch.copy_rows(0..rows.len(), &mut values);
        let first = self.delta.len();
        for (at, id) in ids.iter().enumerate() {
            recent.insert(id.clone(), first + at);
            let row = self.delta.row(first + at);
            self.alive_mut().insert(row);
        }
        self.recent += ids.len();
        self.delta.push(ids, values);
        Ok(())
    }

    /// Codes the recent rows: they become a segment, and the delta is empty.
    pub(super) fn seal(&mut self, recent: &mut HashMap<OwnedId, usize>, work: Work<'_>) -> Result<()> {
        recent.clear();
        let places: Vec<usize> = self.recent_places().collect();
        if self.delta.len() == 0 {
            return Ok(());
        }
        if places.len() < self.delta.len() {
            self.rename()?;
            self.naming.in_order = false;
        }
        let dim = self.index.dim();
        let mut values = Vec::with_capacity(places.len() * dim);
        let mut ids = Vec::with_capacity(places.len());
        for at in places {
            values.extend_from_slice(self.delta.vector(at).unwrap_or_default());
            ids.extend(self.delta.id(at).map(OwnedId::from));
        }
        // Their numbers are given anew, without the gaps.
        for row in (0..self.delta.len()).map(|at| self.delta.row(at)).collect::<Vec<_>>() {
            self.alive_mut().remove(row);
        }
        self.recent = 0;
        self.delta = Delta::new(dim, self.delta.first_row);
        if ids.is_empty() {
            return Ok(());
        }
        let vectors = self.as_in_column(Vectors::from_f32("added", dim, values.into())?)?;
        self.attach(&ids, &vectors, work)
    }

    /// Half floats, if the column is of half floats and nothing is lost.
    pub(super) fn as_in_column(&self, vectors: Vectors) -> Result<Vectors> {
        let halves = self.index.borrowed().is_some_and(|borrowed| borrowed.element() == Element::F16);
        if !halves {
            return Ok(vectors);
        }
        let mut values = vec![0.0; vectors.len() * vectors.dim()];
        vectors.copy_rows(0..vectors.len(), &mut values);
        let narrow: Vec<f16> = values.iter().map(|&value| f16::from_f32(value)).collect();
        if narrow.iter().zip(&values).all(|(narrow, value)| narrow.to_f32().to_bits() == value.to_bits()) {
            return Vectors::from_f16("added", vectors.dim(), narrow.into());
        }
        Ok(vectors)
    }

    /// Codes rows as a segment of its own. The delta is empty.
    fn attach(&mut self, ids: &[OwnedId], vectors: &Vectors, work: Work<'_>) -> Result<()> {
        let first_row = self.delta.first_row;
        let has_column = self.parts.iter().any(|part| part.segment.ids.is_some());
        let ids = has_column.then(|| Ids::collect(self.id_type(), ids.iter().map(OwnedId::as_id)));
        let router = self.index.router();
        let mut segment = encode_segment(
            vectors,
            ids.as_ref(),
            first_row,
            self.index.bits(),
            router,
            work.pool,
            work.monitor,
        )?;
        let borrowed = match self.index.vectors_kept() {
            VectorsKept::Borrowed => {
                self.index.borrowed().map(|column| column.append(vectors)).transpose()?
            }
            VectorsKept::Stored(element) => {
                segment.vectors = Some(stored(&segment, vectors, first_row, element)?);
                None
            }
            VectorsKept::None => None,
        };
        let end = first_row + vectors.len() as u64;
        for row in first_row..end {
            self.alive_mut().insert(row);
        }
        self.delta = Delta::new(self.index.dim(), end);
        self.parts.push(Arc::new(Part::new(segment, true)));
        self.merge_tiers();
        self.reindex(borrowed)
    }

    /// Puts the last segments together while there are several of one size, as a counter carries.
    fn merge_tiers(&mut self) {
        loop {
            let tier = |part: &Part| part.segment.len().max(1).ilog(FAN);
            let Some(last) = self.parts.last().map(|part| tier(part)) else { return };
            let alike =
                self.parts[1..].iter().rev().take_while(|part| part.owned && tier(part) <= last).count();
            if alike < FAN {
                return;
            }
            let small = self.parts.split_off(self.parts.len() - alike);
            let small: Vec<&Segment> = small.iter().map(|part| &part.segment).collect();
            let (dim, padded_dim) = (self.index.dim(), self.index.router().padded_dim());
            let segment = repack(&small, dim, padded_dim, &|row| self.is_alive(row).then_some(row));
            if !segment.is_empty() {
                self.parts.push(Arc::new(Part::new(segment, true)));
            }
        }
    }

    /// Makes the index of the parts there are.
    pub(super) fn reindex(&mut self, borrowed: Option<Vectors>) -> Result<()> {
        let segments = self.parts.iter().map(|part| part.segment.clone()).collect();
        let old = &self.index;
        let index = Index::merge(old.router().clone(), segments)?
            .with_facts(old.null_count(), old.calibration().clone(), old.mapped_bytes())
            .with_vectors(borrowed);
        self.index = Arc::new(index);
        Ok(())
    }

    /// Writes generated ids down: from now on rows may change their numbers, and keep their ids.
    pub(super) fn rename(&mut self) -> Result<()> {
        if !self.naming.generated || self.is_renamed() {
            return Ok(());
        }
        for part in &mut self.parts {
            *part = Arc::new(part.with_row_ids());
        }
        self.reindex(self.index.borrowed().cloned())
    }
}

/// The vectors of a new segment in the order of its slots, as the index stores them.
fn stored(segment: &Segment, vectors: &Vectors, first_row: u64, element: Element) -> Result<StoredVectors> {
    let dim = vectors.dim();
    let mut values = vec![0.0; segment.blocks() * BLOCK * dim];
    for slot in segment.slots() {
        let row = (segment.row(slot) - first_row) as usize;
        vectors.copy_row(row, &mut values[slot * dim..(slot + 1) * dim]);
    }
    if element == Element::F32 {
        return Ok(StoredVectors::F32(values.into()));
    }
    let narrow: Vec<f16> = values.iter().map(|&value| f16::from_f32(value)).collect();
    if let Some(at) = narrow.iter().position(|value| !value.is_finite()) {
        let row = (segment.row(at / dim) - first_row) as usize;
        let reason =
            format!("element {} is {}, beyond what f16 can hold ({})", at % dim, values[at], f16::MAX);
        return Err(Error::InvalidVector { column: vectors.column().into(), row, reason });
    }
    Ok(StoredVectors::F16(narrow.into()))
}
