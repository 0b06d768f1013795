//! What the cache holds: the index of one state of one collection.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use ruvector_core::{
    Hits, Index, Live, Pool, Unwatched, Vectors,
    format::Keep,
    index::{BuildParams, SearchParams},
    live::{Retrain, Snapshot},
};
use tempfile::TempPath;

use crate::{
    backend::State,
    bundle::Bundle,
    error::{Error, Result},
    rows::{Digester, Rows},
};

/// How much larger than when its centroids were trained an index may become before it is put in order.
const GROWTH: usize = 2;

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
    _spilled: Option<TempPath>,
}

impl Entry {
    /// Codes rows. `bundle` says how, and gets its content.
    pub(crate) fn build(
        mut bundle: Bundle,
        state: State,
        rows: Option<Rows>,
        schema: String,
        pool: &Pool,
    ) -> Result<Self> {
        let mut digest = Digester::default();
        let rows = rows.filter(|rows| rows.vectors.null_count() < rows.vectors.len());
        let Some(rows) = rows else {
            bundle.content = Some(digest.content(schema));
            return Ok(Self { bundle, state, table: None, bytes: 0 });
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
        let index = Index::build(rows.vectors, rows.ids.as_ref(), &params, pool, &Unwatched)?;
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
        let table = Table { snapshot, live, digest, base_bytes, ordered, _spilled: spilled };
        Self::of_table(bundle, state, table)
    }

    fn of_table(bundle: Bundle, state: State, table: Table) -> Self {
        let bytes = table.snapshot.memory_bytes() + table.base_bytes;
        Self { bundle, state, table: Some(table), bytes }
    }

    /// Whether rows can be added: see [`Entry::extended`].
    pub(crate) fn can_grow(&self) -> bool {
        self.table.as_ref().is_some_and(|table| table.digest.is_some() && table.is_latest(&lock(&table.live)))
    }

    /// The entry of the state that has these rows besides; only they are coded. `None` if somebody else has added rows
    /// to the same index since.
    pub(crate) fn extended(
        &self,
        bundle: &Bundle,
        state: State,
        rows: Option<Rows>,
        pool: &Pool,
    ) -> Result<Option<Self>> {
        let (Some(table), Some(content)) = (&self.table, &self.bundle.content) else { return Ok(None) };
        let Some(mut digest) = table.digest.clone() else { return Ok(None) };
        let live = lock(&table.live);
        if !table.is_latest(&live) {
            return Ok(None);
        }
        let mut ordered = table.ordered;
        if let Some(rows) = rows {
            digest.update(&rows);
            live.add(rows.ids.as_ref(), &rows.vectors, pool, &Unwatched)?;
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
            _spilled: None,
        };
        Ok(Some(Self::of_table(bundle, state, table)))
    }

    /// The nearest rows of each query; none where there are no rows.
    pub(crate) fn search(
        &self,
        queries: &Vectors,
        params: &SearchParams,
        pool: &Pool,
    ) -> Result<Option<Hits>> {
        let Some(table) = &self.table else { return Ok(None) };
        Ok(Some(table.snapshot.search(queries, params, pool, &Unwatched)?))
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

impl Table {
    fn is_latest(&self, live: &Live) -> bool {
        Arc::ptr_eq(&live.snapshot(), &self.snapshot)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
