//! Rows that are deleted for the lake.

use std::fs;

use ruvector_core::Unwatched;
use ruvector_lake::{Bundle, Consistency, Error, Key, RefreshResult, SearchOptions, Targets, backend::Pull};

use crate::support::{Watched, column, exact, ids, key, lake, numbers};

const FRESH: Consistency = Consistency::Fresh;

fn found(lake: &ruvector_lake::RuLake) -> Vec<i64> {
    let mut found = ids(&lake.search_one(&key("b"), &[0.0; 4], &exact(100)).unwrap());
    found.sort_unstable();
    found
}

fn scanned(lake: &ruvector_lake::RuLake) -> usize {
    let pull = Pull { projection: Some(vec!["vector".into()]), ..Pull::default() };
    lake.scan(&key("b"), &pull).unwrap().map(|batch| batch.unwrap().num_rows()).sum()
}

#[test]
fn what_is_forgotten_is_gone_at_once_and_stays_gone() {
    let backend = Watched::with_rows("b", 20, 4);
    let lake = lake(FRESH, &[&backend]);
    assert_eq!(found(&lake).len(), 20);
    assert_eq!(lake.forget(&key("b"), &numbers([103, 104, 999]), None).unwrap(), 3);
    assert_eq!(lake.forget(&key("b"), &numbers([103]), None).unwrap(), 0);
    let left: Vec<i64> = (100..120).filter(|id| ![103, 104].contains(id)).collect();
    assert_eq!((found(&lake), scanned(&lake), backend.pulls()), (left, 18, 2), "no row was read for it");
    // Neither a new state nor a new index brings them back, nor a batch or the payload.
    backend.rows.append("c", &numbers([1]), &column(1, 4, 3)).unwrap();
    assert_eq!(found(&lake).len(), 19);
    lake.invalidate_cache(&key("b"));
    let options = SearchOptions { columns: Some(vec!["id".into()]), ..exact(100) };
    let answer =
        lake.search(&Targets::Everywhere("c".into()), &column(3, 4, 1), &options, &Unwatched).unwrap();
    assert_eq!(answer.payload.unwrap().num_rows(), 3 * 19);
    assert_eq!(answer.shards[0].rows, 19);
}

#[test]
fn whoever_follows_the_folder_forgets_too() {
    let (backend, folder) = (Watched::with_rows("b", 20, 4), tempfile::tempdir().unwrap());
    let (writer, reader) = (lake(FRESH, &[&backend]), lake(Consistency::Frozen, &[&backend]));
    assert_eq!((found(&writer).len(), found(&reader).len()), (20, 20));
    writer.save_cache_to_dir(&key("b"), folder.path()).unwrap();
    let before = Bundle::read(folder.path()).unwrap().unwrap().bundle;
    writer.forget(&key("b"), &numbers([100]), Some(folder.path())).unwrap();
    writer.forget(&key("b"), &numbers([101]), Some(folder.path())).unwrap();
    assert_eq!(found(&reader).len(), 20, "it has not looked yet");
    assert_eq!(reader.refresh_from_bundle_dir(&key("b"), folder.path()).unwrap(), RefreshResult::UpToDate);
    assert_eq!(found(&reader), (102..120).collect::<Vec<_>>());
    let bundle = Bundle::read(folder.path()).unwrap().unwrap().bundle;
    assert_eq!(bundle.index, before.index, "the index is not written anew");
    assert_ne!(bundle.content_witness(), before.content_witness());
    assert_eq!(bundle.witness(), before.witness());
    // Another process that is warmed from there, or publishes there, keeps them forgotten.
    let cold = lake(Consistency::Frozen, &[]);
    assert_eq!(cold.warm_from_dir(&key("b"), folder.path()).unwrap(), 20);
    assert_eq!(found(&cold), (102..120).collect::<Vec<_>>());
    let other = lake(FRESH, &[&backend]);
    other.publish_bundle(&key("b"), folder.path()).unwrap();
    let last = lake(FRESH, &[&backend]);
    last.refresh_from_bundle_dir(&key("b"), folder.path()).unwrap();
    assert_eq!(found(&last).len(), 18);
    let files = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files, 4, "bundle, index, ids and lock: nothing is left behind");
}

#[test]
fn a_list_that_somebody_changed_is_refused() {
    let (backend, folder) = (Watched::with_rows("b", 20, 4), tempfile::tempdir().unwrap());
    let lake = lake(FRESH, &[&backend]);
    lake.forget(&key("b"), &numbers([100]), Some(folder.path())).unwrap();
    let file =
        folder.path().join(Bundle::read(folder.path()).unwrap().unwrap().bundle.forgotten.unwrap().file);
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, good.replace("100", "101")).unwrap();
    let refresh = |key: &Key| crate::support::lake(FRESH, &[]).refresh_from_bundle_dir(key, folder.path());
    assert!(matches!(refresh(&key("b")), Err(Error::WitnessMismatch { .. })));
    fs::remove_file(&file).unwrap();
    assert!(matches!(refresh(&key("b")), Err(Error::InvalidBundle { .. })));
    fs::write(&file, good).unwrap();
    refresh(&key("b")).unwrap();
    // A folder of another collection is none of ours.
    backend.rows.put_collection("d", &numbers([1]), &column(1, 4, 1)).unwrap();
    lake.search_one(&Key::new("b", "d"), &[0.0; 4], &exact(1)).unwrap();
    let error = lake.forget(&Key::new("b", "d"), &numbers([1]), Some(folder.path())).unwrap_err();
    assert!(matches!(error, Error::InvalidBundle { .. }), "{error}");
}

#[test]
fn an_index_that_leaves_the_memory_takes_nothing_back() {
    let (backend, folder) = (Watched::new("b"), tempfile::tempdir().unwrap());
    for name in ["c", "d"] {
        backend.rows.put_collection(name, &numbers(0..2000), &column(2000, 32, 5)).unwrap();
    }
    let lake =
        ruvector_lake::RuLake::builder().max_cache_bytes(600_000).spill_to(folder.path()).build().unwrap();
    let lake = crate::support::with(lake, &[&backend]);
    let search = |name: &str| lake.search_one(&Key::new("b", name), &[0.2; 32], &exact(1)).unwrap();
    let nearest = ids(&search("c"));
    lake.forget(&key("b"), &numbers(nearest.clone()), None).unwrap();
    search("d");
    assert_eq!(lake.cache_stats().counters.spills, 1);
    assert_ne!(ids(&search("c")), nearest);
}
