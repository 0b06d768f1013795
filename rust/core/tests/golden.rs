//! Files of every format version, kept for good: each must open, and answer as it did when it was written.
//!
//! `RUVECTOR_BLESS=1 cargo test -p ruvector-core --test golden` writes the files of the newest version. That is right
//! only while the version has never been released; afterwards, files are added and none is changed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use std::{env, fmt::Write, fs, path::PathBuf, process::Command, sync::Arc};

use arrow_array::{ArrayRef, Int64Array, StringArray, UInt64Array};
use ruvector_core::{
    Index, Metric, Pool, Unwatched, Vectors,
    format::Keep,
    ids::Ids,
    index::{BuildParams, SearchParams, VectorsKept},
    kernel::{LEVEL_VARIABLE, Level},
    random::SplitMix64,
    vectors::Element,
};

const ROWS: usize = 100;
const DIM: usize = 20;

/// One file: what goes into it, and how its vectors are kept.
struct Golden {
    name: &'static str,
    metric: Metric,
    seed: u64,
    bits: u32,
    keep: Keep,
    kept: VectorsKept,
    ids: fn() -> ArrayRef,
}

const ALL: [Golden; 3] = [
    Golden {
        name: "numbers",
        metric: Metric::L2Sq,
        seed: u64::MAX - 1,
        bits: 1,
        keep: Keep::F32,
        kept: VectorsKept::Stored(Element::F32),
        ids: || Arc::new((0..ROWS as i64).map(|row| (row << 40) - 7).collect::<Int64Array>()),
    },
    Golden {
        name: "strings",
        metric: Metric::Cosine,
        seed: 42,
        bits: 1,
        keep: Keep::F16,
        kept: VectorsKept::Stored(Element::F16),
        ids: || Arc::new((0..ROWS).map(|row| Some(format!("row-{row}-é"))).collect::<StringArray>()),
    },
    Golden {
        name: "codes",
        metric: Metric::Ip,
        seed: 7,
        bits: 6,
        keep: Keep::None,
        kept: VectorsKept::None,
        ids: || Arc::new((0..ROWS as u64).map(|row| u64::MAX - row).collect::<UInt64Array>()),
    },
];

impl Golden {
    fn path(&self, ending: &str) -> PathBuf {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/v1");
        PathBuf::from(folder).join(format!("{}.{ending}", self.name))
    }

    fn build(&self, threads: usize) -> Index {
        let ids = Ids::from_arrays("id", &[(self.ids)()], ROWS).unwrap();
        let params = BuildParams { metric: self.metric, nlist: Some(4), seed: self.seed, bits: self.bits };
        let pool = Pool::new(Some(threads)).unwrap();
        Index::build(vectors(ROWS, 1), Some(&ids), &params, &pool, &Unwatched).unwrap()
    }
}

fn vectors(rows: usize, seed: u64) -> Vectors {
    let mut random = SplitMix64::new(seed);
    let values: Vec<f32> = (0..rows * DIM).map(|_| (random.unit_f64() * 4.0 - 2.0) as f32).collect();
    Vectors::from_f32("embedding", DIM, values.into()).unwrap()
}

/// One line per hit: query, rank, id, distance.
fn answers(index: &Index) -> String {
    let params = SearchParams { k: 5, ..SearchParams::default() };
    let hits = index.search(&vectors(8, 2), &params, &Pool::Inline, &Unwatched).unwrap();
    let mut text = String::new();
    for query in 0..hits.num_queries() {
        for (rank, hit) in hits.of_query(query).enumerate() {
            let (id, distance) = (hits.ids().get(hit), hits.distances()[hit]);
            writeln!(text, "{query} {rank} {id} {distance:?}").unwrap();
        }
    }
    text
}

fn blessing() -> bool {
    env::var_os("RUVECTOR_BLESS").is_some()
}

#[test]
fn old_files_open_and_answer_as_before() {
    for golden in ALL {
        if blessing() {
            golden.build(1).save(&golden.path("rbpx"), golden.keep).unwrap();
        }
        let opened = Index::open(&golden.path("rbpx"), true).unwrap();
        if blessing() {
            fs::write(golden.path("hits.txt"), answers(&opened)).unwrap();
        }
        assert_eq!((opened.len(), opened.dim(), opened.router().nlist()), (ROWS, DIM, 4), "{}", golden.name);
        assert_eq!((opened.metric(), opened.router().rotation().seed()), (golden.metric, golden.seed));
        assert_eq!((opened.vectors_kept(), opened.bits()), (golden.kept, golden.bits));
        assert_eq!(answers(&opened), fs::read_to_string(golden.path("hits.txt")).unwrap(), "{}", golden.name);
    }
}

/// If this fails after an update of Arrow and only the last line does, the new Arrow writes the same content in other
/// bytes. Then the golden file stays, and the last line goes.
#[test]
fn the_same_data_and_seed_make_the_same_bytes() {
    for golden in ALL.into_iter().filter(|_| !blessing()) {
        let bytes = fs::read(golden.path("rbpx")).unwrap();
        let opened = Index::from_bytes(bytes.clone(), true).unwrap();
        for threads in [1, 2, 4] {
            let built = golden.build(threads);
            assert_eq!(built.digest(), opened.digest(), "{}, {threads} threads", golden.name);
            assert_eq!(built.calibration(), opened.calibration(), "{}, {threads} threads", golden.name);
            assert!(built.to_bytes(golden.keep).unwrap() == bytes, "{}, {threads} threads", golden.name);
        }
    }
}

/// The level is read once per process, so every level gets one of its own.
#[test]
fn on_every_simd_level() {
    for level in Level::ALL.into_iter().filter(|level| level.is_available()) {
        let this = env::current_exe().unwrap();
        let tests =
            ["--exact", "old_files_open_and_answer_as_before", "the_same_data_and_seed_make_the_same_bytes"];
        let run = Command::new(this).args(tests).env(LEVEL_VARIABLE, level.name()).output().unwrap();
        let output = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success() && output.contains("2 passed"), "{}: {output}", level.name());
    }
}
