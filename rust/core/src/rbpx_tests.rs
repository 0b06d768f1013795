use proptest::prelude::*;

use super::*;

fn table(rows: usize, dim: usize) -> Table {
    let ids = (0..rows).map(|row| 13 * row as i64 + 7).collect::<Vec<_>>();
    let values = (0..rows * dim).map(|at| (at as f32).sin()).collect::<Vec<_>>();
    let vectors = Vectors::from_f32("vectors", dim, values.into()).unwrap();
    Table { seed: 0x0123_4567_89AB_CDEF, rerank_factor: 20, ids: Ids::Int64(ids.into()), vectors }
}

fn written(table: &Table) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.rbpx");
    write(&path, table).unwrap();
    assert!(is_rbpx(&path));
    std::fs::read(path).unwrap()
}

fn parse(bytes: &[u8]) -> Result<Table, PersistError> {
    read_from(&mut &bytes[..], bytes.len() as u64)
}

fn reason(bytes: &[u8]) -> String {
    parse(bytes).unwrap_err().to_string()
}

/// The same bytes with others from `at` on.
fn with(bytes: &[u8], at: usize, patch: &[u8]) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    changed[at..at + patch.len()].copy_from_slice(patch);
    changed
}

#[test]
fn the_bytes_are_those_of_the_format() {
    let mut small = table(2, 3);
    small.vectors =
        Vectors::from_f32("vectors", 3, vec![1.0, -2.0, 0.5, 0.0, 1e-40, f32::MIN_POSITIVE].into()).unwrap();
    let mut expected =
        b"rbpx0001\x01\0\0\0\x03\0\0\0\xEF\xCD\xAB\x89\x67\x45\x23\x01\x14\0\0\0\x02\0\0\0".to_vec();
    expected.extend(7_u32.to_le_bytes());
    expected.extend([1.0_f32, -2.0, 0.5].iter().flat_map(|value| value.to_le_bytes()));
    expected.extend(20_u32.to_le_bytes());
    expected.extend([0.0_f32, 1e-40, f32::MIN_POSITIVE].iter().flat_map(|value| value.to_le_bytes()));
    assert_eq!(written(&small), expected);
}

#[test]
fn what_was_written_is_read() {
    for (rows, dim) in [(0, 1), (1, 1), (5, 3), (100, 32), (3, MAX_DIM)] {
        let before = table(rows, dim);
        let bytes = written(&before);
        assert_eq!(bytes.len(), 32 + rows * (4 + 4 * dim));
        let after = parse(&bytes).unwrap();
        assert_eq!((after.seed, after.rerank_factor), (before.seed, 20));
        assert_eq!((after.vectors.len(), after.vectors.dim()), (rows, dim));
        assert_eq!(after.ids.as_array().to_data(), before.ids.as_array().to_data());
        let (mut one, mut two) = (vec![0.0; dim], vec![0.0; dim]);
        for row in 0..rows {
            assert_eq!(before.vectors.row(row, &mut one), after.vectors.row(row, &mut two));
        }
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    let good = written(&table(4, 3));
    let cases: [(usize, &[u8], &str); 14] = [
        (0, b"rbpx0002", "not a ruvector index"),
        (0, b"ARROW1\0\0", "not a ruvector index"),
        (8, &0_u32.to_le_bytes(), "version: expected 1, got 0"),
        (8, &2_u32.to_le_bytes(), "format version 2 is newer than 1"),
        (12, &0_u32.to_le_bytes(), "dim: expected 1 to 8192, got 0"),
        (12, &8193_u32.to_le_bytes(), "dim: expected 1 to 8192, got 8193"),
        (24, &0_u32.to_le_bytes(), "rerank factor: expected 1 to 1024, got 0"),
        (24, &1025_u32.to_le_bytes(), "rerank factor: expected 1 to 1024, got 1025"),
        (28, &100_000_001_u32.to_le_bytes(), "rows: expected 0 to 100000000"),
        (
            28,
            &100_000_000_u32.to_le_bytes(),
            "100000000 rows of 3 dimensions take 1600000032 bytes, the file has 96",
        ),
        (28, &3_u32.to_le_bytes(), "3 rows of 3 dimensions take 80 bytes, the file has 96"),
        (48, &7_u32.to_le_bytes(), "row 1: its id 7 is that of an earlier row"),
        (36, &f32::NAN.to_le_bytes(), "row 0: element 0 is NaN"),
        (60, &f32::INFINITY.to_le_bytes(), "row 1: element 2 is inf"),
    ];
    for (at, patch, expected) in cases {
        let found = reason(&with(&good, at, patch));
        assert!(found.contains(expected), "{at}: {found}");
    }
    assert!(reason(&with(&good, 36, &f32::MAX.to_le_bytes())).contains("has a length above"));
    assert!(reason(&[&good[..], &[0]].concat()).contains("the file has 97"));
}

/// A file that is cut while it is read: its length was believed, its end comes as a surprise.
#[test]
fn a_short_read_is_refused() {
    let good = written(&table(4, 3));
    for end in 0..good.len() {
        assert!(parse(&good[..end]).is_err(), "{end}");
        let error = read_from(&mut &good[..end], good.len() as u64).unwrap_err().to_string();
        assert!(error.contains("it ends within"), "{end}: {error}");
    }
}

#[test]
fn what_the_format_cannot_hold_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.rbpx");
    let refused = |table: &Table| write(&path, table).unwrap_err().to_string();
    let good = table(2, 3);
    let ids = |ids: Vec<i64>| Table { ids: Ids::Int64(ids.into()), ..good.clone() };
    assert!(refused(&ids(vec![1, 1 << 32])).contains("0 to 4294967295"));
    assert!(refused(&ids(vec![-1, 1])).contains("got -1"));
    assert!(refused(&ids(vec![1])).contains("one id per vector (2)"));
    assert!(refused(&ids(vec![1, 1])).contains("duplicate id 1"));
    assert!(refused(&Table { ids: Ids::Utf8(vec!["a", "b"].into()), ..good.clone() }).contains("\"a\""));
    assert!(refused(&Table { rerank_factor: 0, ..good.clone() }).contains("1 to 1024"));
    assert!(refused(&Table { rerank_factor: 1025, ..good.clone() }).contains("1 to 1024"));
    assert!(refused(&table(1, MAX_DIM + 1)).contains("1 to 8192"));
    let infinite = Vectors::from_f32("vectors", 3, vec![f32::INFINITY; 6].into()).unwrap();
    assert!(refused(&Table { vectors: infinite, ..good }).contains("finite"));
    assert!(!path.exists());
}

#[test]
fn a_file_that_is_not_there_says_so() {
    let path = Path::new("/nowhere/table.rbpx");
    assert!(!is_rbpx(path));
    assert!(read(path).unwrap_err().to_string().contains("/nowhere/table.rbpx"));
    assert!(write(path, &table(1, 1)).unwrap_err().to_string().contains("cannot write into /nowhere"));
}

proptest! {
    /// Whatever is done to a file, it is refused or read as a table that could have been written.
    #[test]
    fn no_bytes_do_harm(flips in prop::collection::vec((0_usize..256, 0_u8..8), 1..6), cut in 0_usize..300) {
        let mut bytes = written(&table(7, 8));
        let len = bytes.len();
        for (at, bit) in flips {
            bytes[at % len] ^= 1 << bit;
        }
        bytes.truncate(cut.max(1));
        if let Ok(found) = parse(&bytes) {
            prop_assert_eq!(written(&found), bytes);
        }
    }

    #[test]
    fn no_header_does_harm(rest in prop::collection::vec(any::<u8>(), 0..120)) {
        let bytes = [&MAGIC[..], &rest].concat();
        if let Ok(found) = parse(&bytes) {
            prop_assert_eq!(written(&found), bytes);
        }
    }
}
