//! Files that lie. Whatever the bytes are: a typed error or an index that can be searched, at once, and no memory for
//! what a header merely claims.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    fs,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use arrow_array::{
    Array, ArrayRef, Int64Array, PrimitiveArray, RecordBatch, StringArray, UInt8Array, UInt32Array,
    UInt64Array,
    cast::AsArray,
    types::{ArrowPrimitiveType, Float16Type, UInt8Type, UInt16Type, UInt32Type},
};
use arrow_ipc::{
    MetadataVersion,
    reader::FileReader,
    root_as_footer, root_as_message,
    writer::{FileWriter, IpcWriteOptions},
};
use arrow_schema::Schema;
use half::f16;
use proptest::prelude::*;
use ruvector_core::{
    Error, Index, Metric, PersistError, Pool, Unwatched, Vectors,
    format::Keep,
    ids::Ids,
    index::{BuildParams, Effort, SearchParams},
    random::SplitMix64,
};
use serde_json::{Value, json};

const ROWS: usize = 40;
const DIM: usize = 3;
const BITS: u32 = 4;

/// Remembers the largest piece of memory that a thread asked for.
struct Watched;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: Every call is passed on to the system's allocator as it came.
#[expect(unsafe_code)]
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.with(|largest| largest.set(largest.get().max(layout.size())));
        // SAFETY: The caller keeps the promises of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: The caller keeps the promises of `GlobalAlloc::dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static MEMORY: Watched = Watched;

fn build(rows: usize, dim: usize, nlist: usize, ids: bool) -> Index {
    let mut random = SplitMix64::new(5);
    let values: Vec<f32> = (0..rows * dim).map(|_| (random.unit_f64() - 0.5) as f32).collect();
    let vectors = Vectors::from_f32("embedding", dim, values.into()).unwrap();
    let texts: ArrayRef = Arc::new((0..rows).map(|row| Some(format!("é{row}"))).collect::<StringArray>());
    let ids = ids.then(|| Ids::from_arrays("id", &[texts], rows).unwrap());
    let params = BuildParams { metric: Metric::Cosine, nlist: Some(nlist), seed: 1, bits: BITS };
    Index::build(vectors, ids.as_ref(), &params, &Pool::Inline, &Unwatched).unwrap()
}

/// A small file with every column there is.
static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| build(ROWS, DIM, 2, true).to_bytes(Keep::F32).unwrap());

/// Opens bytes; whatever opens is used in every way there is.
fn open(bytes: &[u8], verify: bool) -> Result<(), PersistError> {
    LARGEST.set(0);
    let opened = Index::from_bytes(bytes.to_vec(), verify);
    let largest = LARGEST.get();
    assert!(largest <= 4 * bytes.len() + (64 << 10), "{largest} bytes for a file of {}", bytes.len());
    let index = match opened {
        Err(Error::Persist { source, .. }) => return Err(source),
        other => other.unwrap(),
    };
    let queries = Vectors::from_f32("query", index.dim(), vec![0.5; 2 * index.dim()].into()).unwrap();
    for effort in [Effort::Recall(0.9), Effort::Nprobe(1), Effort::Exact] {
        let params = SearchParams { k: 3, effort, ..SearchParams::default() };
        let _ = index.search(&queries, &params, &Pool::Inline, &Unwatched);
    }
    let _ = (index.verify(), index.digest(), index.memory_bytes(), index.to_bytes(Keep::AsIs));
    let _ = (index.reconstruct(0, 0), index.candidates(&queries, &SearchParams::default(), &Pool::Inline));
    Ok(())
}

/// Each of many files takes less than a tenth of a second.
fn timed(what: &str, test: impl FnOnce() -> usize) {
    let start = Instant::now();
    let files = test();
    let each = start.elapsed() / u32::try_from(files).unwrap();
    assert!(each < Duration::from_millis(100), "{what}: {each:?} for each of {files}");
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    open(&FILE, true).unwrap();
    timed("cut", || {
        for len in 0..FILE.len() {
            assert!(open(&FILE[..len], false).is_err(), "{len} of {}", FILE.len());
        }
        FILE.len()
    });
}

#[test]
fn a_flipped_bit_anywhere_is_refused_or_harmless() {
    timed("flipped", || {
        let mut bytes = FILE.clone();
        for at in 0..bytes.len() {
            for bit in [at % 8, 7] {
                bytes[at] ^= 1 << bit;
                assert!(open(&bytes, true).is_err(), "byte {at}, bit {bit}");
                let _ = open(&bytes, false);
                bytes[at] ^= 1 << bit;
            }
        }
        2 * bytes.len()
    });
}

/// Every word of the footer and of the message, whatever it means.
#[test]
fn absurd_numbers_anywhere_do_no_harm() {
    const ABSURD: [u64; 8] =
        [0, 1, u64::MAX, i64::MAX as u64, 1 << 63, u32::MAX as u64, i32::MAX as u64, 0x4000_0000_0000];
    let footer = footer_start(&FILE);
    let (message, body) = batch_place(&FILE);
    timed("absurd", || {
        let mut bytes = FILE.clone();
        let places: Vec<usize> = (message..body).chain(footer..bytes.len() - 8).step_by(4).collect();
        for &at in &places {
            let before: [u8; 8] = bytes[at..at + 8].try_into().unwrap();
            for absurd in ABSURD {
                bytes[at..at + 8].copy_from_slice(&absurd.to_le_bytes());
                let _ = open(&bytes, false);
                bytes[at + 4..at + 8].copy_from_slice(&before[4..]);
                let _ = open(&bytes, false);
            }
            bytes[at..at + 8].copy_from_slice(&before);
        }
        16 * places.len()
    });
}

fn footer_start(bytes: &[u8]) -> usize {
    let end = bytes.len() - 10;
    end - i32::from_le_bytes(bytes[end..end + 4].try_into().unwrap()) as usize
}

fn batch_place(bytes: &[u8]) -> (usize, usize) {
    let footer = root_as_footer(&bytes[footer_start(bytes)..bytes.len() - 10]).unwrap();
    let block = footer.recordBatches().unwrap().get(0);
    (block.offset() as usize, block.offset() as usize + block.metaDataLength() as usize)
}

/// The places that hold lengths and offsets, one by one: none of them may be off by anything.
#[test]
fn wrong_lengths_are_refused() {
    let bytes = FILE.as_slice();
    let place = |address: usize| address - bytes.as_ptr().addr();
    let mut places = Vec::new();
    let footer = root_as_footer(&bytes[footer_start(bytes)..bytes.len() - 10]).unwrap();
    let block = place(std::ptr::from_ref(footer.recordBatches().unwrap().get(0)).addr());
    places.extend([block, block + 16]);
    let (start, body) = batch_place(bytes);
    let message = root_as_message(&bytes[start + 8..body]).unwrap();
    let batch = message.header_as_record_batch().unwrap();
    for node in &batch.nodes().unwrap() {
        let node = place(std::ptr::from_ref(node).addr());
        places.extend([node, node + 8]);
    }
    for buffer in batch.buffers().unwrap().iter().filter(|buffer| buffer.length() > 0) {
        let buffer = place(std::ptr::from_ref(buffer).addr());
        places.extend([buffer, buffer + 8]);
    }
    let mut wrong = bytes.to_vec();
    for &at in &places {
        let before: [u8; 8] = wrong[at..at + 8].try_into().unwrap();
        let value = i64::from_le_bytes(before);
        for absurd in [-1, i64::MIN, i64::MAX, value + 1, value ^ (1 << 40), value ^ (1 << 62)] {
            wrong[at..at + 8].copy_from_slice(&absurd.to_le_bytes());
            let error = open(&wrong, false).expect_err(&format!("{absurd} for {value} at {at}"));
            assert!(matches!(error, PersistError::Corrupt(_) | PersistError::NotArrow(_)), "{error}");
        }
        wrong[at..at + 8].copy_from_slice(&before);
    }
    assert!(places.len() > 60);
}

/// Writes a file anew with another header or other columns, and a digest that fits: only its content is wrong.
fn forge(header: impl FnOnce(&mut Value), change: impl Fn(RecordBatch) -> RecordBatch) -> Vec<u8> {
    let reader = FileReader::try_new(std::io::Cursor::new(FILE.as_slice()), None).unwrap();
    let batches: Vec<RecordBatch> = reader.map(|batch| change(batch.unwrap())).collect();
    let mut metadata = batches[0].schema().metadata().clone();
    let mut json: Value = serde_json::from_str(&metadata["ruvector"]).unwrap();
    header(&mut json);
    metadata.insert("ruvector".into(), json.to_string());
    seal(&Schema::new_with_metadata(batches[0].schema().fields().clone(), metadata), &batches)
}

fn seal(schema: &Schema, batches: &[RecordBatch]) -> Vec<u8> {
    let options = IpcWriteOptions::try_new(64, false, MetadataVersion::V5).unwrap();
    let mut writer = FileWriter::try_new_with_options(Vec::new(), schema, options).unwrap();
    for batch in batches {
        let columns = batch.columns().to_vec();
        writer.write(&RecordBatch::try_new(Arc::new(schema.clone()), columns).unwrap()).unwrap();
    }
    let blank = "0".repeat(64);
    writer.write_metadata("ruvector.digest", &blank);
    writer.finish().unwrap();
    let mut bytes = writer.into_inner().unwrap();
    let at = bytes.windows(64).rposition(|window| window == blank.as_bytes()).unwrap();
    let digest = blake3::hash(&bytes).to_hex();
    bytes[at..at + 64].copy_from_slice(digest.as_bytes());
    bytes
}

#[test]
fn impossible_headers_are_refused() {
    open(&forge(|_| {}, |batch| batch), true).unwrap();
    let nonsense: [(&str, Value); 31] = [
        ("/dim", json!(0)),
        ("/dim", json!(65_536)),
        ("/dim", json!(65_535)),
        ("/dim", json!(-1)),
        ("/dim", json!(4)),
        ("/padded_dim", json!(128)),
        ("/bits", json!(0)),
        ("/bits", json!(1)),
        ("/bits", json!(5)),
        ("/bits", json!(10)),
        ("/bits", json!(u32::MAX)),
        ("/row_bits", json!(0)),
        ("/row_bits", json!(33)),
        ("/row_bits", json!(9)),
        ("/nlist", json!(0)),
        ("/nlist", json!(3)),
        ("/nlist", json!(u32::MAX)),
        ("/nlist", json!(u64::MAX)),
        ("/len", json!(0)),
        ("/len", json!(u64::MAX)),
        ("/len", json!(ROWS + 1)),
        ("/metric", json!("euclid")),
        ("/id_type", json!("row")),
        ("/id_type", json!("int64")),
        ("/vectors", json!("f16")),
        ("/vectors", json!("f64")),
        ("/rotation/kind", json!("dense")),
        ("/rotation/generator_version", json!(2)),
        ("/calibration/curves", json!([{"k": 10, "points": [[u64::MAX, 0.5]]}])),
        ("/calibration/curves/0/work/0/survivors", json!(-1)),
        ("/calibration/curves/0/k", json!(0)),
    ];
    for (field, value) in nonsense {
        let forged = forge(|json| *json.pointer_mut(field).unwrap() = value.clone(), |batch| batch);
        for verify in [false, true] {
            let error = open(&forged, verify).expect_err(&format!("{field} {value}"));
            assert!(
                matches!(error, PersistError::Corrupt(_) | PersistError::NotAnIndex(_)),
                "{field}: {error}"
            );
        }
    }
}

/// As indexes wrote them before they measured the work behind their bounds.
#[test]
fn headers_without_measured_work_are_read() {
    let without = forge(
        |json| {
            for curve in json.pointer_mut("/calibration/curves").unwrap().as_array_mut().unwrap() {
                assert!(curve.as_object_mut().unwrap().remove("work").is_some());
            }
        },
        |batch| batch,
    );
    open(&without, true).unwrap();
    let opened = Index::from_bytes(without, true).unwrap();
    let curves = opened.calibration().curves();
    assert!(curves.iter().all(|curve| !curve.spread.is_empty() && curve.work.is_empty()));
}

#[test]
fn later_versions_are_named() {
    for (version, found) in [(json!(2), 2), (json!(u64::MAX), u32::MAX)] {
        let error = open(&forge(|json| *json = json!({"format_version": version}), |batch| batch), true);
        let error = error.unwrap_err();
        assert!(matches!(error, PersistError::UnsupportedVersion { found: it, supported: 1 } if it == found));
    }
}

/// One of the columns, changed; the type stays.
fn with_column(
    name: &'static str,
    change: fn(&dyn Array) -> ArrayRef,
) -> impl Fn(RecordBatch) -> RecordBatch {
    move |batch| {
        let at = batch.schema().index_of(name).unwrap();
        let mut columns = batch.columns().to_vec();
        columns[at] = change(&columns[at]);
        RecordBatch::try_new(batch.schema(), columns).unwrap()
    }
}

/// The same list column with another value in its first place.
fn with_first<T: ArrowPrimitiveType>(array: &dyn Array, value: T::Native) -> ArrayRef {
    let list = array.as_fixed_size_list();
    let mut values = list.values().as_primitive::<T>().values().to_vec();
    values[0] = value;
    let field = match list.data_type() {
        arrow_schema::DataType::FixedSizeList(field, _) => field.clone(),
        other => panic!("{other}"),
    };
    let values = Arc::new(PrimitiveArray::<T>::new(values.into(), None));
    Arc::new(arrow_array::FixedSizeListArray::new(field, list.value_length(), values, None))
}

/// The same for floats of three bytes.
fn with_first_short(array: &dyn Array, value: f32) -> ArrayRef {
    let array = array.as_fixed_size_binary();
    let mut bytes = array.values().to_vec();
    bytes[..3].copy_from_slice(&value.to_le_bytes()[1..]);
    Arc::new(arrow_array::FixedSizeBinaryArray::new(array.value_length(), bytes.into(), None))
}

/// The column of centroids with another float in place `at`: 64 of the mean come first, then the steps.
fn with_floats(array: &dyn Array, at: usize, value: f32) -> ArrayRef {
    let list = array.as_list::<i64>();
    let mut bytes = list.values().as_primitive::<UInt8Type>().values().to_vec();
    bytes[4 * at..4 * at + 4].copy_from_slice(&value.to_le_bytes());
    let field = match list.data_type() {
        arrow_schema::DataType::LargeList(field) => field.clone(),
        other => panic!("{other}"),
    };
    let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
    let values = Arc::new(UInt8Array::from(bytes));
    Arc::new(arrow_array::LargeListArray::new(field, offsets, values, nulls))
}

#[test]
fn impossible_columns_are_named() {
    let forged = |name, change| (name, forge(|_| {}, with_column(name, change)));
    let forged = [
        forged("count", |array| Arc::new(UInt8Array::from(vec![33; array.len()]))),
        forged("count", |array| Arc::new(UInt8Array::from(vec![0; array.len()]))),
        forged("list_id", |array| Arc::new(UInt32Array::from(vec![2; array.len()]))),
        forged("list_id", |array| {
            Arc::new(array.as_primitive::<UInt32Type>().iter().rev().collect::<UInt32Array>())
        }),
        forged("centroids", |array| with_floats(array, 0, f32::NAN)),
        forged("centroids", |array| with_floats(array, 64 + 1, f32::INFINITY)),
        forged("first_row", |array| Arc::new(UInt64Array::from(vec![u64::MAX; array.len()]))),
        forged("f_add", |array| with_first::<Float16Type>(array, f16::NAN)),
        forged("f_rescale", |array| with_first::<Float16Type>(array, f16::NEG_INFINITY)),
        forged("f_error", |array| with_first::<Float16Type>(array, f16::INFINITY)),
        forged("scales", |array| with_first::<UInt8Type>(array, 0)),
        forged("scales", |array| with_first::<UInt8Type>(array, 1)),
        forged("scales", |array| with_first::<UInt8Type>(array, 240)),
        forged("f_add_ex", |array| with_first_short(array, f32::NAN)),
        forged("f_rescale_ex", |array| with_first_short(array, f32::INFINITY)),
        forged("f_error_ex", |array| with_first::<UInt16Type>(array, 0x7F80)),
    ];
    for (name, bytes) in forged {
        for verify in [false, true] {
            let error = open(&bytes, verify).unwrap_err().to_string();
            assert!(error.contains(name), "{name}: {error}");
        }
    }
}

#[test]
fn foreign_files_are_refused() {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let foreign = RecordBatch::try_from_iter([("a", column)]).unwrap();
    let metadata = |json: &str| {
        Schema::new_with_metadata(
            foreign.schema().fields().clone(),
            [("ruvector".into(), json.into())].into(),
        )
    };
    let header = serde_json::to_string(&json!({"format_version": 1})).unwrap();
    let refused: [(&str, Vec<u8>); 9] = [
        ("not a ruvector index", seal(&foreign.schema(), std::slice::from_ref(&foreign))),
        ("not a ruvector index", seal(&metadata("{"), std::slice::from_ref(&foreign))),
        ("not a ruvector index", seal(&metadata("null"), std::slice::from_ref(&foreign))),
        ("not a ruvector index", seal(&metadata(&"[".repeat(100_000)), std::slice::from_ref(&foreign))),
        ("not a ruvector index", seal(&metadata(&header), std::slice::from_ref(&foreign))),
        ("not a readable arrow ipc file", Vec::new()),
        ("not a readable arrow ipc file", b"id,embedding\n1,\"[0.5, 0.5]\"\n".to_vec()),
        ("not a readable arrow ipc file", b"ARROW1\0\0ARROW1".to_vec()),
        ("footer", [b"ARROW1\0\0".as_slice(), &[0xFF; 4], b"ARROW1"].concat()),
    ];
    for (what, bytes) in refused {
        let error = open(&bytes, true).unwrap_err().to_string();
        assert!(error.contains(what), "{what}: {error}");
    }
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let kind = |path: &std::path::Path| match Index::open(path, true).unwrap_err() {
        Error::Persist { path: named, source: PersistError::Io(error) } if named == path => error.kind(),
        other => panic!("{other}"),
    };
    assert_eq!(kind(&folder.path().join("missing.rbpx")), std::io::ErrorKind::NotFound);
    assert_eq!(kind(folder.path()), std::io::ErrorKind::InvalidInput);
    let empty = folder.path().join("empty.rbpx");
    fs::write(&empty, []).unwrap();
    let error = Index::open(&empty, false).unwrap_err();
    assert!(matches!(error, Error::Persist { source: PersistError::NotArrow(_), .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]
    #[test]
    fn no_damage_panics(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
        verify: bool,
    ) {
        let mut bytes = FILE.clone();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let changed = bytes != *FILE;
        prop_assert!(open(&bytes, verify).is_err() || !verify || !changed);
    }
}
