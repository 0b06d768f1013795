use std::{
    fs::{self, File},
    sync::atomic::{AtomicU64, Ordering},
};

use arrow_array::{
    ArrayRef, FixedSizeBinaryArray, Int64Array, ListArray, RecordBatch, StringArray, types::Float32Type,
};
use bytes::Bytes;
use parquet::{arrow::ArrowWriter, basic::Compression, file::properties::WriterProperties};
use ruvector_core::Vectors;

use super::*;
use crate::predicate::{Comparison, Condition, Predicate, Value};

/// How vectors are written.
#[derive(Clone, Copy)]
enum As {
    Binary,
    Lists,
}

/// Rows `first..first + rows` of a table: the id, two floats made of it, and a text.
fn table(first: i64, rows: i64, kind: As) -> RecordBatch {
    let values = |id: i64| [id as f32, -(id as f32)];
    let ids = first..first + rows;
    let vectors: ArrayRef = match kind {
        As::Binary => {
            let bytes = ids.clone().map(|id| values(id).map(f32::to_le_bytes).concat());
            Arc::new(FixedSizeBinaryArray::try_from_iter(bytes).unwrap())
        }
        As::Lists => Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(
            ids.clone().map(|id| Some(values(id).map(Some))),
        )),
    };
    let columns: [(&str, ArrayRef); 3] = [
        ("id", Arc::new(Int64Array::from_iter_values(ids.clone()))),
        ("embedding", vectors),
        ("text", Arc::new(StringArray::from_iter_values(ids.map(|id| format!("row {id}"))))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// A file of row groups of 100 rows.
fn write(path: &Path, batch: &RecordBatch, compression: Compression) {
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_max_row_group_row_count(Some(100))
        .build();
    let mut writer =
        ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

/// A disk that counts what is read from it.
#[derive(Debug)]
struct Counted(Disk, Arc<AtomicU64>);

impl Store for Counted {
    fn url(&self) -> String {
        self.0.url()
    }

    fn paths(&self) -> Result<Vec<String>> {
        self.0.paths()
    }

    fn list(&self, path: &str) -> Result<Vec<Stored>> {
        self.0.list(path)
    }

    fn read(&self, file: &Stored, ranges: &[std::ops::Range<u64>]) -> Result<Vec<Bytes>> {
        let bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        self.1.fetch_add(bytes, Ordering::SeqCst);
        self.0.read(file, ranges)
    }
}

fn backend(root: &Path, path: &str) -> (ParquetBackend, Arc<AtomicU64>) {
    let read = Arc::<AtomicU64>::default();
    let store = Counted(Disk::new(root).unwrap(), Arc::clone(&read));
    let backend = ParquetBackend::over("p".into(), Arc::new(store));
    backend.register("c", path, Columns::default()).unwrap();
    (backend, read)
}

fn ids(rows: Batches) -> Vec<i64> {
    use arrow_array::cast::AsArray;
    let column = |batch: RecordBatch| {
        batch.column_by_name("id").unwrap().as_primitive::<arrow_array::types::Int64Type>().values().to_vec()
    };
    rows.flat_map(|batch| column(batch.unwrap())).collect()
}

#[test]
fn vectors_of_both_shapes_and_every_compression_are_read() {
    let folder = tempfile::tempdir().unwrap();
    for (at, kind) in [As::Binary, As::Lists].into_iter().enumerate() {
        for (other, compression) in [
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::LZ4_RAW,
            Compression::ZSTD(parquet::basic::ZstdLevel::default()),
        ]
        .into_iter()
        .enumerate()
        {
            let name = format!("{at}{other}.parquet");
            write(&folder.path().join(&name), &table(0, 250, kind), compression);
            let (backend, _) = backend(folder.path(), &name);
            let state = backend.state("c").unwrap();
            assert_eq!((state.dim, state.vector.as_str(), state.id.as_deref()), (2, "embedding", Some("id")));
            assert_eq!(state.pieces[0].rows, 250);
            let columns: Vec<ArrayRef> = backend
                .pull(
                    "c",
                    &Pull { projection: Some(vec!["embedding".into(), "id".into()]), ..Pull::default() },
                )
                .unwrap()
                .map(|batch| Arc::clone(batch.unwrap().column(0)))
                .collect();
            let vectors = Vectors::from_arrays("embedding", &columns, Some(2)).unwrap();
            assert_eq!((vectors.len(), vectors.row(249, &mut [0.0; 2])), (250, [249.0, -249.0].as_slice()));
        }
    }
}

#[test]
fn only_row_groups_and_columns_that_are_wanted_are_read() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("t.parquet"), &table(0, 1000, As::Binary), Compression::UNCOMPRESSED);
    let (backend, read) = backend(folder.path(), "t.parquet");
    backend.state("c").unwrap();
    let cost = |pull: &Pull| {
        let before = read.load(Ordering::SeqCst);
        let rows = ids(backend.pull("c", pull).unwrap());
        (rows, read.load(Ordering::SeqCst) - before)
    };
    let (all, whole) = cost(&Pull::default());
    assert_eq!(all, (0..1000).collect::<Vec<_>>());
    let projection = Some(vec!["id".to_owned()]);
    let (rows, narrow) = cost(&Pull { projection: projection.clone(), ..Pull::default() });
    assert!(rows == all && narrow < whole / 2, "{narrow} of {whole} bytes");
    let condition = Condition::compare("id", Comparison::GreaterOrEqual, Value::Integer(950));
    let predicate = Predicate::all([condition]);
    let (rows, few) = cost(&Pull { projection, predicate, skip_rows: 0 });
    assert_eq!(rows, (900..1000).collect::<Vec<_>>(), "the one row group that may hold such rows");
    assert!(few < narrow / 5, "{few} of {narrow} bytes");
    let (rows, _) = cost(&Pull { skip_rows: 230, ..Pull::default() });
    assert_eq!(rows, (230..1000).collect::<Vec<_>>());
    let (rows, nothing) = cost(&Pull { skip_rows: 1000, ..Pull::default() });
    assert!(rows.is_empty() && nothing == 0);
}

#[test]
fn files_of_a_folder_are_one_table_that_grows() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("t")).unwrap();
    let add = |name: &str, first| {
        write(&folder.path().join("t").join(name), &table(first, 100, As::Binary), Compression::SNAPPY);
    };
    add("a.parquet", 0);
    add("b.parquet", 100);
    add("_metadata.parquet", 900);
    let (backend, _) = backend(folder.path(), "t");
    let before = backend.state("c").unwrap();
    assert_eq!(ids(backend.pull("c", &Pull::default()).unwrap()), (0..200).collect::<Vec<_>>());
    add("c.parquet", 200);
    let after = backend.state("c").unwrap();
    assert_eq!(after.rows_since(&before), Some(200));
    assert_eq!(
        ids(backend.pull("c", &Pull { skip_rows: 200, ..Pull::default() }).unwrap()),
        (200..300).collect::<Vec<_>>()
    );
    add("a.parquet", 500);
    let changed = backend.state("c").unwrap();
    assert_eq!((changed.rows_since(&after), changed.generation == after.generation), (None, false));
}

#[test]
fn a_file_that_is_replaced_is_not_mixed_with_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    write(&path, &table(0, 300, As::Binary), Compression::SNAPPY);
    let (backend, _) = backend(folder.path(), "t.parquet");
    let mut rows = backend.pull("c", &Pull::default()).unwrap();
    assert!(rows.next().unwrap().is_ok());
    let other = folder.path().join("other");
    write(&other, &table(1000, 300, As::Binary), Compression::SNAPPY);
    fs::rename(other, &path).unwrap();
    let error = super::super::stream_error("p", rows.next().unwrap().unwrap_err());
    assert!(error.is_retryable() && error.to_string().contains("was replaced while it was read"), "{error}");
}

#[test]
fn what_is_no_parquet_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    write(&path, &table(0, 300, As::Binary), Compression::SNAPPY);
    let good = fs::read(&path).unwrap();
    let (backend, _) = backend(folder.path(), "t.parquet");
    let huge = [&good[..good.len() - 8], &(u32::MAX).to_le_bytes(), b"PAR1"].concat();
    for bytes in [
        Vec::new(),
        b"PAR1".to_vec(),
        good[..good.len() - 1].to_vec(),
        b"PAR1\xff\xff\0\0PAR1".to_vec(),
        huge,
    ] {
        fs::write(&path, bytes).unwrap();
        let error = backend.state("c").unwrap_err();
        assert!(matches!(error, Error::InvalidFile { .. } | Error::TooLarge { .. }), "{error}");
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(backend.state("c"), Err(Error::UnknownCollection { .. })));
    for path in ["../t.parquet", "/etc/passwd", "a//b", "a/../b", ""] {
        assert!(
            matches!(backend.register("d", path, Columns::default()), Err(Error::UnsafePath { .. })),
            "{path:?}"
        );
    }
}

/// Parquet has no digest of its own: a flipped byte may be another value. It must be nothing worse.
#[test]
fn a_flipped_byte_is_an_error_or_a_value() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    write(&path, &table(0, 20, As::Lists), Compression::SNAPPY);
    let good = fs::read(&path).unwrap();
    let mut refused = 0;
    for at in (0..good.len()).step_by(7) {
        let mut bytes = good.clone();
        bytes[at] ^= 0x55;
        fs::write(&path, bytes).unwrap();
        let (backend, _) = backend(folder.path(), "t.parquet");
        let rows = backend.pull("c", &Pull::default()).map(|mut rows| rows.all(|batch| batch.is_ok()));
        refused += usize::from(!matches!(rows, Ok(true)));
    }
    assert!(refused > 10, "{refused} were noticed");
}

#[cfg(unix)]
#[test]
fn links_are_not_followed() {
    let (outside, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(&outside.path().join("t.parquet"), &table(0, 10, As::Binary), Compression::SNAPPY);
    std::os::unix::fs::symlink(outside.path(), folder.path().join("d")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("t.parquet"), folder.path().join("t.parquet")).unwrap();
    for path in ["d", "d/t.parquet", "t.parquet"] {
        let (backend, _) = backend(folder.path(), path);
        assert!(matches!(backend.state("c"), Err(Error::UnsafePath { .. })), "{path}");
    }
}

#[cfg(feature = "object-store")]
#[test]
fn an_object_store_is_read_as_a_disk_is() {
    use object_store::{ObjectStore, PutOptions, memory::InMemory, path::Path as Place};
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(InMemory::new());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let put = |name: &str, first| {
        let path = folder.path().join("t.parquet");
        write(&path, &table(first, 200, As::Lists), Compression::SNAPPY);
        let bytes = fs::read(path).unwrap();
        runtime.block_on(store.put_opts(&Place::from(name), bytes.into(), PutOptions::default())).unwrap();
    };
    put("lake/t/a.parquet", 0);
    let backend = ParquetBackend::in_store("s", Arc::<InMemory>::clone(&store), "memory://x/");
    backend.register("c", "lake/t", Columns::default()).unwrap();
    backend.register("one", "lake/t/a.parquet", Columns::default()).unwrap();
    backend.register("none", "lake/u", Columns::default()).unwrap();
    let before = backend.state("c").unwrap();
    assert_eq!((before.data_ref.as_str(), before.dim), ("memory://x/lake/t", 2));
    assert!(matches!(backend.state("none"), Err(Error::UnknownCollection { .. })));
    put("u.parquet", 0);
    assert_eq!(backend.list_collections().unwrap(), ["c", "lake", "none", "one", "u"]);
    assert_eq!(backend.state("u").unwrap().pieces[0].rows, 200);
    put("lake/t/b.parquet", 200);
    let after = backend.state("c").unwrap();
    assert_eq!(after.rows_since(&before), Some(200));
    assert_eq!(ids(backend.pull("c", &Pull::default()).unwrap()), (0..400).collect::<Vec<_>>());
    assert_eq!(
        ids(backend.pull("one", &Pull { skip_rows: 150, ..Pull::default() }).unwrap()),
        (150..200).collect::<Vec<_>>()
    );
    // Also from a thread of a runtime, where waiting is usually forbidden.
    let rows = runtime.block_on(async { ids(backend.pull("one", &Pull::default()).unwrap()) });
    assert_eq!(rows.len(), 200);
    let mut rows = backend.pull("c", &Pull::default()).unwrap();
    rows.next().unwrap().unwrap();
    put("lake/t/b.parquet", 900);
    assert!(rows.any(|batch| batch.is_err()), "a file that was replaced is not read on");
}

/// The names of the collections, and of those that have rows.
fn names(backend: &ParquetBackend) -> (Vec<String>, Vec<String>) {
    let all = backend.list_collections().unwrap();
    let there = all.iter().filter(|name| backend.state(name).is_ok()).cloned().collect();
    (all, there)
}

#[test]
fn files_and_folders_are_collections_by_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let rows = table(0, 10, As::Lists);
    for name in ["docs.parquet", "notes.txt", "_delta_log.parquet", ".hidden.parquet"] {
        write(&root.join(name), &rows, Compression::SNAPPY);
    }
    for name in ["pages", "_temporary", "empty"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    write(&root.join("pages/0.parquet"), &rows, Compression::SNAPPY);
    write(&root.join("_temporary/0.parquet"), &rows, Compression::SNAPPY);
    let backend = ParquetBackend::on_disk("p", root).unwrap();
    backend.register("named", "pages", Columns::default()).unwrap();
    let (all, there) = names(&backend);
    assert_eq!(all, ["docs", "empty", "named", "pages"]);
    assert_eq!(there, ["docs", "named", "pages"]);
    assert_eq!(backend.state("docs").unwrap().pieces[0].rows, 10);
    for name in ["../docs", "/docs", "a/../docs", "", "."] {
        assert!(matches!(backend.state(name), Err(Error::UnsafePath { .. })), "{name}");
    }
    for name in ["_temporary", "nothing", "empty"] {
        assert!(matches!(backend.state(name), Err(Error::UnknownCollection { .. })), "{name}");
    }
}

#[cfg(unix)]
#[test]
fn links_are_no_collections() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    write(&elsewhere.path().join("0.parquet"), &table(0, 10, As::Lists), Compression::SNAPPY);
    std::os::unix::fs::symlink(elsewhere.path(), folder.path().join("docs")).unwrap();
    let backend = ParquetBackend::on_disk("p", folder.path()).unwrap();
    assert_eq!(backend.list_collections().unwrap(), Vec::<String>::new());
    assert!(matches!(backend.state("docs"), Err(Error::UnsafePath { .. })));
}
