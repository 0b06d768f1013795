//! Tables in Parquet files: one file, or all files of a folder, on a disk or in an object store.
//!
//! Row groups are read one after the other, each with one request for the columns that are wanted; those that a predicate
//! rules out by their statistics are not read at all. Files that were added to a folder, and sort behind the others, are
//! rows at the end: only they are read again.

mod chunks;
#[cfg(feature = "object-store")]
mod object;
mod read;
#[cfg(feature = "s3")]
pub mod s3;
mod store;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arrow_array::Array;
use arrow_schema::{DataType, SchemaRef};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;

use super::{Backend, Batches, Piece, Pull, State, batches, find_columns, project_schema, unknown};
use crate::{
    error::{Error, Result},
    generation::Generation,
};
use store::{Disk, Store, Stored};

/// Footers that are remembered.
const MAX_FOOTERS: usize = 10_000;

/// Which columns of a table are meant. What is `None` is found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// The column of vectors.
    pub vector: Option<String>,
    /// The column of ids.
    pub id: Option<String>,
    /// Elements per vector: only binary vectors need it, and only if they are half floats.
    pub dim: Option<usize>,
}

/// Collections in Parquet files.
///
/// Vectors are `FixedSizeBinary` of little-endian floats, which is read fastest, or lists of floats.
#[derive(Debug)]
pub struct ParquetBackend {
    id: String,
    store: Arc<dyn Store>,
    tables: Mutex<BTreeMap<String, (String, Columns)>>,
    footers: Mutex<HashMap<Stored, Footer>>,
}

/// A collection and the files that it lies in now.
struct Table {
    path: String,
    columns: Columns,
    files: Vec<(Stored, Footer)>,
}

/// What is known about a file.
#[derive(Clone, Debug)]
struct Footer {
    metadata: ArrowReaderMetadata,
    /// The digest of the footer's bytes.
    digest: String,
}

impl ParquetBackend {
    /// A backend over a folder of a disk. Nothing outside it is read.
    ///
    /// # Errors
    /// [`Error::Io`] when there is no such folder.
    pub fn on_disk(id: impl Into<String>, root: &Path) -> Result<Self> {
        Ok(Self::over(id.into(), Arc::new(Disk::new(root)?)))
    }

    /// A backend over an object store. `url` is what others call the place, such as `s3://bucket`.
    #[cfg(feature = "object-store")]
    pub fn in_store(id: impl Into<String>, store: Arc<dyn object_store::ObjectStore>, url: &str) -> Self {
        Self::over(id.into(), Arc::new(object::Objects::new(store, url)))
    }

    fn over(id: String, store: Arc<dyn Store>) -> Self {
        Self { id, store, tables: Mutex::default(), footers: Mutex::default() }
    }

    /// Says where a collection lies: the path of a file, or of a folder whose files, one below the other by name, are the
    /// table. It need not be there yet.
    ///
    /// # Errors
    /// [`Error::UnsafePath`] for a path that leads elsewhere.
    pub fn register(
        &self,
        collection: impl Into<String>,
        path: impl Into<String>,
        columns: Columns,
    ) -> Result<()> {
        let path = path.into();
        store::check_path(&path)?;
        lock(&self.tables).insert(collection.into(), (path, columns));
        Ok(())
    }

    /// Where a collection lies: as registered, else in the file or the folder of its name.
    fn place(&self, collection: &str) -> Result<(String, Columns, Vec<Stored>)> {
        let registered = lock(&self.tables).get(collection).cloned();
        if let Some((path, columns)) = registered {
            let files = self.store.list(&path)?;
            return Ok((path, columns, files));
        }
        store::check_path(collection)?;
        if store::is_hidden(collection) {
            return Err(unknown(&self.id, collection));
        }
        let file = format!("{collection}{}", store::PARQUET);
        let files = self.store.list(&file)?;
        if !files.is_empty() {
            return Ok((file, Columns::default(), files));
        }
        Ok((collection.to_owned(), Columns::default(), self.store.list(collection)?))
    }

    fn files(&self, collection: &str) -> Result<Table> {
        let (path, columns, files) = self.place(collection)?;
        if files.is_empty() {
            return Err(unknown(&self.id, collection));
        }
        let mut found = Vec::with_capacity(files.len());
        for file in files {
            let footer = self.footer(&file)?;
            found.push((file, footer));
        }
        Ok(Table { path, columns, files: found })
    }

    fn footer(&self, file: &Stored) -> Result<Footer> {
        if let Some(footer) = lock(&self.footers).get(file) {
            return Ok(footer.clone());
        }
        let (metadata, digest) = read::footer(&self.store, file)?;
        let footer = Footer { metadata, digest };
        let mut footers = lock(&self.footers);
        if footers.len() >= MAX_FOOTERS {
            footers.clear();
        }
        footers.insert(file.clone(), footer.clone());
        Ok(footer)
    }

    /// The number of dimensions of a column: that of its type, or of its first list.
    fn dim(
        &self,
        columns: &Columns,
        vector: &str,
        schema: &SchemaRef,
        files: &[(Stored, Footer)],
    ) -> Result<usize> {
        let field = schema.field_with_name(vector).map_err(|error| self.refused(&error))?;
        match field.data_type() {
            DataType::FixedSizeList(_, dim) => Ok(*dim as usize),
            DataType::FixedSizeBinary(width) => Ok(columns.dim.unwrap_or(*width as usize / 4)),
            _ => {
                let wanted = vec![vector.to_owned()];
                for (file, footer) in files {
                    for group in 0..footer.metadata.metadata().num_row_groups() {
                        let rows = read::group(&self.store, file, &footer.metadata, group, Some(&wanted), 0)?;
                        for batch in rows {
                            let batch = batch.map_err(|error| self.refused(&error))?;
                            if let Some(dim) = first_length(batch.column(0)) {
                                return Ok(dim);
                            }
                        }
                    }
                }
                columns
                    .dim
                    .ok_or_else(|| Error::invalid_parameter(vector, "at least one vector, or a dim", "none"))
            }
        }
    }

    fn refused(&self, error: &dyn std::fmt::Display) -> Error {
        Error::backend(&self.id, error)
    }
}

/// The length of the first list that is there.
fn first_length(column: &dyn Array) -> Option<usize> {
    use arrow_array::cast::AsArray;
    let row = (0..column.len()).find(|&row| column.is_valid(row))?;
    match column.data_type() {
        DataType::List(_) => Some(column.as_list::<i32>().value_length(row) as usize),
        DataType::LargeList(_) => Some(column.as_list::<i64>().value_length(row) as usize),
        _ => None,
    }
}

impl Backend for ParquetBackend {
    fn id(&self) -> &str {
        &self.id
    }

    fn list_collections(&self) -> Result<Vec<String>> {
        let mut found: BTreeSet<String> = lock(&self.tables).keys().cloned().collect();
        let paths = self.store.paths()?;
        found.extend(paths.iter().map(|path| path.strip_suffix(store::PARQUET).unwrap_or(path).to_owned()));
        Ok(found.into_iter().collect())
    }

    fn state(&self, collection: &str) -> Result<State> {
        let Table { path, columns, files } = self.files(collection)?;
        let schema = same_schema(&files)?;
        let (vector, id) = match &columns.vector {
            Some(vector) => (vector.clone(), schema.column_with_name("id").map(|_| "id".to_owned())),
            None => find_columns(&schema)?,
        };
        let mut hasher = blake3::Hasher::new();
        let mut pieces = Vec::with_capacity(files.len());
        for (file, footer) in &files {
            let name = format!("{}|{}|{}", file.path, file.version, footer.digest);
            hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
            let rows = footer.metadata.metadata().file_metadata().num_rows();
            pieces.push(Piece { name, rows: u64::try_from(rows).unwrap_or(0) });
        }
        let dim = self.dim(&columns, &vector, &schema, &files)?;
        Ok(State {
            data_ref: format!("{}/{path}", self.store.url()),
            dim,
            generation: Generation::Text(hasher.finalize().to_hex().to_string()),
            vector,
            id: columns.id.or(id),
            pieces,
        })
    }

    fn pull(&self, collection: &str, pull: &Pull) -> Result<Batches> {
        let Table { files, .. } = self.files(collection)?;
        let schema = project_schema(&same_schema(&files)?, pull.projection.as_deref())?;
        let mut skipped = pull.skip_rows;
        let mut groups = Vec::new();
        for (file, footer) in &files {
            let wanted = read::wanted(&footer.metadata, &pull.predicate)?;
            for (group, wanted) in wanted.into_iter().enumerate() {
                let rows = footer.metadata.metadata().row_group(group).num_rows();
                let rows = u64::try_from(rows).unwrap_or(0);
                let here = skipped.min(rows);
                skipped -= here;
                if wanted && here < rows {
                    groups.push((file.clone(), footer.metadata.clone(), group, here));
                }
            }
        }
        let (store, columns, id) = (Arc::clone(&self.store), pull.projection.clone(), self.id.clone());
        let rows = groups.into_iter().flat_map(move |(file, metadata, group, skipped)| {
            let rows = read::group(&store, &file, &metadata, group, columns.as_deref(), skipped);
            let id = id.clone();
            let (rows, failed) = match rows {
                Ok(rows) => (Some(rows), None),
                Err(error) => (None, Some(Err(error))),
            };
            let columns = columns.clone();
            let rows = rows.into_iter().flatten().map(move |batch| {
                let batch = batch.map_err(|error| super::stream_error(&id, error))?;
                super::project(&batch, columns.as_deref())
            });
            rows.chain(failed)
        });
        Ok(batches(schema, rows))
    }
}

/// The schema of all files, if it is one.
fn same_schema(files: &[(Stored, Footer)]) -> Result<SchemaRef> {
    let Some(((first_file, first), others)) = files.split_first() else {
        return Err(Error::invalid_parameter("files", "at least one", "none"));
    };
    let schema = first.metadata.schema();
    for (file, footer) in others {
        if footer.metadata.schema().fields() != schema.fields() {
            let expected = format!("the columns of {}", first_file.path);
            return Err(Error::invalid_parameter(
                &file.path,
                expected,
                format!("{:?}", footer.metadata.schema().fields()),
            ));
        }
    }
    Ok(Arc::clone(schema))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
