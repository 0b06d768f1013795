//! Indexes saved and warmed, and files that somebody has tampered with.

use std::{fs, path::Path};

use ruvector_core::{Index, Metric, Pool, Unwatched, Vectors, format::Keep, index::BuildParams};
use ruvector_lake::{Bundle, Consistency, Error, SearchOptions, Settings};
use tempfile::TempDir;

use crate::support::{Watched, column, exact, ids, key, lake, numbers, settings};

const FRESH: Consistency = Consistency::Fresh;

/// A folder with an index of 50 rows whose ids are 100, 101, ..
fn saved() -> (Watched, TempDir) {
    let (backend, folder) = (Watched::with_rows("b", 50, 8), tempfile::tempdir().unwrap());
    let lake = lake(FRESH, &[&backend]);
    lake.search_one(&key("b"), &[0.0; 8], &exact(1)).unwrap();
    lake.save_cache_to_dir(&key("b"), folder.path()).unwrap();
    (backend, folder)
}

/// The index file that the bundle of a folder tells of.
fn index_of(folder: &Path) -> std::path::PathBuf {
    folder.join(Bundle::read(folder).unwrap().unwrap().bundle.index.unwrap().file)
}

fn warm(folder: &Path) -> ruvector_lake::Result<usize> {
    lake(Consistency::Frozen, &[]).warm_from_dir(&key("b"), folder)
}

/// Upstream: ids 100, 101, .. come back as 0, 1, ..
#[test]
fn what_is_warmed_answers_as_what_was_saved() {
    let (backend, folder) = saved();
    let cold = lake(FRESH, &[&backend]).search_one(&key("b"), &[0.3; 8], &SearchOptions::default()).unwrap();
    let pulls = backend.pulls();
    let lake = lake(FRESH, &[&backend]);
    assert_eq!(lake.warm_from_dir(&key("b"), folder.path()).unwrap(), 50);
    let warm = lake.search_one(&key("b"), &[0.3; 8], &SearchOptions::default()).unwrap();
    assert_eq!(warm.hits, cold.hits);
    assert!(ids(&warm).iter().all(|id| (100..150).contains(id)));
    let counters = lake.cache_stats().counters;
    assert_eq!((counters.primes, counters.warm_installs, counters.hits, backend.pulls()), (0, 1, 1, pulls));
    assert!(lake.cache_stats().bytes < 50 * 8 * 4 * 4, "the vectors stay in the file");
}

#[test]
fn a_frozen_collection_needs_no_backend() {
    let (_, folder) = saved();
    let lake = lake(Consistency::Frozen, &[]);
    lake.warm_from_dir(&key("b"), folder.path()).unwrap();
    let options = SearchOptions { cache_only: true, ..exact(2) };
    assert_eq!(lake.search_one(&key("b"), &[0.0; 8], &options).unwrap().hits[0].len(), 2);
}

/// Upstream: the second time frees the entry, and every later search fails.
#[test]
fn warming_twice_changes_nothing() {
    let (backend, folder) = saved();
    let lake = lake(FRESH, &[&backend]);
    for _ in 0..3 {
        assert_eq!(lake.warm_from_dir(&key("b"), folder.path()).unwrap(), 50);
        lake.search_one(&key("b"), &[0.0; 8], &exact(1)).unwrap();
    }
    assert_eq!((lake.cache_stats().entries, lake.cache_stats().counters.warm_installs), (1, 1));
}

/// Upstream: the sidecar is that of the backend's present state, the index that of the cache's older one.
#[test]
fn an_index_is_saved_with_the_bundle_of_its_own_rows() {
    let (backend, folder) = (Watched::with_rows("b", 50, 8), tempfile::tempdir().unwrap());
    let first = lake(FRESH, &[&backend]);
    first.search_one(&key("b"), &[0.0; 8], &exact(1)).unwrap();
    backend
        .rows
        .append("c", &numbers([1]), &Vectors::from_f32("v", 8, vec![9.0; 8].into()).unwrap())
        .unwrap();
    first.save_cache_to_dir(&key("b"), folder.path()).unwrap();
    let second = lake(FRESH, &[&backend]);
    assert_eq!(second.warm_from_dir(&key("b"), folder.path()).unwrap(), 50);
    assert_eq!(ids(&second.search_one(&key("b"), &[9.0; 8], &exact(1)).unwrap()), [1]);
}

#[test]
fn an_index_that_has_grown_is_saved_whole() {
    let (backend, folder) = (Watched::with_rows("b", 50, 8), tempfile::tempdir().unwrap());
    let lake = lake(FRESH, &[&backend]);
    lake.search_one(&key("b"), &[0.0; 8], &exact(1)).unwrap();
    backend.rows.append("c", &numbers(0..20), &column(20, 8, 3)).unwrap();
    let grown = lake.search_one(&key("b"), &[0.1; 8], &exact(70)).unwrap();
    lake.save_cache_to_dir(&key("b"), folder.path()).unwrap();
    let other = crate::support::lake(Consistency::Frozen, &[]);
    assert_eq!(other.warm_from_dir(&key("b"), folder.path()).unwrap(), 70);
    let options = SearchOptions { cache_only: true, ..exact(70) };
    assert_eq!(other.search_one(&key("b"), &[0.1; 8], &options).unwrap().hits, grown.hits);
}

#[test]
fn a_warmed_index_goes_on_with_the_rows_that_came_since() {
    let (backend, folder) = saved();
    let lake = lake(FRESH, &[&backend]);
    lake.warm_from_dir(&key("b"), folder.path()).unwrap();
    backend
        .rows
        .append("c", &numbers([1]), &Vectors::from_f32("v", 8, vec![9.0; 8].into()).unwrap())
        .unwrap();
    let pulls = backend.pulls();
    assert_eq!(ids(&lake.search_one(&key("b"), &[9.0; 8], &exact(1)).unwrap()), [1]);
    let counters = lake.cache_stats().counters;
    assert_eq!((counters.primes, counters.extensions, backend.pulls()), (0, 1, pulls + 1));
    assert_eq!(backend.skipped.load(std::sync::atomic::Ordering::SeqCst), 50, "only the new row was read");
    let other = crate::support::lake(FRESH, &[&backend]);
    other.search_one(&key("b"), &[9.0; 8], &exact(1)).unwrap();
    assert_eq!(lake.bundle_of(&key("b")), other.bundle_of(&key("b")), "the same rows and digests");
}

/// Upstream: the seed of neither the lake nor the index is compared.
#[test]
fn another_seed_or_metric_is_refused() {
    let (_, folder) = saved();
    let frozen = settings(Consistency::Frozen);
    for other in [
        Settings { rotation_seed: 43, ..frozen.clone() },
        Settings { metric: Metric::Cosine, ..frozen.clone() },
        Settings { bits: 2, ..frozen.clone() },
        Settings { rerank_factor: 21, ..frozen },
    ] {
        let lake = lake(Consistency::Frozen, &[]);
        lake.configure(&key("b"), other);
        assert!(matches!(lake.warm_from_dir(&key("b"), folder.path()), Err(Error::InvalidParameter { .. })));
    }
}

/// Upstream: any file of the right width is taken, and ids beyond its rows abort the process.
#[test]
fn a_foreign_index_is_refused() {
    let (_, folder) = saved();
    let pool = Pool::new(Some(1)).unwrap();
    let params = BuildParams { seed: 42, ..BuildParams::default() };
    let foreign =
        Index::build(column(50, 8, 8), Some(&numbers(900..950)), &params, &pool, &Unwatched).unwrap();
    foreign.save(&index_of(folder.path()), Keep::AsIs).unwrap();
    assert!(matches!(warm(folder.path()), Err(Error::WitnessMismatch { .. })));
}

#[test]
fn every_flipped_byte_is_seen() {
    let (_, folder) = saved();
    let path = index_of(folder.path());
    let good = fs::read(&path).unwrap();
    for at in (0..good.len()).step_by(97) {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
        let error = warm(folder.path()).unwrap_err();
        assert!(matches!(error, Error::WitnessMismatch { .. }), "byte {at}: {error}");
    }
    fs::write(&path, &good[..good.len() - 1]).unwrap();
    assert!(matches!(warm(folder.path()), Err(Error::WitnessMismatch { .. })));
    fs::remove_file(&path).unwrap();
    assert!(matches!(warm(folder.path()), Err(Error::InvalidFile { .. })));
}

#[test]
fn a_tampered_sidecar_is_refused_and_nothing_is_forgotten() {
    let (backend, folder) = saved();
    let lake = lake(FRESH, &[&backend]);
    lake.search_one(&key("b"), &[0.0; 8], &exact(1)).unwrap();
    let path = folder.path().join("table.rulake.json");
    let good = fs::read_to_string(&path).unwrap();
    for (from, to) in [
        ("\"generation\": 1", "\"generation\": 2"),
        ("\"file\": \"index-", "\"file\": \"../i-"),
        ("\"rows\": 50", "\"rows\": 51"),
    ] {
        assert!(good.contains(from));
        fs::write(&path, good.replace(from, to)).unwrap();
        assert!(
            matches!(
                lake.refresh_from_bundle_dir(&key("b"), folder.path()),
                Err(Error::WitnessMismatch { .. })
            ),
            "{to}"
        );
        assert!(
            matches!(lake.warm_from_dir(&key("b"), folder.path()), Err(Error::WitnessMismatch { .. })),
            "{to}"
        );
    }
    fs::write(&path, format!("{good}{}", " ".repeat(1 << 20))).unwrap();
    assert!(matches!(lake.refresh_from_bundle_dir(&key("b"), folder.path()), Err(Error::TooLarge { .. })));
    assert!(lake.cache_witness_of(&key("b")).is_some());
    fs::remove_file(&path).unwrap();
    assert!(matches!(lake.warm_from_dir(&key("b"), folder.path()), Err(Error::InvalidBundle { .. })));
}

#[cfg(unix)]
#[test]
fn links_in_a_folder_are_not_followed() {
    let (_, folder) = saved();
    let elsewhere = tempfile::tempdir().unwrap();
    let index = index_of(folder.path());
    for name in [index.file_name().unwrap().to_str().unwrap(), "table.rulake.json"] {
        let (inside, outside) = (folder.path().join(name), elsewhere.path().join(name));
        fs::rename(&inside, &outside).unwrap();
        std::os::unix::fs::symlink(&outside, &inside).unwrap();
        assert!(matches!(warm(folder.path()), Err(Error::UnsafePath { .. })), "{name}");
        fs::rename(&outside, &inside).unwrap();
    }
    warm(folder.path()).unwrap();
}

#[test]
fn nothing_is_saved_of_what_is_not_there() {
    let (backend, folder) = (Watched::new("b"), tempfile::tempdir().unwrap());
    let lake = lake(FRESH, &[&backend]);
    assert!(matches!(lake.save_cache_to_dir(&key("b"), folder.path()), Err(Error::CacheMiss { .. })));
    backend.rows.put_collection("c", &numbers([]), &column(0, 4, 1)).unwrap();
    lake.search_one(&key("b"), &[0.0; 4], &exact(1)).unwrap();
    assert!(matches!(lake.save_cache_to_dir(&key("b"), folder.path()), Err(Error::InvalidParameter { .. })));
}

#[cfg(feature = "sign")]
#[test]
fn only_trusted_bundles_are_believed() {
    use crate::support::with;
    use ruvector_lake::{RuLake, sign::Signer};
    let (backend, folder) = (Watched::with_rows("b", 20, 4), tempfile::tempdir().unwrap());
    let (friend, stranger) = (Signer::from_seed([1; 32]), Signer::from_seed([2; 32]));
    let reader = RuLake::builder().trusted(vec![friend.public_key()]).build().unwrap();
    for (signer, believed) in [(Some(friend), true), (Some(stranger), false), (None, false)] {
        let mut writer = RuLake::builder();
        if let Some(signer) = signer {
            writer = writer.signer(signer);
        }
        let writer = with(writer.build().unwrap(), &[&backend]);
        writer.search_one(&key("b"), &[0.0; 4], &exact(1)).unwrap();
        writer.save_cache_to_dir(&key("b"), folder.path()).unwrap();
        assert_eq!(reader.warm_from_dir(&key("b"), folder.path()).is_ok(), believed);
        assert_eq!(reader.refresh_from_bundle_dir(&key("b"), folder.path()).is_ok(), believed);
    }
}
