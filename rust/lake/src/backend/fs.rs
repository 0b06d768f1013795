//! A folder of `ruvec1` files, one per collection.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufReader, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::UNIX_EPOCH,
};

use ruvector_core::{Vectors, replace::replace};

use super::{
    Backend, Batches, Piece, Pull, State, batches,
    ruvec1::{self, Header},
    unknown,
};
use crate::{
    error::{Error, Result},
    folder,
    generation::Generation,
};

/// Rows per batch.
const BATCH_ROWS: u64 = 8192;

/// Collections in the `ruvec1` files of one folder. No file outside it is ever opened: names are checked, and links are
/// refused.
///
/// The generation tells apart what time alone does not: it is made of the time of change in nanoseconds, the length and
/// the file's own number, which a file put in place of another does not share.
#[derive(Debug)]
pub struct FsBackend {
    id: String,
    root: PathBuf,
    files: Mutex<BTreeMap<String, String>>,
}

impl FsBackend {
    /// A backend over a folder, which is made if it is missing.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be made.
    pub fn new(id: impl Into<String>, root: &Path) -> Result<Self> {
        Ok(Self { id: id.into(), root: folder::make(root)?, files: Mutex::default() })
    }

    /// Says in which file a collection lies. The file need not be there yet.
    ///
    /// # Errors
    /// [`Error::UnsafePath`] for a name that could lead out of the folder.
    pub fn register(&self, collection: impl Into<String>, file: impl Into<String>) -> Result<()> {
        let file = file.into();
        folder::check_name(&file)?;
        self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(collection.into(), file);
        Ok(())
    }

    /// Writes a collection's file in one step and registers it.
    ///
    /// # Errors
    /// [`Error::UnsafePath`] as [`FsBackend::register`], [`Error::InvalidParameter`] when there is not one id per vector,
    /// [`Error::TooLarge`] beyond the format's limits, [`Error::Core`] when the file cannot be written.
    pub fn write(&self, collection: &str, file: &str, ids: &[u64], vectors: &Vectors) -> Result<PathBuf> {
        folder::check_name(file)?;
        let path = self.root.join(file);
        if ids.len() != vectors.len() || vectors.null_count() > 0 {
            let expected = format!("one id and one vector in each of {} rows", ids.len());
            let actual = format!("{} rows, {} of them null", vectors.len(), vectors.null_count());
            return Err(Error::invalid_parameter("vectors", expected, actual));
        }
        let too_large = |what: &str, limit, actual| Error::TooLarge { what: what.into(), limit, actual };
        let (rows, dim) = (ids.len() as u64, vectors.dim() as u64);
        if rows > ruvec1::MAX_ROWS {
            return Err(too_large("rows", ruvec1::MAX_ROWS, rows));
        }
        if dim > u64::from(ruvec1::MAX_DIM) {
            return Err(too_large("dimensions", u64::from(ruvec1::MAX_DIM), dim));
        }
        let header = Header { rows, dim: dim as u32 };
        replace(&path, |writer| {
            let failed = |error| ruvector_core::Error::persist(&path, error);
            header.write(writer).map_err(failed)?;
            let mut scratch = vec![0.0; vectors.dim()];
            for (row, id) in ids.iter().enumerate() {
                writer.write_all(&id.to_le_bytes()).map_err(failed)?;
                for value in vectors.row(row, &mut scratch) {
                    writer.write_all(&value.to_le_bytes()).map_err(failed)?;
                }
            }
            Ok(())
        })?;
        self.register(collection, file)?;
        Ok(path)
    }

    fn open(&self, collection: &str) -> Result<Opened> {
        let name = self.files.lock().unwrap_or_else(PoisonError::into_inner).get(collection).cloned();
        let found = name.map(|name| folder::open(&self.root, &name)).transpose()?.flatten();
        let Some((file, path)) = found else { return Err(unknown(&self.id, collection)) };
        let meta = file.metadata().map_err(|error| Error::io(&path, error))?;
        let changed = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let nanos = changed.map_or(0, |since| since.as_nanos());
        let generation = Generation::Text(format!("{nanos}-{}-{}", meta.len(), number_of(&meta)));
        let mut reader = BufReader::new(file);
        let header = Header::read(&mut reader, meta.len())
            .map_err(|reason| Error::InvalidFile { path: path.clone(), reason })?;
        Ok(Opened { reader, path, header, generation })
    }
}

struct Opened {
    reader: BufReader<File>,
    path: PathBuf,
    header: Header,
    generation: Generation,
}

#[cfg(unix)]
fn number_of(meta: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(meta)
}

#[cfg(not(unix))]
fn number_of(_: &std::fs::Metadata) -> u64 {
    0
}

impl Backend for FsBackend {
    fn id(&self) -> &str {
        &self.id
    }

    fn list_collections(&self) -> Result<Vec<String>> {
        Ok(self.files.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect())
    }

    fn state(&self, collection: &str) -> Result<State> {
        let Opened { path, header, generation, .. } = self.open(collection)?;
        Ok(State {
            data_ref: format!("file://{}", path.display()),
            dim: header.dim as usize,
            vector: ruvec1::VECTOR.into(),
            id: Some(ruvec1::ID.into()),
            pieces: vec![Piece { name: generation.to_string(), rows: header.rows }],
            generation,
        })
    }

    fn pull(&self, collection: &str, pull: &Pull) -> Result<Batches> {
        let Opened { mut reader, path, header, .. } = self.open(collection)?;
        let failed = |error| Error::io(&path, error);
        let skipped = pull.skip_rows.min(header.rows);
        reader.seek_relative((skipped * header.row_bytes()) as i64).map_err(failed)?;
        let schema = ruvec1::schema(arrow_schema::DataType::UInt64, header.dim as usize);
        let (rows, columns) = (std::sync::Arc::clone(&schema), pull.projection.clone());
        let schema = super::project_schema(&schema, columns.as_deref())?;
        let mut left = header.rows - skipped;
        let each = std::iter::from_fn(move || {
            let now = left.min(BATCH_ROWS);
            left -= now;
            (now > 0).then(|| {
                let batch = ruvec1::read_rows(&mut reader, header, now as usize, &rows);
                let batch = batch.map_err(|error| Error::io(&path, error))?;
                super::project(&batch, columns.as_deref())
            })
        });
        Ok(batches(schema, each))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors(values: &[f32]) -> Vectors {
        Vectors::from_f32("v", 2, values.to_vec().into()).unwrap()
    }

    fn rows(backend: &FsBackend, pull: &Pull) -> usize {
        backend.pull("c", pull).unwrap().map(|batch| batch.unwrap().num_rows()).sum()
    }

    #[test]
    fn files_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let backend = FsBackend::new("fs", folder.path()).unwrap();
        let path = backend.write("c", "c.bin", &[5, 1 << 40], &vectors(&[1.0, 2.0, 3.0, 4.0])).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 24 + 2 * 16);
        assert_eq!(
            bytes[..24],
            [b"ruvec1\0\0".as_slice(), &[2, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]].concat()
        );
        let state = backend.state("c").unwrap();
        assert_eq!((state.dim, state.pieces[0].rows), (2, 2));
        assert!(state.data_ref.starts_with("file:///"), "{}", state.data_ref);
        assert_eq!(rows(&backend, &Pull::default()), 2);
        assert_eq!(rows(&backend, &Pull { skip_rows: 1, ..Pull::default() }), 1);
    }

    #[test]
    fn a_rewrite_within_the_same_second_is_another_generation() {
        let folder = tempfile::tempdir().unwrap();
        let backend = FsBackend::new("fs", folder.path()).unwrap();
        let mut seen = std::collections::HashSet::new();
        for value in 0..20 {
            backend.write("c", "c.bin", &[1], &vectors(&[value as f32, 0.0])).unwrap();
            assert!(seen.insert(backend.generation("c").unwrap()), "rewrite {value} went unseen");
        }
    }

    #[test]
    fn files_that_contradict_themselves_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let backend = FsBackend::new("fs", folder.path()).unwrap();
        let path = backend.write("c", "c.bin", &[1], &vectors(&[1.0, 2.0])).unwrap();
        let good = std::fs::read(&path).unwrap();
        let with = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            bytes
        };
        let cases = [
            (with(0, b'x'), "does not begin as a ruvec1 file"),
            (with(15, 255), "rows: expected at most"),
            (with(18, 255), "dimensions: expected 1 to 8192"),
            (with(16, 0), "dimensions: expected 1 to 8192, got 0"),
            (with(8, 2), "expected 56 bytes for 2 rows, got 40"),
            (good[..30].to_vec(), "expected 40 bytes for 1 rows, got 30"),
            ([good.as_slice(), b"x"].concat(), "expected 40 bytes for 1 rows, got 41"),
            (good[..10].to_vec(), "10 bytes are too few"),
        ];
        for (bytes, expected) in cases {
            std::fs::write(&path, bytes).unwrap();
            let error = backend.state("c").unwrap_err();
            assert!(
                matches!(error, Error::InvalidFile { .. }) && error.to_string().contains(expected),
                "{error}"
            );
        }
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(backend.state("c"), Err(Error::UnknownCollection { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn links_out_of_the_folder_are_refused() {
        let (outside, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let other = FsBackend::new("other", outside.path()).unwrap();
        let secret = other.write("c", "c.bin", &[1], &vectors(&[1.0, 2.0])).unwrap();
        let backend = FsBackend::new("fs", folder.path()).unwrap();
        backend.register("c", "c.bin").unwrap();
        std::os::unix::fs::symlink(secret, folder.path().join("c.bin")).unwrap();
        assert!(matches!(backend.state("c"), Err(Error::UnsafePath { .. })));
        assert!(matches!(backend.pull("c", &Pull::default()), Err(Error::UnsafePath { .. })));
        for name in ["../c.bin", "/etc/passwd", "a/b", "", "..", "a\0"] {
            assert!(matches!(backend.register("d", name), Err(Error::UnsafePath { .. })), "{name:?}");
            assert!(
                matches!(backend.write("d", name, &[], &vectors(&[])), Err(Error::UnsafePath { .. })),
                "{name:?}"
            );
        }
    }
}
