//! An index that changes, by snapshots.
//!
//! A [`Snapshot`] is an immutable [`Index`], the set of its rows that are still there, and a small table of rows that
//! came since, the delta. A writer makes the next snapshot beside the current one and swaps it in; a reader takes the
//! current one and keeps it for as long as it likes. So readers never wait for writers, and every answer is that of one
//! state of the table. Writers wait for each other.
//!
//! New rows go to the delta, which is compared exactly. When it is full its rows are coded with the index's own
//! centroids and become a segment; segments of one size are put together as a counter carries, so that the number of
//! half-empty blocks grows with the logarithm of the number of changes. [`Live::compact`] makes one segment of all.
//!
//! ```
//! use ruvector_core::{Index, Live, Pool, Unwatched, Vectors, ids::{Id, Ids}, index::{BuildParams, SearchParams}};
//!
//! let column = |values: &[f32]| Vectors::from_f32("v", 2, values.to_vec().into());
//! let pool = Pool::new(Some(1))?;
//! let index = Index::build(column(&[0.0, 0.0, 3.0, 4.0])?, None, &BuildParams::default(), &pool, &Unwatched)?;
//! let live = Live::new(index);
//! let before = live.snapshot();
//! assert_eq!(live.add(None, &column(&[6.0, 8.0])?, &pool, &Unwatched)?, Some(2..3));
//! assert_eq!(live.delete(&Ids::Int64(vec![0].into()))?, 1);
//! assert!(live.snapshot().contains(Id::Int64(2)) && !live.snapshot().contains(Id::Int64(0)));
//! assert_eq!((live.len(), before.len()), (2, 2));
//! assert!(before.contains(Id::Int64(0)));
//! # Ok::<(), ruvector_core::Error>(())
//! ```

mod compact;
mod delta;
mod draft;
mod held;
mod hidden;
#[cfg(test)]
mod model;
#[cfg(test)]
mod operator_tests;
mod operators;
mod part;
mod rows;
mod snapshot;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub use compact::{Compacted, Retrain};
pub use operators::Nearest;
pub use snapshot::Snapshot;

use crate::{
    error::{Error, Result},
    filter::Filter,
    hits::Hits,
    ids::{IdType, Ids, OwnedId},
    index::{Index, SearchParams, check_values},
    monitor::Monitor,
    pool::Pool,
    vectors::Vectors,
};
use draft::Work;

/// A handle on an index that may change.
#[derive(Debug)]
pub struct Live {
    /// Locked only to take or to swap the pointer.
    current: Mutex<Arc<Snapshot>>,
    writer: Mutex<Writer>,
    /// Whether changes are refused.
    frozen: bool,
}

/// What only the one writer there is at a time needs to know.
#[derive(Debug, Default)]
struct Writer {
    /// Where each id was last put into the delta. A row that is gone may still be listed.
    recent: HashMap<OwnedId, usize>,
    /// How far rows were from their centroids before anything had changed.
    spread: Option<f64>,
}

impl Live {
    /// A handle on an index. Costs nothing before the first change, which looks at every row number once.
    pub fn new(index: Index) -> Self {
        Self { current: Mutex::new(Arc::new(Snapshot::new(index))), writer: Mutex::default(), frozen: false }
    }

    /// Another handle on the current state, which does not change: it sees no change made here, and refuses its own.
    /// Nothing is copied.
    #[must_use]
    pub fn freeze(&self) -> Self {
        Self { frozen: true, ..Self::at(self.snapshot()) }
    }

    /// A handle that goes on from one state. Whoever else has the state sees no change made here.
    pub fn at(snapshot: Arc<Snapshot>) -> Self {
        Self { current: Mutex::new(snapshot), writer: Mutex::default(), frozen: false }
    }

    /// The current state. It stays as it is, whatever happens to the index.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&lock(&self.current))
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.snapshot().len()
    }

    /// Whether all rows were deleted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The nearest rows of each query in the current state: [`Snapshot::search`].
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
        self.snapshot().search(queries, params, pool, monitor)
    }

    /// Adds rows. Null rows are left out. Without `ids`, for an index that numbers its rows, returns the numbers that
    /// they got, null rows included.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] when ids are missing or given where the index has them otherwise,
    /// [`Error::DuplicateId`] naming an id that is there already, [`Error::InvalidType`] for ids of another type,
    /// [`Error::DimensionMismatch`], [`Error::InvalidVector`] and [`Error::Interrupted`] as in [`Index::build`].
    /// Nothing is changed then.
    pub fn add(
        &self,
        ids: Option<&Ids>,
        vectors: &Vectors,
        pool: &Pool,
        monitor: &dyn Monitor,
    ) -> Result<Option<Range<i64>>> {
        let work = Work { pool, monitor };
        let mut writer = self.writer()?;
        let mut next = self.begin(&mut writer, vectors, work)?;
        let rows: Vec<usize> = vectors.valid_rows(0..vectors.len()).collect();
        if rows.len() < vectors.len() {
            next.rename()?;
            next.naming.in_order = false;
        }
        let (names, given) = if next.naming.generated {
            if ids.is_some() {
                let expected = "none: this index numbers its rows (upsert replaces them)";
                return Err(Error::invalid_parameter("ids", expected, "a column of ids"));
            }
            let first = next.naming.next_id;
            next.naming.next_id += vectors.len() as i64;
            let names = rows.iter().map(|&row| OwnedId::Int64(first + row as i64)).collect();
            (names, Some(first..next.naming.next_id))
        } else {
            let names = names(&next, ids, vectors)?;
            let names: Vec<OwnedId> = rows.iter().map(|&row| names[row].clone()).collect();
            for (name, &row) in names.iter().zip(&rows) {
                if let Some(place) = next.find_with(&writer.recent, name.as_id()) {
                    let id = name.as_id().to_string();
                    let (first, second) = (next.row(place) as usize, row);
                    return Err(Error::DuplicateId { id, first, second });
                }
            }
            check_distinct(&names, &rows)?;
            (names, None)
        };
        next.append(&mut writer.recent, names, &rows, vectors, work)?;
        self.publish(next);
        Ok(given)
    }

    /// Deletes the rows with these ids and returns how many there were. Ids that no row has are ignored.
    ///
    /// # Errors
    /// [`Error::InvalidType`] or [`Error::InvalidParameter`] for ids that the index cannot have.
    pub fn delete(&self, ids: &Ids) -> Result<usize> {
        let mut writer = self.writer()?;
        let mut next = Snapshot::clone(&self.snapshot());
        let ids = ids.clone().cast("ids", next.id_type())?;
        next.begin(&mut writer);
        let before = next.len();
        for at in 0..ids.len() {
            if let Some(place) = next.find_with(&writer.recent, ids.get(at)) {
                next.kill(place);
            }
        }
        let deleted = before - next.len();
        if deleted > 0 {
            self.publish(next);
        }
        Ok(deleted)
    }

    /// Deletes the rows that a filter does not let pass and returns how many there were.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for a frozen handle.
    pub fn retain(&self, filter: &Filter) -> Result<usize> {
        let mut writer = self.writer()?;
        let mut next = Snapshot::clone(&self.snapshot());
        next.begin(&mut writer);
        let before = next.len();
        for (_, place) in next.places().into_iter().filter(|(row, _)| !filter.contains(*row)) {
            next.kill(place);
        }
        let deleted = before - next.len();
        if deleted > 0 {
            self.publish(next);
        }
        Ok(deleted)
    }

    /// Adds rows, each in place of the row with its id if there is one, and returns how many were replaced. Of several
    /// rows with one id the last counts. An index that numbers its rows replaces those it has given a number to.
    ///
    /// # Errors
    /// As [`Live::add`], but for ids that are there already; [`Error::InvalidVector`] for a null row,
    /// [`Error::InvalidParameter`] for a number that was never given to a row.
    pub fn upsert(&self, ids: &Ids, vectors: &Vectors, pool: &Pool, monitor: &dyn Monitor) -> Result<usize> {
        let work = Work { pool, monitor };
        let mut writer = self.writer()?;
        let mut next = self.begin(&mut writer, vectors, work)?;
        if let Some(row) = (0..vectors.len()).find(|&row| vectors.is_null(row)) {
            let reason = "is null, expected a vector (delete takes rows out)".into();
            return Err(Error::InvalidVector { column: vectors.column().into(), row, reason });
        }
        let names = names(&next, Some(ids), vectors)?;
        if next.naming.generated {
            let known =
                |name: &OwnedId| matches!(name, OwnedId::Int64(id) if (0..next.naming.next_id).contains(id));
            if let Some(name) = names.iter().find(|name| !known(name)) {
                let expected = format!("row numbers below {}", next.naming.next_id);
                return Err(Error::invalid_parameter("ids", expected, name.as_id().to_string()));
            }
            next.rename()?;
        }
        let mut seen = HashSet::with_capacity(names.len());
        let mut rows: Vec<usize> = (0..names.len()).rev().filter(|&row| seen.insert(&names[row])).collect();
        rows.reverse();
        let before = next.len();
        for &row in &rows {
            if let Some(place) = next.find_with(&writer.recent, names[row].as_id()) {
                next.kill(place);
            }
        }
        let replaced = before - next.len();
        let names = rows.iter().map(|&row| names[row].clone()).collect();
        next.append(&mut writer.recent, names, &rows, vectors, work)?;
        self.publish(next);
        Ok(replaced)
    }

    /// Adds all rows of another index, with their ids or, where rows are numbered, under new numbers.
    ///
    /// # Errors
    /// As [`Live::add`]; [`Error::InvalidParameter`] when the other index keeps codes only.
    pub fn merge(&self, other: &Self, pool: &Pool, monitor: &dyn Monitor) -> Result<Option<Range<i64>>> {
        let (ids, vectors) = other.snapshot().rows()?;
        let generated = self.snapshot().naming.generated;
        self.add((!generated).then_some(&ids), &vectors, pool, monitor)
    }

    /// The next snapshot, still equal to the current one, once the vectors for it are found to be good.
    fn begin(&self, writer: &mut Writer, vectors: &Vectors, work: Work<'_>) -> Result<Snapshot> {
        let mut next = Snapshot::clone(&self.snapshot());
        vectors.expect_dim("the index", next.index.dim())?;
        check_values(vectors, next.index.metric(), work.pool, work.monitor)?;
        next.begin(writer);
        Ok(next)
    }

    /// The right to change the index, for one at a time.
    fn writer(&self) -> Result<MutexGuard<'_, Writer>> {
        if self.frozen {
            return Err(Error::invalid_parameter("index", "one that may change", "a snapshot"));
        }
        Ok(lock(&self.writer))
    }

    fn publish(&self, next: Snapshot) {
        let old = std::mem::replace(&mut *lock(&self.current), Arc::new(next));
        // Dropped when the lock is free: it may be the last hold on a large table.
        drop(old);
    }
}

impl Snapshot {
    /// Takes stock before the first change.
    fn begin(&mut self, writer: &mut Writer) {
        if self.alive.is_none() {
            writer.spread = self.spread();
            self.prepare();
        }
    }
}

/// The ids for `vectors`, as the index has them.
fn names(next: &Snapshot, ids: Option<&Ids>, vectors: &Vectors) -> Result<Vec<OwnedId>> {
    let kind: IdType = next.id_type();
    let Some(ids) = ids else {
        let expected = format!("a column of {} ids, as in the index", kind.name());
        return Err(Error::invalid_parameter("ids", expected, "none"));
    };
    if ids.len() != vectors.len() {
        let expected = format!("one id per vector ({})", vectors.len());
        return Err(Error::invalid_parameter("ids", expected, format!("{} ids", ids.len())));
    }
    Ok(Snapshot::owned_ids(&ids.clone().cast("ids", kind)?))
}

fn check_distinct(names: &[OwnedId], rows: &[usize]) -> Result<()> {
    let mut seen = HashMap::with_capacity(names.len());
    for (name, &row) in names.iter().zip(rows) {
        if let Some(first) = seen.insert(name, row) {
            return Err(Error::DuplicateId { id: name.as_id().to_string(), first, second: row });
        }
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
