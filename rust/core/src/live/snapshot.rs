//! What a reader sees: an index, which of its rows are still there, and the rows that came since.

use std::sync::Arc;

use arrow_array::ArrayRef;

use super::{
    delta::{Delta, Recent},
    part::Part,
};
use crate::{
    error::{Error, Result},
    exact,
    filter::{Filter, roaring_values},
    hits::Hits,
    ids::{Id, IdType, Ids, OwnedId},
    index::{Index, SearchParams, SharedBounds, VectorsKept},
    monitor::Monitor,
    pool::Pool,
    vectors::Vectors,
};

/// One state of a changing index. Immutable; cheap to clone.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(super) index: Arc<Index>,
    /// The segments of the index, each with its look-up table.
    pub(super) parts: Vec<Arc<Part>>,
    /// The rows that are there, in the index and after it; `None` as long as nothing has changed.
    pub(super) alive: Option<Arc<Filter>>,
    pub(super) delta: Delta,
    /// Rows of the delta that are there.
    pub(super) recent: usize,
    /// The column that the index was built from, without the rows added since.
    pub(super) base: Option<Vectors>,
    pub(super) naming: Naming,
}

/// How rows are called.
#[derive(Clone, Debug)]
pub(super) struct Naming {
    /// Nobody gave ids: rows are numbered as they come.
    pub(super) generated: bool,
    /// The next number, where ids are generated.
    pub(super) next_id: i64,
    /// The number of rows that the lists were made for.
    pub(super) rows_trained: usize,
    /// Whether row numbers are still those of the table: the rows that were built from, and those added, in order.
    pub(super) in_order: bool,
}

/// Where a row lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Part and slot.
    Sealed(usize, usize),
    /// Place in the delta.
    Recent(usize),
}

impl Snapshot {
    pub(super) fn new(index: Index) -> Self {
        let owned = index.mapped_bytes() == 0;
        let parts: Vec<_> =
            index.segments().iter().map(|segment| Arc::new(Part::new(segment.clone(), owned))).collect();
        let naming = Naming {
            generated: parts.iter().all(|part| part.segment.ids.is_none()),
            next_id: 0,
            rows_trained: index.len(),
            in_order: true,
        };
        let base =
            if index.vectors_kept() == VectorsKept::Borrowed { index.borrowed().cloned() } else { None };
        let delta = Delta::new(index.dim(), 0);
        Self { index: Arc::new(index), parts, alive: None, delta, recent: 0, base, naming }
    }

    /// The coded rows, deleted ones included, without those that came since.
    pub fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.alive.as_ref().map_or(self.index.len(), |alive| alive.count())
    }

    /// Whether all rows were deleted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the index alone says everything: no row was deleted, none has come since.
    pub fn is_sealed(&self) -> bool {
        self.dead() == 0 && self.delta.len() == 0
    }

    /// Coded rows that were deleted.
    pub(super) fn dead(&self) -> usize {
        self.alive.as_ref().map_or(0, |alive| (self.index.len() + self.recent).saturating_sub(alive.count()))
    }

    /// The first row number that no coded row has.
    pub(super) fn end_of_index(&self) -> u64 {
        if self.alive.is_some() {
            return self.delta.first_row;
        }
        if let Some(base) = &self.base {
            return base.len() as u64;
        }
        let known = self.index.len() + self.index.null_count();
        self.index.end_of_rows().max(known as u64)
    }

    /// How many rows a boolean column must have to say which rows are meant: those of the table that the index was built
    /// from, and those added since.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] when rows with ids of their own were replaced or taken out: then nothing tells which
    /// of them a position means.
    pub fn table_rows(&self) -> Result<u64> {
        if !self.naming.in_order && !self.naming.generated {
            let expected = "ids: the rows of this index were reordered by upsert or compact";
            return Err(Error::invalid_parameter("filter", expected, "a boolean column"));
        }
        if self.naming.generated && self.alive.is_some() {
            return Ok(self.naming.next_id as u64);
        }
        Ok(self.end_of_index() + self.delta.len() as u64)
    }

    /// The nearest rows of each query; as [`Index::search`]. Recent rows are compared exactly, whatever the effort.
    ///
    /// # Errors
    /// As [`Index::search`].
    pub fn search(
        &self,
        queries: &Vectors,
        params: &SearchParams,
        pool: &Pool,
        monitor: &dyn Monitor,
    ) -> Result<Hits> {
        self.search_sharing(queries, params, None, pool, monitor)
    }

    /// The same beside searches of other tables: as [`Index::search_sharing`].
    ///
    /// # Errors
    /// As [`Index::search`].
    pub fn search_sharing(
        &self,
        queries: &Vectors,
        params: &SearchParams,
        bounds: Option<&SharedBounds>,
        pool: &Pool,
        monitor: &dyn Monitor,
    ) -> Result<Hits> {
        let allowed = self.allowed(params.filter.as_ref());
        let filter = if self.dead() > 0 || params.filter.is_some() { allowed.clone() } else { None };
        let params = SearchParams { filter, ..params.clone() };
        let found = self.index.search_sharing(queries, &params, bounds, pool, monitor)?;
        let Some(allowed) = allowed.filter(|_| self.recent > 0) else { return Ok(found) };
        let recent = Recent { delta: &self.delta, allowed: &allowed, id_type: self.index.id_type() };
        let (metric, kernels) = (self.index.metric(), self.index.router().kernels());
        let near = exact::search(&recent, queries, metric, params.k, kernels, pool, monitor)?;
        Ok(found.merge(&near, params.k))
    }

    /// The rows that are there and that a filter allows; `None`: all that are coded.
    pub(crate) fn allowed(&self, filter: Option<&Arc<Filter>>) -> Option<Arc<Filter>> {
        match (filter, &self.alive) {
            (Some(filter), Some(alive)) => Some(Arc::new(filter.and(self.index.router().kernels(), alive))),
            (Some(filter), None) => Some(Arc::clone(filter)),
            (None, alive) => alive.clone(),
        }
    }

    /// The type of the ids.
    pub fn id_type(&self) -> IdType {
        self.index.id_type()
    }

    /// Whether there is a row with this id.
    pub fn contains(&self, id: Id<'_>) -> bool {
        self.find(id).is_some()
    }

    /// The vector of the row with this id, as it was given; `None` if there is no such row.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] when the index keeps codes only.
    pub fn get(&self, id: Id<'_>) -> Result<Option<Vec<f32>>> {
        let Some(place) = self.find(id) else { return Ok(None) };
        let mut vector = vec![0.0; self.index.dim()];
        if self.vector(place, &mut vector) {
            return Ok(Some(vector));
        }
        let expected = "an index that stores or borrows its vectors";
        Err(Error::invalid_parameter("vectors", expected, "one that holds codes only"))
    }

    /// The ids of all rows, in the order of their row numbers.
    pub fn ids(&self) -> Ids {
        let places = self.places();
        Ids::collect(self.id_type(), places.iter().map(|&(_, place)| self.id(place)))
    }

    /// Ids and vectors of all rows, in the order of their row numbers, copied.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] when the index keeps codes only.
    pub fn rows(&self) -> Result<(Ids, Vectors)> {
        let dim = self.index.dim();
        let places = self.places();
        let mut values = vec![0.0; places.len() * dim];
        for (&(_, place), target) in places.iter().zip(values.chunks_exact_mut(dim)) {
            if !self.vector(place, target) {
                let expected = "an index that stores or borrows its vectors";
                return Err(Error::invalid_parameter("vectors", expected, "one that holds codes only"));
            }
        }
        let ids = Ids::collect(self.id_type(), places.iter().map(|&(_, place)| self.id(place)));
        Ok((ids, Vectors::from_f32("vectors", dim, values.into())?))
    }

    /// The filter that lets only the rows with these ids pass; ids that no row has are ignored.
    pub fn filter_of_ids(&self, ids: &Ids) -> Filter {
        let end = self.end_of_index() + self.delta.len() as u64;
        if let Ids::Int64(numbers) = ids
            && self.are_rows_ids()
            && self.index.finds_rows()
        {
            let there = |row: &u64| self.is_alive(*row) && self.index.place_of_row(*row).is_some();
            let rows = numbers.values().iter().filter_map(|&id| u64::try_from(id).ok());
            return Filter::from_rows(rows.filter(there), end);
        }
        let places = (0..ids.len()).filter_map(|at| self.find(ids.get(at)));
        Filter::from_rows(places.map(|place| self.row(place)), end)
    }

    /// The ids of the rows that a filter lets pass, in the order of their row numbers.
    pub fn ids_of_filter(&self, filter: &Filter) -> Ids {
        let places = self.places();
        let allowed = places.iter().filter(|(row, _)| filter.contains(*row));
        Ids::collect(self.id_type(), allowed.map(|&(_, place)| self.id(place)))
    }

    /// The filter that lets only the rows pass at whose position a boolean column is true. Positions are row numbers or,
    /// where rows were numbered as they came, the ids.
    ///
    /// # Errors
    /// As [`Filter::from_mask`] and [`Snapshot::table_rows`].
    pub fn filter_of_mask(&self, column: &str, arrays: &[ArrayRef]) -> Result<Filter> {
        let rows = self.table_rows()?;
        let filter = Filter::from_mask(self.index.router().kernels(), column, arrays, rows)?;
        if !self.is_renamed() {
            return Ok(filter);
        }
        let ids: Vec<i64> = filter.rows().map(|row| row as i64).collect();
        Ok(self.filter_of_ids(&Ids::Int64(ids.into())))
    }

    /// The filter that lets only the rows pass whose ids a serialized Roaring bitmap holds.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] when the bytes are not a Roaring bitmap, [`Error::InvalidType`] when ids are strings.
    pub fn filter_of_roaring(&self, bytes: &[u8]) -> Result<Filter> {
        let ids = roaring_values(bytes)?;
        match self.id_type() {
            IdType::UInt64 => Ok(self.filter_of_ids(&Ids::UInt64(ids.into()))),
            IdType::Int64 => {
                let ids = ids.into_iter().filter_map(|id| i64::try_from(id).ok()).collect::<Vec<_>>();
                Ok(self.filter_of_ids(&Ids::Int64(ids.into())))
            }
            IdType::Utf8 => {
                let (expected, actual) = ("str ids, as in the index".into(), "a roaring bitmap".into());
                Err(Error::InvalidType { column: "filter".into(), expected, actual })
            }
        }
    }

    /// Whether row numbers are no longer the ids that were generated from them.
    pub(super) fn is_renamed(&self) -> bool {
        self.naming.generated && self.parts.iter().any(|part| part.segment.ids.is_some())
    }

    /// Whether the ids are the numbers of coded rows.
    fn are_rows_ids(&self) -> bool {
        self.delta.len() == 0 && self.parts.iter().all(|part| part.segment.ids.is_none())
    }

    /// Where the row with this id lies, if it is there.
    pub(super) fn find(&self, id: Id<'_>) -> Option<Place> {
        let recent = || self.recent_places().find(|&at| self.delta.id(at) == Some(id)).map(Place::Recent);
        self.find_sealed(id).or_else(recent)
    }

    pub(super) fn find_sealed(&self, id: Id<'_>) -> Option<Place> {
        self.parts.iter().enumerate().find_map(|(at, part)| {
            let slot = part.find(id)?;
            self.is_alive(part.segment.row(slot)).then_some(Place::Sealed(at, slot))
        })
    }

    pub(super) fn is_alive(&self, row: u64) -> bool {
        self.alive.as_ref().is_none_or(|alive| alive.contains(row))
    }

    /// The places of the delta's rows that are there.
    pub(super) fn recent_places(&self) -> impl Iterator<Item = usize> + '_ {
        self.alive.iter().flat_map(|alive| self.delta.places(alive))
    }

    /// All rows that are there, by row number.
    pub(super) fn places(&self) -> Vec<(u64, Place)> {
        let sealed = self.parts.iter().enumerate().flat_map(|(at, part)| {
            part.segment.slots().map(move |slot| (part.segment.row(slot), Place::Sealed(at, slot)))
        });
        let recent = self.recent_places().map(|at| (self.delta.row(at), Place::Recent(at)));
        let mut places: Vec<_> = sealed.filter(|(row, _)| self.is_alive(*row)).chain(recent).collect();
        places.sort_unstable_by_key(|(row, _)| *row);
        places
    }

    pub(super) fn row(&self, place: Place) -> u64 {
        match place {
            Place::Sealed(part, slot) => self.parts[part].segment.row(slot),
            Place::Recent(at) => self.delta.row(at),
        }
    }

    pub(super) fn id(&self, place: Place) -> Id<'_> {
        match place {
            Place::Sealed(part, slot) => self.parts[part].segment.id(slot),
            Place::Recent(at) => self.delta.id(at).unwrap_or(Id::Int64(0)),
        }
    }

    /// Copies a vector into `target`; false if only its code is kept.
    pub(super) fn vector(&self, place: Place, target: &mut [f32]) -> bool {
        match place {
            Place::Recent(at) => {
                let vector = self.delta.vector(at);
                vector.map(|vector| target.copy_from_slice(vector)).is_some()
            }
            Place::Sealed(part, slot) => {
                let mut scratch = vec![0.0; target.len()];
                let vector = self.index.vector_of(&self.parts[part].segment, slot, &mut scratch);
                vector.map(|vector| target.copy_from_slice(vector)).is_some()
            }
        }
    }

    /// Bytes of private memory: as [`Index::memory_bytes`], with the rows that were added and what finds rows by id.
    pub fn memory_bytes(&self) -> usize {
        let base = self.base.as_ref().map_or(0, Vectors::value_bytes);
        let added = self.index.borrowed().map_or(0, Vectors::value_bytes).saturating_sub(base);
        let mapped = self.index.mapped_bytes() > 0;
        let parts = self.parts.iter().map(|part| {
            if mapped { part.bytes() } else { part.bytes().saturating_sub(part.segment.bytes()) }
        });
        self.index.memory_bytes() + parts.sum::<usize>() + added + self.delta.bytes()
    }

    /// The id in a form that a writer may keep.
    pub(super) fn owned_ids(ids: &Ids) -> Vec<OwnedId> {
        (0..ids.len()).map(|at| ids.get(at).into()).collect()
    }
}
