//! Collections in memory.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arrow_array::{Array, ArrayRef, FixedSizeListArray, Float32Array, RecordBatch, make_array};
use arrow_schema::{DataType, Field};
use ruvector_core::{
    Vectors,
    ids::{IdType, Ids, OwnedId},
};

use super::{Backend, Batches, Piece, Pull, State, batches, project, project_schema, ruvec1, unknown};
use crate::{
    error::{Error, Result},
    generation::Generation,
};

/// Collections in memory, with ids that no two rows share. Clones share them.
///
/// Rows that are added are a table of their own until there are as many of them as before, so that adding one by one does
/// not copy all. Replacing and deleting rows copies the collection.
#[derive(Clone, Debug)]
pub struct LocalBackend {
    id: Arc<str>,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    collections: BTreeMap<String, Collection>,
    /// The last generation of collections that were dropped: a new one of the same name is not the old one.
    dropped: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct Collection {
    dim: usize,
    id_type: IdType,
    generation: u64,
    /// The generation in which a row was last replaced or deleted.
    epoch: u64,
    tables: Vec<RecordBatch>,
    known: HashSet<OwnedId>,
}

impl LocalBackend {
    /// A backend without collections.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into().into(), shared: Arc::default() }
    }

    /// Makes a collection of these rows, in place of what it held.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] when there is not one id for every vector, [`Error::Core`] for ids that occur twice
    /// and for values that are not finite.
    pub fn put_collection(&self, name: &str, ids: &Ids, vectors: &Vectors) -> Result<()> {
        check(ids, vectors)?;
        ids.check_unique()?;
        let table = table(ids, vectors)?;
        let mut shared = self.lock();
        let before = shared.collections.get(name).map(|collection| collection.generation);
        let generation = before.or_else(|| shared.dropped.get(name).copied()).unwrap_or(0).wrapping_add(1);
        let collection = Collection {
            dim: vectors.dim(),
            id_type: ids.id_type(),
            generation,
            epoch: generation,
            tables: if ids.is_empty() { Vec::new() } else { vec![table] },
            known: owned(ids).collect(),
        };
        shared.collections.insert(name.into(), collection);
        Ok(())
    }

    /// Adds rows with ids that the collection does not have.
    ///
    /// # Errors
    /// [`Error::UnknownCollection`], [`Error::DimensionMismatch`]; [`Error::Core`] for an id that is there already;
    /// otherwise as [`LocalBackend::put_collection`].
    pub fn append(&self, name: &str, ids: &Ids, vectors: &Vectors) -> Result<()> {
        self.change(name, ids, vectors, |collection, ids| {
            if let Some((row, id)) = owned(ids).enumerate().find(|(_, id)| collection.known.contains(id)) {
                let id = id.as_id().to_string();
                let first = collection.place_of(&id);
                return Err(ruvector_core::Error::DuplicateId { id, first, second: row }.into());
            }
            collection.append(ids, vectors)
        })?;
        Ok(())
    }

    /// Adds rows, each in place of the row with its id if there is one, and makes the collection if there is none.
    /// Returns how many rows were replaced.
    ///
    /// # Errors
    /// As [`LocalBackend::append`], but for ids that are there already. The same id twice among `ids` is refused.
    pub fn upsert(&self, name: &str, ids: &Ids, vectors: &Vectors) -> Result<usize> {
        let missing = !self.lock().collections.contains_key(name);
        if missing {
            self.put_collection(name, ids, vectors)?;
            return Ok(0);
        }
        self.change(name, ids, vectors, |collection, ids| {
            let gone: HashSet<OwnedId> = owned(ids).filter(|id| collection.known.contains(id)).collect();
            collection.remove(&gone)?;
            collection.append(ids, vectors)?;
            Ok(gone.len())
        })
    }

    /// Deletes the rows with these ids and returns how many there were.
    ///
    /// # Errors
    /// [`Error::UnknownCollection`]; [`Error::Core`] for ids of another type.
    pub fn delete(&self, name: &str, ids: &Ids) -> Result<usize> {
        let mut shared = self.lock();
        let collection = shared.collections.get_mut(name).ok_or_else(|| unknown(&self.id, name))?;
        let ids = ids.clone().cast("ids", collection.id_type)?;
        let gone: HashSet<OwnedId> = owned(&ids).filter(|id| collection.known.contains(id)).collect();
        if !gone.is_empty() {
            collection.remove(&gone)?;
            collection.generation = collection.generation.wrapping_add(1);
        }
        Ok(gone.len())
    }

    /// Forgets a collection; tells whether there was one.
    pub fn drop_collection(&self, name: &str) -> bool {
        let mut shared = self.lock();
        let Some(gone) = shared.collections.remove(name) else { return false };
        shared.dropped.insert(name.into(), gone.generation);
        true
    }

    fn change<T>(
        &self,
        name: &str,
        ids: &Ids,
        vectors: &Vectors,
        change: impl FnOnce(&mut Collection, &Ids) -> Result<T>,
    ) -> Result<T> {
        check(ids, vectors)?;
        ids.check_unique()?;
        let mut shared = self.lock();
        let collection = shared.collections.get_mut(name).ok_or_else(|| unknown(&self.id, name))?;
        if collection.dim != vectors.dim() {
            return Err(Error::DimensionMismatch {
                backend: self.id.to_string(),
                collection: name.into(),
                expected: collection.dim,
                actual_by: vectors.column().into(),
                actual: vectors.dim(),
            });
        }
        let ids = ids.clone().cast("ids", collection.id_type)?;
        let done = change(collection, &ids)?;
        collection.generation = collection.generation.wrapping_add(1);
        Ok(done)
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collection {
    /// Adds rows; small tables are put together with what came before them, as a counter carries.
    fn append(&mut self, ids: &Ids, vectors: &Vectors) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut last = table(ids, vectors)?;
        self.known.extend(owned(ids));
        while let Some(before) = self.tables.pop_if(|before| before.num_rows() <= last.num_rows()) {
            last = concat(&[before, last])?;
        }
        self.tables.push(last);
        Ok(())
    }

    /// Takes rows out. What is left is one table, and a new beginning for whoever reads only what is new.
    fn remove(&mut self, gone: &HashSet<OwnedId>) -> Result<()> {
        if gone.is_empty() {
            return Ok(());
        }
        let mut kept = Vec::new();
        for batch in &self.tables {
            let ids = ids_of(batch)?;
            let mask: arrow_array::BooleanArray = owned(&ids).map(|id| Some(!gone.contains(&id))).collect();
            kept.push(arrow_select::filter::filter_record_batch(batch, &mask).map_err(refused)?);
        }
        let left = concat(&kept)?;
        self.tables = if left.num_rows() == 0 { Vec::new() } else { vec![left] };
        self.known.retain(|id| !gone.contains(id));
        self.epoch = self.generation.wrapping_add(1);
        Ok(())
    }

    fn rows(&self) -> usize {
        self.known.len()
    }

    /// The row of an id that is known, for messages.
    fn place_of(&self, id: &str) -> usize {
        let ids = self.tables.iter().filter_map(|batch| ids_of(batch).ok());
        let mut each = ids.flat_map(|ids| owned(&ids).collect::<Vec<_>>());
        each.position(|found| found.as_id().to_string() == id).unwrap_or_default()
    }
}

impl Backend for LocalBackend {
    fn id(&self) -> &str {
        &self.id
    }

    fn list_collections(&self) -> Result<Vec<String>> {
        Ok(self.lock().collections.keys().cloned().collect())
    }

    fn state(&self, collection: &str) -> Result<State> {
        let shared = self.lock();
        let found = shared.collections.get(collection).ok_or_else(|| unknown(&self.id, collection))?;
        Ok(State {
            data_ref: format!("local://{}/{collection}", self.id),
            dim: found.dim,
            generation: Generation::Number(found.generation),
            vector: ruvec1::VECTOR.into(),
            id: Some(ruvec1::ID.into()),
            pieces: vec![Piece { name: found.epoch.to_string(), rows: found.rows() as u64 }],
        })
    }

    fn generation(&self, collection: &str) -> Result<Generation> {
        let shared = self.lock();
        let found = shared.collections.get(collection).ok_or_else(|| unknown(&self.id, collection))?;
        Ok(Generation::Number(found.generation))
    }

    fn is_immediate(&self) -> bool {
        true
    }

    fn pull(&self, collection: &str, pull: &Pull) -> Result<Batches> {
        let shared = self.lock();
        let found = shared.collections.get(collection).ok_or_else(|| unknown(&self.id, collection))?;
        let columns = pull.projection.as_deref();
        let schema = project_schema(&ruvec1::schema(found.id_type.data_type(), found.dim), columns)?;
        let mut skipped = usize::try_from(pull.skip_rows).unwrap_or(usize::MAX);
        let mut rows = Vec::new();
        for batch in &found.tables {
            let here = skipped.min(batch.num_rows());
            skipped -= here;
            if here < batch.num_rows() {
                rows.push(project(&batch.slice(here, batch.num_rows() - here), columns));
            }
        }
        Ok(batches(schema, rows.into_iter()))
    }
}

fn check(ids: &Ids, vectors: &Vectors) -> Result<()> {
    if ids.len() != vectors.len() || vectors.null_count() > 0 {
        let expected = format!("one vector for each of {} ids", ids.len());
        let actual = format!("{} vectors, {} of them null", vectors.len(), vectors.null_count());
        return Err(Error::invalid_parameter("vectors", expected, actual));
    }
    Ok(vectors.check_finite(0..vectors.len())?)
}

fn owned(ids: &Ids) -> impl Iterator<Item = OwnedId> + '_ {
    (0..ids.len()).map(|at| ids.get(at).into())
}

fn ids_of(batch: &RecordBatch) -> Result<Ids> {
    Ok(Ids::from_list(ruvec1::ID, std::slice::from_ref(batch.column(0)))?)
}

/// Rows as a table; vectors that lie in one piece are shared, not copied.
fn table(ids: &Ids, vectors: &Vectors) -> Result<RecordBatch> {
    let dim = vectors.dim();
    let values = vectors.contiguous().unwrap_or_else(|| {
        let mut values = vec![0.0; vectors.len() * dim];
        vectors.copy_rows(0..vectors.len(), &mut values);
        values.into()
    });
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let values: ArrayRef = Arc::new(Float32Array::new(values, None));
    let ids = make_array(ids.as_array().to_data());
    let schema = ruvec1::schema(ids.data_type().clone(), dim);
    let vectors = FixedSizeListArray::try_new(item, dim as i32, values, None).map_err(refused)?;
    RecordBatch::try_new(schema, vec![ids, Arc::new(vectors)]).map_err(refused)
}

fn concat(batches: &[RecordBatch]) -> Result<RecordBatch> {
    let Some(first) = batches.first() else {
        return Err(Error::invalid_parameter("batches", "at least one", "none"));
    };
    arrow_select::concat::concat_batches(first.schema_ref(), batches).map_err(refused)
}

fn refused(error: arrow_schema::ArrowError) -> Error {
    ruvector_core::Error::from(error).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ruvector_core::ids::Id;

    use super::*;

    fn ids(ids: &[i64]) -> Ids {
        Ids::Int64(ids.to_vec().into())
    }

    fn vectors(values: &[f32]) -> Vectors {
        Vectors::from_f32("v", 1, values.to_vec().into()).unwrap()
    }

    fn rows(backend: &LocalBackend, skip_rows: u64) -> Vec<(i64, f32)> {
        let mut found = Vec::new();
        for batch in backend.pull("c", &Pull { skip_rows, ..Pull::default() }).unwrap() {
            let batch = batch.unwrap();
            let ids = ids_of(&batch).unwrap();
            let vectors = Vectors::from_arrays("vector", &[Arc::clone(batch.column(1))], Some(1)).unwrap();
            for row in 0..ids.len() {
                let Id::Int64(id) = ids.get(row) else { panic!("ids are int64") };
                found.push((id, vectors.row(row, &mut [0.0])[0]));
            }
        }
        found
    }

    proptest! {
        #[test]
        fn is_a_table_with_keys(steps in prop::collection::vec((0..3, prop::collection::btree_set(0_i64..20, 1..6)), 1..30)) {
            let backend = LocalBackend::new("b");
            backend.put_collection("c", &ids(&[]), &vectors(&[])).unwrap();
            let mut model: Vec<(i64, f32)> = Vec::new();
            let mut before = backend.state("c").unwrap();
            for (at, (kind, keys)) in steps.into_iter().enumerate() {
                let keys: Vec<i64> = keys.into_iter().collect();
                let new = vectors(&vec![at as f32; keys.len()]);
                let there = keys.iter().filter(|key| model.iter().any(|row| row.0 == **key)).count();
                match kind {
                    0 if there > 0 => prop_assert!(backend.append("c", &ids(&keys), &new).is_err()),
                    0 => backend.append("c", &ids(&keys), &new).unwrap(),
                    1 => prop_assert_eq!(backend.upsert("c", &ids(&keys), &new).unwrap(), there),
                    _ => prop_assert_eq!(backend.delete("c", &ids(&keys)).unwrap(), there),
                }
                if kind > 0 {
                    model.retain(|row| !keys.contains(&row.0));
                }
                if kind == 1 || (kind == 0 && there == 0) {
                    model.extend(keys.iter().map(|&key| (key, at as f32)));
                }
                prop_assert_eq!(rows(&backend, 0), model.clone());
                let now = backend.state("c").unwrap();
                let changed = kind == 1 || (kind == 0 && there == 0) || (kind == 2 && there > 0);
                prop_assert_eq!(now.generation != before.generation, changed);
                if let Some(since) = now.rows_since(&before) {
                    prop_assert_eq!(rows(&backend, since), model[since as usize..].to_vec());
                } else {
                    prop_assert!(kind > 0 && there > 0, "adding rows leaves the others as they are");
                }
                before = now;
            }
        }
    }

    #[test]
    fn a_collection_that_was_dropped_does_not_come_back() {
        let backend = LocalBackend::new("b");
        backend.put_collection("c", &ids(&[1]), &vectors(&[1.0])).unwrap();
        let first = backend.generation("c").unwrap();
        assert!(backend.drop_collection("c") && !backend.drop_collection("c"));
        assert!(matches!(backend.state("c"), Err(Error::UnknownCollection { .. })));
        assert!(matches!(
            backend.append("c", &ids(&[1]), &vectors(&[1.0])),
            Err(Error::UnknownCollection { .. })
        ));
        backend.upsert("c", &ids(&[1]), &vectors(&[2.0])).unwrap();
        assert_ne!(backend.generation("c").unwrap(), first);
    }

    #[test]
    fn rows_that_cannot_be_are_refused() {
        let backend = LocalBackend::new("b");
        backend.put_collection("c", &ids(&[1]), &vectors(&[1.0])).unwrap();
        let wide = Vectors::from_f32("v", 2, vec![1.0, 2.0].into()).unwrap();
        assert!(matches!(
            backend.append("c", &ids(&[2]), &wide),
            Err(Error::DimensionMismatch { expected: 1, actual: 2, .. })
        ));
        assert!(matches!(
            backend.append("c", &ids(&[2, 3]), &vectors(&[1.0])),
            Err(Error::InvalidParameter { .. })
        ));
        let error = backend.append("c", &ids(&[2, 2]), &vectors(&[1.0, 1.0])).unwrap_err();
        assert_eq!(error.to_string(), "duplicate id 2: rows 0 and 1");
        let error = backend.append("c", &ids(&[1]), &vectors(&[1.0])).unwrap_err();
        assert_eq!(error.to_string(), "duplicate id 1: rows 0 and 0");
        assert!(backend.append("c", &ids(&[2]), &vectors(&[f32::NAN])).is_err());
        assert_eq!(rows(&backend, 0), [(1, 1.0)]);
    }
}
