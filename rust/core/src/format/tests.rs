use std::{io, sync::Arc};

use arrow_array::{Array, ArrayRef, Int64Array, StringArray, UInt64Array};
use arrow_ipc::reader::FileReader;
use half::f16;

use super::*;
use crate::{
    Metric, Pool, Unwatched, Vectors,
    exact::Corpus,
    ids::Ids,
    index::{BuildParams, Effort, SearchParams, VectorsKept},
    ivf::{
        encode::encode_segment,
        router::{RouterParams, train_router},
    },
    kernel::Kernels,
    random::SplitMix64,
    segment::ExCodes,
};

const ROWS: usize = 500;
const DIM: usize = 24;

fn values(rows: usize, dim: usize, seed: u64) -> Vec<f32> {
    let mut random = SplitMix64::new(seed);
    (0..rows * dim).map(|_| (random.unit_f64() - 0.5) as f32).collect()
}

pub(super) fn vectors(seed: u64) -> Vectors {
    Vectors::from_f32("embedding", DIM, values(ROWS, DIM, seed).into()).unwrap()
}

fn half_vectors(seed: u64) -> Vectors {
    let halves: Vec<f16> = values(ROWS, DIM, seed).into_iter().map(f16::from_f32).collect();
    Vectors::from_f16("embedding", DIM, halves.into()).unwrap()
}

pub(super) fn ids(kind: &str) -> Option<Ids> {
    let array: ArrayRef = match kind {
        "int64" => Arc::new((0..ROWS as i64).map(|row| (row << 33) - 5).collect::<Int64Array>()),
        "uint64" => Arc::new((0..ROWS as u64).map(|row| u64::MAX - row).collect::<UInt64Array>()),
        "str" => Arc::new((0..ROWS).map(|row| Some(format!("né-{row}"))).collect::<StringArray>()),
        _ => return None,
    };
    Some(Ids::from_arrays("id", &[array], ROWS).unwrap())
}

fn build(vectors: Vectors, ids: Option<&Ids>, metric: Metric, seed: u64) -> Index {
    build_with_bits(vectors, ids, metric, seed, 1)
}

pub(super) fn build_with_bits(
    vectors: Vectors,
    ids: Option<&Ids>,
    metric: Metric,
    seed: u64,
    bits: u32,
) -> Index {
    let params = BuildParams { metric, nlist: Some(7), seed, bits };
    Index::build(vectors, ids, &params, &Pool::Inline, &Unwatched).unwrap()
}

fn answers(index: &Index) -> Vec<(String, u32)> {
    let queries = Vectors::from_f32("query", DIM, values(20, DIM, 99).into()).unwrap();
    let params = SearchParams { effort: Effort::Nprobe(4), ..SearchParams::default() };
    let hits = index.search(&queries, &params, &Pool::Inline, &Unwatched).unwrap();
    (0..hits.len()).map(|hit| (hits.ids().get(hit).to_string(), hits.distances()[hit].to_bits())).collect()
}

fn in_folder(test: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    test(folder.path());
}

#[test]
fn what_is_saved_is_what_is_opened() {
    in_folder(|folder| {
        let path = folder.join("index.rbpx");
        for (metric, kind) in Metric::ALL.into_iter().zip(["row", "int64", "uint64", "str"]) {
            let built = build(vectors(1), ids(kind).as_ref(), metric, u64::MAX - 3);
            for keep in [Keep::AsIs, Keep::F32, Keep::F16, Keep::None] {
                built.save(&path, keep).unwrap();
                let opened = Index::open(&path, true).unwrap();
                assert_eq!(opened.digest(), built.digest(), "{metric} {kind} {keep:?}");
                assert_eq!((opened.len(), opened.dim(), opened.metric()), (ROWS, DIM, metric));
                assert_eq!(opened.calibration(), built.calibration());
                assert_eq!(opened.id_type(), built.id_type());
                assert_eq!(opened.mapped_bytes() as u64, fs::metadata(&path).unwrap().len());
                assert_eq!(opened.router().rotation().seed(), u64::MAX - 3);
                assert_eq!(opened.to_bytes(Keep::AsIs).unwrap(), fs::read(&path).unwrap());
                if matches!(keep, Keep::AsIs | Keep::F32) {
                    assert_eq!(answers(&opened), answers(&built));
                }
                if keep == Keep::None {
                    assert_eq!(opened.vectors_kept(), VectorsKept::None);
                    assert_eq!(answers(&opened.with_borrowed(vectors(1)).unwrap()), answers(&built));
                }
            }
        }
    });
}

#[test]
fn codes_of_every_width_are_saved_and_opened() {
    for bits in 1..=9 {
        let built = build_with_bits(vectors(1), ids("int64").as_ref(), Metric::Ip, 5, bits);
        let opened = Index::from_bytes(built.to_bytes(Keep::None).unwrap(), true).unwrap();
        assert_eq!((opened.bits(), opened.digest()), (bits, built.digest()));
        let codes_only = Index::merge(built.router().clone(), built.segments().to_vec()).unwrap();
        let everywhere = |index: &Index| {
            let queries = Vectors::from_f32("query", DIM, values(20, DIM, 99).into()).unwrap();
            let params = SearchParams { effort: Effort::Nprobe(7), ..SearchParams::default() };
            let hits = index.search(&queries, &params, &Pool::Inline, &Unwatched).unwrap();
            hits.distances().to_vec()
        };
        assert_eq!(everywhere(&opened), everywhere(&codes_only), "{bits} bits");
        let with_vectors = Index::from_bytes(built.to_bytes(Keep::F32).unwrap(), true).unwrap();
        assert_eq!(answers(&with_vectors), answers(&built), "{bits} bits");
    }
}

#[test]
fn half_floats_stay_half_floats() {
    let built = build(half_vectors(2), None, Metric::L2, 0);
    let bytes = built.to_bytes(Keep::AsIs).unwrap();
    let opened = Index::from_bytes(bytes, true).unwrap();
    assert_eq!(opened.vectors_kept(), VectorsKept::Stored(crate::vectors::Element::F16));
    assert_eq!(answers(&opened), answers(&built));
    let wide = Index::from_bytes(opened.to_bytes(Keep::F32).unwrap(), true).unwrap();
    assert_eq!(answers(&wide), answers(&built));
    let mut wrong = values(ROWS, DIM, 3);
    wrong[7 * DIM + 2] = 70_000.0;
    let wrong = Vectors::from_f32("embedding", DIM, wrong.into()).unwrap();
    let error = build(wrong, None, Metric::L2, 0).to_bytes(Keep::F16).unwrap_err();
    assert_eq!(error.to_string(), "embedding, row 7: element 2 is 70000, beyond what f16 can hold (65504)");
}

#[test]
fn nulls_and_offsets_survive() {
    let rows: Vec<Option<Vec<Option<f32>>>> =
        (0..90).map(|row| (row % 4 != 1).then(|| vec![Some(row as f32), Some(0.5)])).collect();
    let array = arrow_array::FixedSizeListArray::from_iter_primitive::<arrow_array::types::Float32Type, _, _>(
        rows, 2,
    );
    let vectors = Vectors::from_arrays("v", &[Arc::new(array.slice(5, 80)) as ArrayRef], None).unwrap();
    let built = Index::build(vectors, None, &BuildParams::default(), &Pool::Inline, &Unwatched).unwrap();
    let opened = Index::from_bytes(built.to_bytes(Keep::AsIs).unwrap(), true).unwrap();
    assert_eq!((opened.null_count(), opened.len()), (built.null_count(), built.len()));
    assert_eq!(opened.digest(), built.digest());
}

#[test]
fn digests_tell_indexes_apart() {
    let digest = |index: &Index| index.digest().to_string();
    let all = [
        digest(&build(vectors(1), None, Metric::L2, 0)),
        digest(&build(vectors(1), None, Metric::L2Sq, 0)),
        digest(&build(vectors(1), None, Metric::L2, 1)),
        digest(&build(vectors(2), None, Metric::L2, 0)),
        digest(&build(vectors(1), ids("int64").as_ref(), Metric::L2, 0)),
        digest(&build(vectors(1), ids("str").as_ref(), Metric::L2, 0)),
        digest(&build_with_bits(vectors(1), None, Metric::L2, 0, 2)),
        digest(&build_with_bits(vectors(1), None, Metric::L2, 0, 3)),
    ];
    for (at, one) in all.iter().enumerate() {
        assert!(!all[..at].contains(one), "{at}");
    }
    assert_eq!(digest(&build(vectors(1), None, Metric::L2, 0)), all[0]);
}

/// Sixteen batches of a segment in memory: what a file with vectors looks like once it is large.
#[test]
fn batches_do_not_change_the_content() {
    let built = build_with_bits(vectors(1), ids("str").as_ref(), Metric::Cosine, 0, 4);
    let segment = &built.segments()[0];
    let ex = segment.ex.as_ref().unwrap();
    let (padded, blocks) = (built.router().padded_dim(), segment.blocks());
    let parts = (0..blocks).map(|at| crate::segment::Segment {
        list_id: segment.list_id.slice(at, 1),
        first_row: segment.first_row.slice(at, 1),
        count: segment.count.slice(at, 1),
        rows: segment.rows.slice(at..at + 1),
        ids: segment.ids.as_ref().map(|ids| ids.take_or_blank((at * 32..at * 32 + 32).map(Some))),
        bin_code: segment.bin_code.slice_with_length(at * padded * 4, padded * 4),
        f_add: segment.f_add.slice(at * 32, 32),
        f_rescale: segment.f_rescale.slice(at * 32, 32),
        f_error: segment.f_error.slice(at * 32, 32),
        scales: segment.scales.slice(at * 3, 3),
        ex: Some(ExCodes {
            ex: ex.ex,
            code: ex.code.slice_with_length(at * padded * 12, padded * 12),
            f_add: ex.f_add.slice(at * 32..at * 32 + 32),
            f_rescale: ex.f_rescale.slice(at * 32..at * 32 + 32),
            f_error: ex.f_error.slice(at * 32, 32),
        }),
        vectors: None,
    });
    let merged = Index::merge(built.router().clone(), parts.collect()).unwrap();
    let merged = merged.with_facts(0, built.calibration().clone(), 0);
    assert_eq!(merged.digest(), built.digest());
    let opened = Index::from_bytes(merged.to_bytes(Keep::None).unwrap(), true).unwrap();
    assert_eq!((opened.segments().len(), opened.digest()), (blocks, built.digest()));
    assert_eq!(answers(&opened.with_borrowed(vectors(1)).unwrap()), answers(&built));
}

#[test]
fn large_segments_are_cut_between_lists() {
    let (rows, dim) = (300, 65_535);
    let zeros = Vectors::from_f32("v", dim, vec![0.0; rows * dim].into()).unwrap();
    let params = RouterParams { metric: Metric::L2, nlist: 2, seed: 0 };
    let (kernels, pool) = (Kernels::detect().unwrap(), Pool::Inline);
    let router = train_router(&zeros, params, kernels, &pool, &Unwatched).unwrap();
    let segment = encode_segment(&zeros, None, 0, 1, &router, &pool, &Unwatched).unwrap();
    let index = Index::merge(router, vec![segment]).unwrap().with_borrowed(zeros).unwrap();
    let opened = Index::from_bytes(index.to_bytes(Keep::AsIs).unwrap(), true).unwrap();
    assert!(opened.segments().len() > 1);
    let largest = opened.segments().iter().map(|segment| segment.blocks() * 32 * dim * 4).max().unwrap();
    assert!(largest <= 64 << 20, "{largest}");
    assert_eq!(opened.digest(), index.digest());
}

#[test]
fn opening_copies_nothing() {
    let built = build(vectors(1), ids("str").as_ref(), Metric::L2, 0);
    let bytes = Buffer::from(built.to_bytes(Keep::AsIs).unwrap());
    let opened = Index::from_bytes(bytes.clone(), false).unwrap();
    let inside = |at: usize, len: usize| {
        let start = bytes.as_ptr().addr();
        at.is_multiple_of(4) && at >= start && at + len <= start + bytes.len()
    };
    let segment = &opened.segments()[0];
    let centroids = opened.router().centroids().stored();
    assert!(inside(centroids.as_ptr().addr(), centroids.inner().len()));
    assert!(inside(segment.bin_code.as_ptr().addr(), segment.bin_code.len()));
    assert!(inside(segment.f_error.as_ptr().addr(), segment.f_error.inner().len()));
    let Some(Ids::Utf8(ids)) = &segment.ids else { panic!("strings") };
    assert!(inside(ids.value_data().as_ptr().addr(), ids.value_data().len()));
    let mut scratch = [0.0; DIM];
    let first = opened.vector(0, &mut scratch).unwrap();
    assert!(inside(first.as_ptr().addr(), size_of_val(first)));
}

#[test]
fn any_arrow_reader_can_open_it() {
    let built = build(vectors(1), ids("int64").as_ref(), Metric::L2, 0);
    let reader = FileReader::try_new(io::Cursor::new(built.to_bytes(Keep::AsIs).unwrap()), None).unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    assert_eq!(batches.len(), 1);
    assert_eq!(batches[0].num_rows(), built.segments()[0].blocks());
    let stored = Index::from_bytes(built.to_bytes(Keep::AsIs).unwrap(), false).unwrap().to_batches().unwrap();
    assert_eq!(stored, batches);
    let table = built.to_batches().unwrap();
    assert_eq!(table[0].num_columns(), batches[0].num_columns() - 1);
    let codes: &dyn Array = table[0].column_by_name("bin_code").unwrap();
    let code = codes.to_data().buffers()[0].as_ptr();
    assert_eq!(code, built.segments()[0].bin_code.as_ptr());
}

#[test]
fn a_failed_save_leaves_the_old_file() {
    in_folder(|folder| {
        let path = folder.join("index.rbpx");
        let built = build(vectors(1), None, Metric::L2, 0);
        built.save(&path, Keep::None).unwrap();
        let before = fs::read(&path).unwrap();
        let codes_only = Index::open(&path, false).unwrap();
        let error = codes_only.save(&path, Keep::F32).unwrap_err();
        assert!(matches!(error, Error::InvalidParameter { .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), before);
        // Replacing the file under an index that is mapped is fine: the map keeps the old one.
        built.save(&path, Keep::F32).unwrap();
        codes_only.verify().unwrap();
        assert_eq!(fs::read_dir(folder).unwrap().count(), 1);
        let nowhere = built.save(&folder.join("no/such/folder.rbpx"), Keep::None).unwrap_err();
        assert!(matches!(&nowhere, Error::Persist { source: PersistError::Io(error), .. }
            if error.kind() == io::ErrorKind::NotFound));
        assert!(built.save(folder, Keep::None).is_err());
    });
}

#[test]
fn verifying_later_names_the_column() {
    let built = build(vectors(1), ids("str").as_ref(), Metric::L2, 0);
    built.verify().unwrap();
    let bytes = built.to_bytes(Keep::AsIs).unwrap();
    let opened = Index::from_bytes(bytes.clone(), false).unwrap();
    opened.verify().unwrap();
    let place = |part: &[u8]| bytes.windows(part.len()).position(|window| window == part).unwrap();
    let segment = &opened.segments()[0];
    let vector = match &segment.vectors {
        Some(crate::segment::StoredVectors::F32(values)) => place(&values.inner()[..32]),
        _ => panic!("f32"),
    };
    for (what, at) in
        [("bin_code", place(&segment.bin_code[..32])), ("ids", place(b"n\xC3\xA9-")), ("vectors", vector)]
    {
        let mut wrong = bytes.clone();
        wrong[at] ^= 1;
        let opened = Index::from_bytes(wrong.clone(), false).unwrap();
        let later = opened.verify().unwrap_err().to_string();
        assert!(later.starts_with(&format!("<bytes>: {what}: digest mismatch")), "{later}");
        assert_eq!(Index::from_bytes(wrong, true).unwrap_err().to_string(), later);
    }
}
