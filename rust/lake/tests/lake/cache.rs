//! What the cache promises when many ask, when room is short, and when rows change.

use std::{
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use ruvector_core::Vectors;
use ruvector_lake::{
    BackendOptions, Consistency, Error, Key, Limits, RuLake, SearchOptions, Settings, backend::LocalBackend,
};

use crate::support::{Watched, column, exact, ids, key, lake, numbers, row, settings, with};

const FRESH: Consistency = Consistency::Fresh;

/// Upstream: every one of them pulls, and the index ends up with no pointer that leads to it.
#[test]
fn a_cold_miss_of_many_is_one_pull() {
    for _ in 0..10 {
        let backend = Watched::with_rows("b", 100, 8);
        backend.slow(30);
        let lake = lake(FRESH, &[&backend]);
        let gate = Barrier::new(8);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    gate.wait();
                    assert_eq!(lake.search_one(&key("b"), &[0.0; 8], &exact(3)).unwrap().hits[0].len(), 3);
                });
            }
        });
        assert_eq!(backend.pulls(), 1);
        lake.search_one(&key("b"), &[0.0; 8], &exact(3)).unwrap();
        let stats = lake.cache_stats();
        assert_eq!((stats.entries, stats.counters.primes), (1, 1));
        assert_eq!(lake.cache_refcount_of(lake.cache_witness_of(&key("b")).unwrap()), 1);
    }
}

#[test]
fn a_pull_that_fails_fails_for_all_and_is_tried_again() {
    let backend = Watched::with_rows("b", 20, 4);
    let lake = lake(FRESH, &[&backend]);
    backend.breaks(Some(Error::backend("b", "the disk is on fire")));
    let error = lake.search_one(&key("b"), &[0.0; 4], &exact(1)).unwrap_err();
    assert_eq!(error.to_string(), "backend \"b\": the disk is on fire");
    backend.breaks(None);
    lake.search_one(&key("b"), &[0.0; 4], &exact(1)).unwrap();
    assert_eq!(lake.cache_stats().counters.failures, 1);
}

/// Upstream: rows that came between the bundle and the pull lie under the witness of before.
#[test]
fn rows_of_one_state_never_lie_under_the_witness_of_another() {
    let backend = Watched::with_rows("b", 20, 4);
    let mut once = true;
    *backend.during_pull.lock().unwrap() = Some(Box::new(move |rows| {
        if std::mem::take(&mut once) {
            rows.append("c", &numbers([1]), &Vectors::from_f32("v", 4, vec![9.0; 4].into()).unwrap())
                .unwrap();
        }
    }));
    let lake = lake(FRESH, &[&backend]);
    let answer = lake.search_one(&key("b"), &[9.0; 4], &exact(1)).unwrap();
    assert_eq!((ids(&answer), backend.pulls()), (vec![1], 2));
    let bundle = lake.bundle_of(&key("b")).unwrap();
    assert_eq!((bundle.generation.to_string().as_str(), bundle.content.unwrap().rows), ("2", 21));
    assert_eq!(answer.shards[0].rows, 21);
}

#[test]
fn a_collection_that_never_stands_still_is_given_up() {
    let backend = Watched::with_rows("b", 20, 4);
    let mut next = 1000;
    *backend.during_pull.lock().unwrap() = Some(Box::new(move |rows| {
        next += 1;
        rows.append("c", &numbers([next]), &column(1, 4, 3)).unwrap();
    }));
    let lake = lake(FRESH, &[&backend]);
    let error = lake.search_one(&key("b"), &[0.0; 4], &exact(1)).unwrap_err();
    assert!(matches!(error, Error::Unsettled { attempts: 3, .. }) && error.is_retryable(), "{error}");
}

#[test]
fn only_new_rows_are_pulled_and_coded() {
    let backend = Watched::with_rows("b", 500, 8);
    let (lake, key) = (lake(FRESH, &[&backend]), key("b"));
    let search = |query: &[f32]| lake.search_one(&key, query, &exact(10)).unwrap();
    search(&[0.0; 8]);
    for step in 0..5 {
        backend
            .rows
            .append("c", &numbers(1000 + step * 300..1300 + step * 300), &column(300, 8, 20 + step as u64))
            .unwrap();
        assert_eq!(ids(&search(&row(&column(300, 8, 20 + step as u64), 9)))[0], 1009 + step * 300);
    }
    let counters = lake.cache_stats().counters;
    assert_eq!((counters.primes, counters.extensions, backend.pulls()), (1, 5, 6));
    // The same rows and digests as somebody finds who reads all of them at once.
    let other = with(RuLake::builder().build().unwrap(), &[&backend]);
    let query = row(&column(1, 8, 99), 0);
    assert_eq!(other.search_one(&key, &query, &exact(10)).unwrap().hits, search(&query).hits);
    assert_eq!(other.bundle_of(&key), lake.bundle_of(&key));
    // A row that is replaced is no row at the end.
    backend.rows.upsert("c", &numbers([100]), &column(1, 8, 50)).unwrap();
    search(&query);
    assert_eq!(lake.cache_stats().counters.primes, 2);
}

/// Upstream: the cap never evicts anything.
#[test]
fn what_was_not_used_for_longest_makes_room() {
    let backend = Watched::new("b");
    let names = ["c0", "c1", "c2", "c3", "c4"];
    for name in names {
        backend.rows.put_collection(name, &numbers(0..200), &column(200, 16, 5)).unwrap();
    }
    let search =
        |lake: &RuLake, name: &str| lake.search_one(&Key::new("b", name), &[0.0; 16], &exact(1)).unwrap();
    let one = {
        let lake = lake(FRESH, &[&backend]);
        search(&lake, "c0");
        lake.cache_stats().bytes
    };
    let lake = with(RuLake::builder().max_cache_bytes(one * 5 / 2).build().unwrap(), &[&backend]);
    lake.configure(&Key::new("b", "c0"), Settings { pinned: true, ..settings(FRESH) });
    for name in names {
        search(&lake, name);
        assert!(lake.cache_stats().bytes <= one * 5 / 2);
    }
    let held: Vec<bool> = names.iter().map(|name| lake.bundle_of(&Key::new("b", *name)).is_some()).collect();
    assert_eq!(held, [true, false, false, false, true]);
    assert_eq!(lake.cache_stats().counters.evictions, 3);
    let pulls = backend.pulls();
    search(&lake, "c1");
    assert_eq!(backend.pulls(), pulls + 1, "what was evicted is fetched again");
    let capped = with(RuLake::builder().max_cache_entries(1).build().unwrap(), &[&backend]);
    for name in names {
        search(&capped, name);
        assert_eq!(capped.cache_stats().entries, 1);
    }
    let tiny = with(RuLake::builder().max_cache_bytes(1).build().unwrap(), &[&backend]);
    assert_eq!(search(&tiny, "c0").hits[0].len(), 1, "an index that has no room answers once");
    assert_eq!(tiny.cache_stats().entries, 0);
}

#[test]
fn what_leaves_the_memory_goes_to_a_file_and_answers_as_before() {
    let (backend, folder) = (Watched::new("b"), tempfile::tempdir().unwrap());
    for name in ["c0", "c1", "c2"] {
        backend.rows.put_collection(name, &numbers(50..2050), &column(2000, 32, 5)).unwrap();
    }
    let lake = RuLake::builder().max_cache_bytes(600_000).spill_to(folder.path()).build().unwrap();
    let lake = with(lake, &[&backend]);
    let search = |name: &str| {
        lake.search_one(&Key::new("b", name), &[0.2; 32], &SearchOptions::default()).unwrap().hits
    };
    let first = search("c0");
    search("c1");
    search("c2");
    let counters = lake.cache_stats().counters;
    assert_eq!((counters.evictions, counters.spills, backend.pulls()), (2, 2, 3));
    assert_eq!(search("c0"), first);
    assert_eq!(backend.pulls(), 3, "the file answers");
    assert!(lake.cache_stats().bytes <= 600_000);
    let own =
        std::fs::read_dir(folder.path()).unwrap().flatten().find(|entry| entry.path().is_dir()).unwrap();
    assert_eq!(std::fs::read_dir(own.path()).unwrap().count(), 1 + 2, "a lock and two indexes");
    // Rows are added to an index in a file, too.
    backend
        .rows
        .append("c0", &numbers([7]), &Vectors::from_f32("v", 32, vec![0.2; 32].into()).unwrap())
        .unwrap();
    assert!(search("c0")[0][0].distance.abs() < f32::EPSILON);
    assert_eq!(lake.cache_stats().counters.extensions, 1);
    drop(lake);
    assert!(!own.path().exists(), "files go with the lake");
}

#[test]
fn an_older_answer_may_be_used_while_the_new_one_is_on_its_way() {
    let backend = Watched::with_rows("b", 20, 4);
    let stale = Consistency::Eventual { ttl: Duration::ZERO, stale: Duration::from_secs(3600) };
    let lake = lake(stale, &[&backend]);
    let nearest = || ids(&lake.search_one(&key("b"), &[9.0; 4], &exact(1)).unwrap())[0];
    nearest();
    backend
        .rows
        .append("c", &numbers([1]), &Vectors::from_f32("v", 4, vec![9.0; 4].into()).unwrap())
        .unwrap();
    backend.slow(300);
    let began = Instant::now();
    assert_ne!(nearest(), 1);
    assert!(began.elapsed() < Duration::from_millis(250), "nobody waits for the pull");
    while nearest() != 1 {
        assert!(began.elapsed() < Duration::from_secs(20), "the new rows never came");
        thread::sleep(Duration::from_millis(10));
    }
    assert!(lake.cache_stats().counters.stale_hits >= 2);
    assert_eq!(backend.pulls(), 2);
}

#[test]
fn unknown_collections_are_remembered_unless_they_must_be_fresh() {
    let backend = Watched::new("b");
    let lake = RuLake::builder().unknown_ttl(Duration::from_secs(3600)).build().unwrap();
    let lake = with(lake.with_consistency(Consistency::eventual(Duration::ZERO)), &[&backend]);
    for _ in 0..3 {
        assert!(matches!(
            lake.search_one(&key("b"), &[0.0; 4], &exact(1)),
            Err(Error::UnknownCollection { .. })
        ));
    }
    assert_eq!((backend.states(), lake.cache_stats().counters.negative_hits), (1, 2));
    backend.rows.put_collection("c", &numbers([1]), &column(1, 4, 1)).unwrap();
    lake.with_consistency(FRESH).search_one(&key("b"), &[0.0; 4], &exact(1)).unwrap();
    lake.search_one(&key("b"), &[0.0; 4], &exact(1)).unwrap();
}

#[test]
fn the_cache_alone_may_be_asked() {
    let backend = Watched::with_rows("b", 20, 4);
    let lake = lake(FRESH, &[&backend]);
    let options = SearchOptions { cache_only: true, ..exact(1) };
    assert!(matches!(lake.search_one(&key("b"), &[0.0; 4], &options), Err(Error::CacheMiss { .. })));
    assert_eq!(backend.states(), 0);
    lake.search_one(&key("b"), &[0.0; 4], &exact(1)).unwrap();
    let states = backend.states();
    lake.search_one(&key("b"), &[0.0; 4], &options).unwrap();
    assert_eq!(backend.states(), states);
}

#[test]
fn what_is_too_large_is_refused_while_it_comes() {
    let backend = Watched::with_rows("b", 200, 8);
    for limits in [
        Limits { rows: 199, ..Limits::default() },
        Limits { dim: 7, ..Limits::default() },
        Limits { bytes: 6000, ..Limits::default() },
    ] {
        let lake = with(RuLake::builder().limits(limits).build().unwrap(), &[&backend]);
        let error = lake.search_one(&key("b"), &[0.0; 8], &exact(1)).unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    }
}

#[test]
fn a_handle_can_be_sent_to_other_threads() {
    fn is_sendable<T: Send + Sync + 'static>(_: &T) {}
    is_sendable(&Arc::new(lake(FRESH, &[])));
}

#[test]
fn a_backend_in_memory_is_asked_before_each_search_and_by_nobody_else() {
    let rows = LocalBackend::new("m");
    rows.put_collection("c", &numbers(0..50), &column(50, 4, 1)).unwrap();
    let lake = lake(FRESH, &[]);
    lake.register_backend(Arc::new(rows.clone()), BackendOptions::default()).unwrap();
    let search = || lake.search_one(&key("m"), &[9.0; 4], &exact(1));
    let first = ids(&search().unwrap());
    assert_eq!((ids(&search().unwrap()), ids(&search().unwrap())), (first.clone(), first));
    let counters = lake.cache_stats().counters;
    assert_eq!((counters.misses, counters.hits, counters.check_time.count()), (1, 2, 3));
    assert_eq!((counters.search_time.count(), counters.hit_rate()), (3, Some(2.0 / 3.0)));
    rows.upsert("c", &numbers([7]), &Vectors::from_f32("v", 4, vec![9.0; 4].into()).unwrap()).unwrap();
    assert_eq!(ids(&search().unwrap()), [7]);
    // A collection that is not wide enough for the query, and one that is gone.
    assert!(matches!(
        lake.search_one(&key("m"), &[9.0; 5], &exact(1)),
        Err(Error::DimensionMismatch { expected: 4, actual: 5, .. })
    ));
    rows.drop_collection("c");
    assert!(matches!(search(), Err(Error::UnknownCollection { .. })));
    let cached = SearchOptions { cache_only: true, ..exact(1) };
    assert_eq!(ids(&lake.search_one(&key("m"), &[9.0; 4], &cached).unwrap()), [7]);
}
