//! Builds that stop and are gone on with, against builds that do not stop.

use std::{fs, ops::Range, path::Path};

use arrow_array::{ArrayRef, StringArray};

use super::*;
use crate::{monitor::Unwatched, random::SplitMix64};

const DIM: usize = 20;
const ROWS: usize = 3000;

/// Some rows of a table, one in eleven of them null.
fn chunk(rows: Range<usize>, changed: Option<usize>) -> Chunk {
    let value = |row: usize, at: usize| {
        let moved = if changed == Some(row) { 0.25 } else { 0.0 };
        SplitMix64::new(5).fork((row * DIM + at) as u64).unit_f64() as f32 + moved
    };
    let values: Vec<f32> = rows.clone().flat_map(|row| (0..DIM).map(move |at| value(row, at))).collect();
    let there = Filter::from_rows(
        rows.clone().enumerate().filter(|(_, row)| row % 11 != 4).map(|(at, _)| at as u64),
        rows.len() as u64,
    );
    let texts: ArrayRef =
        std::sync::Arc::new(StringArray::from_iter_values(rows.clone().map(|row| format!("row {row}"))));
    Chunk {
        vectors: Vectors::from_f32("v", DIM, values.into()).unwrap().only(&there),
        ids: Some(Ids::from_arrays("id", &[texts], rows.len()).unwrap()),
    }
}

/// A table in chunks of `step` rows, whose source fails after `good` of them.
fn table(step: usize, good: usize, changed: Option<usize>) -> impl Iterator<Item = Result<Chunk>> {
    (0..ROWS).step_by(step).enumerate().map(move |(at, from)| {
        if at == good { Err(Error::Interrupted) } else { Ok(chunk(from..(from + step).min(ROWS), changed)) }
    })
}

fn params(folder: Option<&Path>, keep: Option<Element>) -> StreamParams {
    let build = BuildParams { nlist: Some(9), bits: 2, ..BuildParams::default() };
    StreamParams { build, keep, rows: Some(ROWS), checkpoint: folder.map(Path::to_path_buf) }
}

/// Reads the table twice; the source fails in the second pass, or in any if something was learned before.
fn twice(params: &StreamParams, step: usize, good: usize, changed: Option<usize>) -> Result<Index> {
    let begun = params.checkpoint.as_ref().is_some_and(|folder| folder.join("checkpoint.json").exists());
    let mut passes = 0..;
    let open = || {
        let learns = !begun && passes.next() == Some(0);
        Ok(table(step, if learns { usize::MAX } else { good }, changed))
    };
    Index::build_from_chunks(open, params, &Pool::Inline, &Unwatched)
}

fn once(params: &StreamParams, step: usize, good: usize) -> Result<Index> {
    Index::build_from_stream(table(step, good, None), params, &Pool::Inline, &Unwatched)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

fn in_folder(test: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    test(&folder.path().join("build"));
}

#[test]
fn a_build_that_was_stopped_goes_on_and_makes_the_same_index() {
    for keep in [None, Some(Element::F16), Some(Element::F32)] {
        in_folder(|folder| {
            let whole = twice(&params(None, keep), 170, usize::MAX, None).unwrap();
            let asked = params(Some(folder), keep);
            // While it still learns, nothing is kept.
            let first =
                Index::build_from_chunks(|| Ok(table(170, 1, None)), &asked, &Pool::Inline, &Unwatched);
            assert!(matches!(first, Err(Error::Interrupted)));
            // Each time the table is cut elsewhere, and comes a little further.
            for (step, good) in [(170, 0), (170, 7), (230, 9), (90, 30)] {
                assert!(matches!(twice(&asked, step, good, None), Err(Error::Interrupted)));
            }
            let parts = (0..5).map(|part| format!("part-{part}.rbpx"));
            let files: Vec<String> =
                ["checkpoint.json", "learned.rbpx"].map(String::from).into_iter().chain(parts).collect();
            assert_eq!(names(folder), files);
            let index = twice(&asked, 400, usize::MAX, None).unwrap();
            assert_eq!((index.digest(), index.len()), (whole.digest(), whole.len()));
            assert_eq!((index.calibration(), index.null_count()), (whole.calibration(), whole.null_count()));
            let bytes = |index: &Index| index.to_bytes(crate::format::Keep::AsIs).unwrap();
            assert!(bytes(&index) == bytes(&whole));
            assert!(!folder.exists());
        });
    }
}

#[test]
fn a_stream_that_is_read_once_is_gone_on_with_from_its_start() {
    in_folder(|folder| {
        let asked = params(Some(folder), None);
        let whole = once(&params(None, None), 100, usize::MAX).unwrap();
        assert!(once(&asked, 100, 20).is_err());
        assert!(folder.join("part-0.rbpx").exists());
        let index = once(&asked, 100, usize::MAX).unwrap();
        assert_eq!((index.digest(), index.null_count()), (whole.digest(), whole.null_count()));
        assert!(!folder.exists());
    });
}

#[test]
fn another_table_or_other_parameters_are_refused() {
    in_folder(|folder| {
        let asked = params(Some(folder), None);
        assert!(once(&asked, 100, 20).is_err());
        let before = names(folder);
        let message = |result: Result<Index>| result.unwrap_err().to_string();
        let changed = message(twice(&asked, 100, usize::MAX, Some(3)));
        assert!(changed.starts_with("checkpoint: expected a table that begins with the "), "{changed}");
        assert!(changed.ends_with(" rows coded so far, got other rows"), "{changed}");
        let short = Index::build_from_stream(table(100, 99, None).take(2), &asked, &Pool::Inline, &Unwatched);
        assert!(message(short).ends_with("got one of 200 rows"));
        let more_bits = BuildParams { bits: 3, ..asked.build };
        let other = message(once(&StreamParams { build: more_bits, ..asked.clone() }, 100, usize::MAX));
        assert!(other.contains("bits=2, nlist=9") && other.contains("bits=3, nlist=9"), "{other}");
        let kept = message(once(&params(Some(folder), Some(Element::F16)), 100, usize::MAX));
        assert!(kept.contains("vectors=none") && kept.contains("vectors=f16"), "{kept}");
        assert_eq!(names(folder), before, "nothing is lost");
        assert!(once(&asked, 100, usize::MAX).is_ok());
    });
}

#[test]
fn files_that_are_damaged_are_named() {
    for name in ["checkpoint.json", "learned.rbpx", "part-0.rbpx"] {
        in_folder(|folder| {
            let asked = params(Some(folder), None);
            assert!(once(&asked, 100, 20).is_err());
            let path = folder.join(name);
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x80;
            fs::write(&path, bytes).unwrap();
            let error = once(&asked, 100, usize::MAX).unwrap_err();
            assert!(matches!(&error, Error::Persist { .. }) && error.to_string().contains(name), "{error}");
        });
    }
}

#[test]
fn what_else_lies_in_the_folder_stays() {
    in_folder(|folder| {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("notes.txt"), "mine").unwrap();
        once(&params(Some(folder), None), 500, usize::MAX).unwrap();
        assert_eq!(names(folder), ["notes.txt"]);
        let taken = folder.join("notes.txt");
        assert!(matches!(once(&params(Some(&taken), None), 500, usize::MAX), Err(Error::Persist { .. })));
    });
}
