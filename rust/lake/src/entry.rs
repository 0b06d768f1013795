//! What the cache holds: the index of one state of one collection.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use ruvector_core::{
    Hits, Index, Live, Monitor, Pool, Unwatched, Vectors,
    filter::Filter,
    format::Keep,
    index::{BuildParams, SearchParams, SharedBounds},
    live::{Retrain, Snapshot},
};
use tempfile::TempPath;

use crate::{
    backend::State,
    bundle::{Bundle, Content},
    error::{Error, Result},
    predicate::Predicate,
    rows::{Digester, Rows},
    witness::Witness,
};

/// How much larger than when its centroids were trained an index may become before it is put in order.
const GROWTH: usize = 2;

/// How many predicates an entry remembers the rows of, and how many of its bytes that may take: one in so many.
const FILTERS: usize = 64;
const FILTER_SHARE: usize = 16;

/// The index of one state. It never changes; a later state of the same collection may share most of it.
#[derive(Debug)]
pub(crate) struct Entry {
    /// What the entry is of, with its content.
    pub(crate) bundle: Bundle,
    /// What the backend told when the rows were read.
    pub(crate) state: State,
    /// `None` for a collection without rows.
    pub(crate) table: Option<Table>,
    /// Bytes of memory, borrowed vectors included.
    pub(crate) bytes: usize,
    /// The bundle's witness of version 1, and its address.
    pub(crate) witness: Witness,
    pub(crate) address: Witness,
    filters: Mutex<VecDeque<(Predicate, Arc<Filter>)>>,
}

/// An entry as it answers for one collection.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) entry: Arc<Entry>,
    /// The entry's rows without those that were forgotten, if any were.
    pub(crate) shown: Option<Arc<Snapshot>>,
}

#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) snapshot: Arc<Snapshot>,
    /// The handle by which rows are added: only as long as its present state is the snapshot.
    live: Arc<Mutex<Live>>,
    /// Digests to go on from; an index that was opened from a file has none.
    digest: Option<Digester>,
    /// Bytes of the vectors that were borrowed when the index was built.
    base_bytes: usize,
    /// The number of rows when it was last put in order.
    ordered: usize,
    /// The file the index lies in, if it had to leave the memory. It goes with the entry.
    spilled: Option<TempPath>,
}

impl Entry {
    /// Codes rows. `bundle` says how, and gets its content.
    pub(crate) fn build(
        mut bundle: Bundle,
        state: State,
        rows: Option<Rows>,
        schema: String,
        pool: &Pool,
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        let mut digest = Digester::default();
        let rows = rows.filter(|rows| rows.vectors.null_count() < rows.vectors.len());
        let Some(rows) = rows else {
            bundle.content = Some(digest.content(schema));
            return Ok(Self::new(bundle, state, None));
        };
        let params = BuildParams {
            metric: bundle.coding.metric,
            nlist: None,
            seed: bundle.rotation_seed,
            bits: bundle.coding.bits,
        };
        digest.update(&rows);
        bundle.content = Some(digest.content(schema));
        let base_bytes = rows.vectors.value_bytes();
        let index = Index::build(rows.vectors, rows.ids.as_ref(), &params, pool, monitor)?;
        Ok(Self::of_index(bundle, state, index, Some(digest), base_bytes, None))
    }

    /// An entry of an index that is there already.
    pub(crate) fn of_index(
        bundle: Bundle,
        state: State,
        index: Index,
        digest: Option<Digester>,
        base_bytes: usize,
        spilled: Option<TempPath>,
    ) -> Self {
        let live = Live::new(index);
        let snapshot = live.snapshot();
        let ordered = snapshot.len();
        let live = Arc::new(Mutex::new(live));
        let table = Table { snapshot, live, digest, base_bytes, ordered, spilled };
        Self::new(bundle, state, Some(table))
    }

    fn new(bundle: Bundle, state: State, table: Option<Table>) -> Self {
        let bytes = table.as_ref().map_or(0, |table| table.snapshot.memory_bytes() + table.base_bytes);
        let (witness, address) = (bundle.witness(), bundle.address());
        Self { bundle, state, table, bytes, witness, address, filters: Mutex::default() }
    }

    /// Whether it is of this state.
    pub(crate) fn is_of(&self, state: &State) -> bool {
        let own = &self.state;
        (&own.generation, &own.data_ref, own.dim) == (&state.generation, &state.data_ref, state.dim)
    }

    /// Whether its index lies in a file because it had to leave the memory.
    pub(crate) fn is_spilled(&self) -> bool {
        self.table.as_ref().is_some_and(|table| table.spilled.is_some())
    }

    /// Whether rows can be added: see [`Entry::extended`].
    pub(crate) fn can_grow(&self) -> bool {
        self.table.as_ref().is_some_and(|table| table.is_latest(&lock(&table.live)))
    }

    /// The entry of the state that has these rows besides; only they are coded. `None` if somebody else has added rows
    /// to the same index since.
    pub(crate) fn extended(
        &self,
        bundle: &Bundle,
        state: State,
        rows: Option<Rows>,
        pool: &Pool,
        monitor: &dyn Monitor,
    ) -> Result<Option<Self>> {
        let (Some(table), Some(content)) = (&self.table, &self.bundle.content) else { return Ok(None) };
        let Some(mut digest) = table.digest(content)? else { return Ok(None) };
        let live = lock(&table.live);
        if !table.is_latest(&live) {
            return Ok(None);
        }
        let mut ordered = table.ordered;
        if let Some(rows) = rows {
            digest.update(&rows);
            live.add(rows.ids.as_ref(), &rows.vectors, pool, monitor)?;
            if live.len() > ordered.saturating_mul(GROWTH) {
                live.compact(Retrain::Auto, pool, &Unwatched)?;
                ordered = live.len();
            }
        }
        let bundle = Bundle { content: Some(digest.content(content.schema.clone())), ..bundle.clone() };
        let table = Table {
            snapshot: live.snapshot(),
            live: Arc::clone(&table.live),
            digest: Some(digest),
            base_bytes: table.base_bytes,
            ordered,
            spilled: None,
        };
        Ok(Some(Self::new(bundle, state, Some(table))))
    }

    /// The rows that a predicate allows, if that was found out before.
    pub(crate) fn remembered(&self, predicate: &Predicate) -> Option<Arc<Filter>> {
        let filters = lock(&self.filters);
        filters.iter().find(|(known, _)| known == predicate).map(|(_, filter)| Arc::clone(filter))
    }

    /// Remembers the rows that a predicate allows: they stay what they are, since the entry does.
    pub(crate) fn remember(&self, predicate: &Predicate, filter: &Arc<Filter>) {
        let room = (self.bytes / FILTER_SHARE).checked_div(self.len().div_ceil(8)).unwrap_or(0);
        let mut filters = lock(&self.filters);
        while filters.len() >= room.clamp(1, FILTERS) {
            filters.pop_front();
        }
        filters.push_back((predicate.clone(), Arc::clone(filter)));
    }

    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        self.table.as_ref().map_or(0, |table| table.snapshot.len())
    }

    /// The index with every row coded; `None` without rows.
    ///
    /// An index that has grown since is put together from this entry's own rows, never from the later ones.
    pub(crate) fn sealed(&self, pool: &Pool) -> Result<Option<Arc<Index>>> {
        let Some(table) = &self.table else { return Ok(None) };
        if table.snapshot.is_sealed() {
            return Ok(Some(Arc::clone(table.snapshot.index())));
        }
        let live = lock(&table.live);
        if table.is_latest(&live) {
            return Ok(Some(live.freeze().sealed(pool, &Unwatched)?));
        }
        drop(live);
        let (ids, vectors) = table.snapshot.rows()?;
        let params = BuildParams {
            metric: self.bundle.coding.metric,
            nlist: None,
            seed: self.bundle.rotation_seed,
            bits: self.bundle.coding.bits,
        };
        Ok(Some(Arc::new(Index::build(vectors, Some(&ids), &params, pool, &Unwatched)?)))
    }

    /// The same entry with its index in a file of `folder`, mapped; `None` if there is nothing that could leave the memory.
    pub(crate) fn spilled(&self, folder: &Path, pool: &Pool) -> Result<Option<Self>> {
        let Some(index) = self.sealed(pool)?.filter(|index| index.mapped_bytes() == 0) else {
            return Ok(None);
        };
        let file = tempfile::Builder::new().prefix("spill-").suffix(".rbpx").tempfile_in(folder);
        let path = file.map_err(|error| Error::io(folder, error))?.into_temp_path();
        index.save(&path, Keep::AsIs)?;
        let mapped = Index::open(&path, false)?;
        let digest = self.table.as_ref().and_then(|table| table.digest.clone());
        Ok(Some(Self::of_index(self.bundle.clone(), self.state.clone(), mapped, digest, 0, Some(path))))
    }
}

impl Held {
    /// The nearest rows of each query; none where there are no rows.
    pub(crate) fn search(
        &self,
        queries: &Vectors,
        params: &SearchParams,
        bounds: Option<&SharedBounds>,
        pool: &Pool,
        monitor: &dyn Monitor,
    ) -> Result<Option<Hits>> {
        let Some(snapshot) = self.snapshot() else { return Ok(None) };
        Ok(Some(snapshot.search_sharing(queries, params, bounds, pool, monitor)?))
    }

    /// The rows that may be found.
    pub(crate) fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        self.shown.as_ref().or_else(|| self.entry.table.as_ref().map(|table| &table.snapshot))
    }

    /// The number of rows that may be found.
    pub(crate) fn len(&self) -> usize {
        self.snapshot().map_or(0, |snapshot| snapshot.len())
    }
}

impl Table {
    /// The digests of the rows, to go on from: those of an index that came from a file are taken of its rows, which must
    /// be what its bundle says.
    fn digest(&self, content: &Content) -> Result<Option<Digester>> {
        if let Some(digest) = &self.digest {
            return Ok(Some(digest.clone()));
        }
        let (ids, vectors) = self.snapshot.rows()?;
        let mut digest = Digester::default();
        digest.update(&Rows { vectors, ids: Some(ids) });
        digest.skip_nulls(self.snapshot.index().null_count());
        Ok((digest.content(content.schema.clone()) == *content).then_some(digest))
    }

    fn is_latest(&self, live: &Live) -> bool {
        Arc::ptr_eq(&live.snapshot(), &self.snapshot)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
