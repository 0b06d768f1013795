//! Recent rows, as they came: a log that one writer appends to while readers look at its beginning.

use std::sync::{Arc, OnceLock};

use crate::{
    exact::Corpus,
    filter::Filter,
    ids::{Id, IdType, OwnedId},
};

/// How many rows the log takes before they are coded. Comparing a query with all of them must cost little beside the
/// search of the index (with 384 dimensions about 0.1 ms), and coding more at once leaves fewer blocks half empty.
/// Tests come by there more often.
pub(super) const CAPACITY: usize = if cfg!(test) { 16 } else { 2048 };

/// One recent row: its id, and where its vector lies in the batch that it came in.
#[derive(Debug)]
struct Entry {
    id: OwnedId,
    batch: Arc<[f32]>,
    start: usize,
}

/// The beginning of a log: what one snapshot sees of it. A row's number is `first_row` plus its place.
#[derive(Clone, Debug)]
pub(super) struct Delta {
    /// Each slot is written once, by the one writer there is, before a snapshot that reaches that far is published.
    log: Arc<[OnceLock<Entry>]>,
    dim: usize,
    len: usize,
    pub(super) first_row: u64,
}

impl Delta {
    pub(super) fn new(dim: usize, first_row: u64) -> Self {
        Self { log: Arc::default(), dim, len: 0, first_row }
    }

    /// Rows in the log, deleted ones included.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn has_room(&self, rows: usize) -> bool {
        self.len + rows <= CAPACITY
    }

    /// Appends the rows of a batch.
    pub(super) fn push(&mut self, ids: Vec<OwnedId>, batch: Vec<f32>) {
        // The log of an index that never changes takes no memory.
        if self.log.is_empty() {
            self.log = (0..CAPACITY).map(|_| OnceLock::new()).collect();
        }
        let batch: Arc<[f32]> = batch.into();
        for (at, id) in ids.into_iter().enumerate() {
            let entry = Entry { id, batch: Arc::clone(&batch), start: at * self.dim };
            if let Some(slot) = self.log.get(self.len) {
                self.len += usize::from(slot.set(entry).is_ok());
            }
        }
    }

    /// The number of the row at a place.
    pub(super) fn row(&self, at: usize) -> u64 {
        self.first_row + at as u64
    }

    pub(super) fn id(&self, at: usize) -> Option<Id<'_>> {
        self.entry(at).map(|entry| entry.id.as_id())
    }

    pub(super) fn vector(&self, at: usize) -> Option<&[f32]> {
        self.entry(at).map(|entry| &entry.batch[entry.start..entry.start + self.dim])
    }

    /// The places of rows that are in `alive`.
    pub(super) fn places<'a>(&'a self, alive: &'a Filter) -> impl Iterator<Item = usize> + 'a {
        (0..self.len).filter(|&at| alive.contains(self.row(at)))
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.log) + self.len * self.dim * size_of::<f32>()
    }

    fn entry(&self, at: usize) -> Option<&Entry> {
        self.log[..self.len].get(at)?.get()
    }
}

/// The recent rows that may be returned, searched exactly.
pub(super) struct Recent<'a> {
    pub(super) delta: &'a Delta,
    pub(super) allowed: &'a Filter,
    pub(super) id_type: IdType,
}

impl Corpus for Recent<'_> {
    fn len(&self) -> usize {
        self.delta.len
    }

    fn vector<'a>(&'a self, at: usize, _scratch: &'a mut [f32]) -> Option<&'a [f32]> {
        if self.allowed.contains(self.delta.row(at)) { self.delta.vector(at) } else { None }
    }

    fn id(&self, at: usize) -> Id<'_> {
        self.delta.id(at).unwrap_or(Id::Int64(0))
    }

    fn id_type(&self) -> IdType {
        self.id_type
    }
}
