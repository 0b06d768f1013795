//! What upstream's own tests ask of a lake.

use std::{sync::Arc, thread, time::Duration};

use crate::support::{Watched, column, exact, ids, key, lake, numbers, row, with};
use ruvector_core::{
    Index, Metric, Pool, Unwatched, Vectors,
    ids::Ids,
    index::{BuildParams, SearchParams},
};
use ruvector_lake::{
    BackendOptions, Consistency, Error, Key, RefreshResult, RuLake, SearchOptions, Targets,
    backend::FsBackend,
};

const FRESH: Consistency = Consistency::Fresh;

#[test]
fn answers_are_those_of_the_index_itself() {
    let (backend, queries) = (Watched::with_rows("b", 1000, 64), column(20, 64, 1));
    let answer = lake(FRESH, &[&backend])
        .search(&Targets::Keys(vec![key("b")]), &queries, &SearchOptions::default(), &Unwatched)
        .unwrap();
    let pool = Pool::new(Some(2)).unwrap();
    let params = BuildParams { seed: 42, ..BuildParams::default() };
    let index =
        Index::build(column(1000, 64, 7), Some(&numbers(100..1100)), &params, &pool, &Unwatched).unwrap();
    let hits = index.search(&queries, &SearchParams::default(), &pool, &Unwatched).unwrap();
    for query in 0..queries.len() {
        let expected: Vec<_> =
            hits.of_query(query).map(|at| (hits.ids().get(at).to_string(), hits.distances()[at])).collect();
        let found: Vec<_> =
            answer.hits[query].iter().map(|hit| (hit.id.as_id().to_string(), hit.distance)).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn a_new_generation_is_fetched_and_an_old_one_is_not() {
    let backend = Watched::with_rows("b", 50, 4);
    let lake = lake(FRESH, &[&backend]);
    let near = [9.0; 4];
    lake.search_one(&key("b"), &near, &exact(2)).unwrap();
    lake.search_one(&key("b"), &near, &exact(2)).unwrap();
    let counters = lake.cache_stats().counters;
    assert_eq!((counters.misses, counters.hits, counters.primes), (1, 1, 1));
    backend
        .rows
        .append("c", &numbers([5000]), &Vectors::from_f32("v", 4, vec![9.0; 4].into()).unwrap())
        .unwrap();
    let answer = lake.search_one(&key("b"), &near, &exact(2)).unwrap();
    assert_eq!(ids(&answer)[0], 5000);
    assert_eq!(lake.cache_stats().counters.misses, 2);
}

#[test]
fn names_and_widths_that_are_wrong_are_refused() {
    let lake = lake(FRESH, &[&Watched::with_rows("b", 10, 4)]);
    let search = |key: &Key, dim: usize| lake.search_one(key, &vec![0.0; dim], &exact(1)).unwrap_err();
    assert!(matches!(search(&key("b"), 5), Error::DimensionMismatch { expected: 4, actual: 5, .. }));
    assert!(matches!(search(&key("x"), 4), Error::UnknownBackend { .. }));
    assert!(matches!(search(&Key::new("b", "x"), 4), Error::UnknownCollection { .. }));
    let again = lake.register_backend(Arc::new(Watched::new("b")), BackendOptions::default());
    assert!(matches!(again, Err(Error::InvalidParameter { .. })));
    assert_eq!(lake.backend_ids(), ["b"]);
}

#[test]
fn collections_of_one_place_share_an_index_and_a_pull() {
    let mut one = Watched::with_rows("one", 50, 4);
    one.data_ref = Some("shared://x".into());
    let mut two = Watched::with_rows("two", 50, 4);
    two.data_ref.clone_from(&one.data_ref);
    let lake = lake(FRESH, &[&one, &two]);
    lake.search_one(&key("one"), &[0.0; 4], &exact(1)).unwrap();
    lake.search_one(&key("two"), &[0.0; 4], &exact(1)).unwrap();
    let stats = lake.cache_stats();
    assert_eq!((stats.counters.primes, stats.counters.shared_hits, stats.entries), (1, 1, 1));
    assert_eq!(lake.cache_refcount_of(lake.cache_witness_of(&key("one")).unwrap()), 2);
    // Upstream pulls all rows before it looks into its cache.
    assert_eq!((one.pulls(), two.pulls()), (1, 0));
}

#[test]
fn recall_is_what_is_promised() {
    let backend = Watched::with_rows("b", 5000, 32);
    let (lake, queries) = (lake(FRESH, &[&backend]), column(50, 32, 3));
    let search = |options: &SearchOptions| {
        lake.search(&Targets::Keys(vec![key("b")]), &queries, options, &Unwatched).unwrap()
    };
    let (found, truth) = (search(&SearchOptions::default()), search(&exact(10)));
    let shared = |at: usize| {
        found.hits[at].iter().filter(|hit| truth.hits[at].iter().any(|other| other.id == hit.id)).count()
    };
    let recall = (0..50).map(shared).sum::<usize>() as f64 / 500.0;
    assert!(recall > 0.95, "{recall}");
}

#[test]
fn a_folder_of_files_is_searched_and_followed() {
    let folder = tempfile::tempdir().unwrap();
    let files = Arc::new(FsBackend::new("fs", folder.path()).unwrap());
    files.write("c", "c.bin", &[100, u64::MAX], &column(2, 4, 7)).unwrap();
    let lake = RuLake::builder().build().unwrap();
    lake.register_backend(Arc::<FsBackend>::clone(&files), BackendOptions::default()).unwrap();
    let nearest = || {
        let answer = lake.search_one(&key("fs"), &row(&column(2, 4, 7), 1), &exact(1)).unwrap();
        answer.hits[0][0].id.as_id().to_string()
    };
    assert_eq!((nearest(), nearest()), (u64::MAX.to_string(), u64::MAX.to_string()));
    assert_eq!(lake.cache_stats().counters.hits, 1);
    // At once: upstream would have to wait for the next second to see it.
    files.write("c", "c.bin", &[100, 999], &column(2, 4, 7)).unwrap();
    assert_eq!(nearest(), "999");
    assert_eq!(lake.cache_stats().counters.primes, 2);
}

#[test]
fn many_threads_get_right_answers() {
    let backends: Vec<Watched> = ["a", "b"].iter().map(|id| Watched::with_rows(id, 300, 8)).collect();
    let lake = lake(FRESH, &backends.iter().collect::<Vec<_>>());
    thread::scope(|scope| {
        for thread in 0..8 {
            let lake = &lake;
            scope.spawn(move || {
                let queries = column(50, 8, thread);
                for at in 0..50 {
                    let key = key(if at % 2 == 0 { "a" } else { "b" });
                    let answer = lake.search_one(&key, &row(&queries, at), &exact(5)).unwrap();
                    assert_eq!(answer.hits[0].len(), 5);
                    assert!(answer.hits[0].is_sorted_by(|a, b| a.distance <= b.distance));
                }
            });
        }
    });
    assert_eq!(lake.cache_stats().counters.primes, 2);
    assert_eq!((backends[0].pulls(), backends[1].pulls()), (1, 1));
}

#[test]
fn bundles_are_published_and_followed() {
    let (backend, folder) = (Watched::with_rows("b", 20, 4), tempfile::tempdir().unwrap());
    let (lake, key) = (lake(FRESH, &[&backend]), key("b"));
    assert_eq!(lake.refresh_from_bundle_dir(&key, folder.path()).unwrap(), RefreshResult::BundleMissing);
    let published = lake.publish_bundle(&key, folder.path()).unwrap();
    assert!(published.path.ends_with("table.rulake.json"));
    assert_eq!((lake.cache_stats().counters.primes, backend.pulls()), (0, 0));
    // Without a pointer nothing is to be done, however often one looks.
    assert_eq!(lake.refresh_from_bundle_dir(&key, folder.path()).unwrap(), RefreshResult::UpToDate);
    lake.search_one(&key, &[0.0; 4], &exact(1)).unwrap();
    assert_eq!(lake.cache_witness_of(&key), Some(published.witness));
    assert_eq!(lake.refresh_from_bundle_dir(&key, folder.path()).unwrap(), RefreshResult::UpToDate);
    backend.rows.append("c", &numbers([1]), &column(1, 4, 9)).unwrap();
    lake.publish_bundle(&key, folder.path()).unwrap();
    assert_eq!(lake.refresh_from_bundle_dir(&key, folder.path()).unwrap(), RefreshResult::Invalidated);
    assert_eq!((lake.cache_witness_of(&key), lake.cache_stats().entries), (None, 0));
    lake.search_one(&key, &[0.0; 4], &exact(1)).unwrap();
    assert_ne!(lake.cache_witness_of(&key), Some(published.witness));
}

#[test]
fn what_is_forgotten_comes_back_as_it_was() {
    let backend = Watched::with_rows("b", 200, 8);
    let (lake, key) = (lake(FRESH, &[&backend]), key("b"));
    let search = || lake.search_one(&key, &[0.1; 8], &SearchOptions::default()).unwrap();
    let before = search();
    lake.invalidate_cache(&key);
    lake.invalidate_cache(&key);
    assert_eq!(search().hits, before.hits);
    let counters = lake.cache_stats().counters;
    assert_eq!((counters.primes, counters.invalidations), (2, 1));
}

#[test]
fn a_batch_is_one_look_and_answers_as_single_queries_do() {
    let (backend, queries) = (Watched::with_rows("b", 300, 8), column(16, 8, 2));
    let (lake, key) = (lake(FRESH, &[&backend]), key("b"));
    let single: Vec<_> = (0..16)
        .map(|at| lake.search_one(&key, &row(&queries, at), &exact(3)).unwrap().hits.remove(0))
        .collect();
    let (before, states) = (lake.cache_stats().counters, backend.states());
    let batch = lake.search(&Targets::Keys(vec![key]), &queries, &exact(3), &Unwatched).unwrap();
    assert_eq!(batch.hits, single);
    let after = lake.cache_stats().counters;
    assert_eq!(
        (after.hits - before.hits, after.primes - before.primes, backend.states() - states),
        (1, 0, 1)
    );
}

#[test]
fn what_is_frozen_stays() {
    let (backend, folder) = (Watched::with_rows("b", 20, 4), tempfile::tempdir().unwrap());
    let (lake, key) = (lake(Consistency::Frozen, &[&backend]), key("b"));
    lake.search_one(&key, &[9.0; 4], &exact(1)).unwrap();
    backend
        .rows
        .append("c", &numbers([5]), &Vectors::from_f32("v", 4, vec![9.0; 4].into()).unwrap())
        .unwrap();
    for _ in 0..10 {
        assert_ne!(ids(&lake.search_one(&key, &[9.0; 4], &exact(1)).unwrap()), [5]);
    }
    assert_eq!(backend.states(), 2, "before and after the one pull");
    // Another view of the same cache, for which nothing is frozen.
    assert_eq!(ids(&lake.with_consistency(FRESH).search_one(&key, &[9.0; 4], &exact(1)).unwrap()), [5]);
    backend.rows.append("c", &numbers([6]), &column(1, 4, 3)).unwrap();
    lake.publish_bundle(&key, folder.path()).unwrap();
    assert_eq!(lake.refresh_from_bundle_dir(&key, folder.path()).unwrap(), RefreshResult::Invalidated);
}

#[test]
fn counters_tell_what_happened() {
    let (hot, cold) = (Watched::with_rows("hot", 20, 4), Watched::with_rows("cold", 20, 4));
    let lake = lake(Consistency::eventual(Duration::from_secs(60)), &[&hot, &cold]);
    assert_eq!(
        (lake.cache_stats().counters.hit_rate(), lake.cache_stats().counters.prime_time.mean()),
        (None, None)
    );
    for _ in 0..100 {
        lake.search_one(&key("hot"), &[0.0; 4], &exact(1)).unwrap();
    }
    let by_backend = lake.cache_stats_by_backend();
    assert_eq!((by_backend["hot"].hits, by_backend.contains_key("cold")), (99, false));
    let stats = lake.cache_stats();
    assert!(stats.counters.hit_rate().unwrap() >= 0.95 && stats.bytes > 20 * 4 * 4);
    assert_eq!(
        (
            stats.counters.prime_time.count(),
            stats.counters.pull_time.count(),
            stats.counters.search_time.count()
        ),
        (1, 1, 100)
    );
    assert_eq!(lake.cache_stats_by_collection()[&key("hot")].check_time.count(), 1);
    lake.reset_stats();
    assert_eq!(lake.cache_stats().counters, ruvector_lake::stats::Counters::default());
}

#[test]
fn a_collection_is_coded_as_its_settings_say() {
    let backend = Watched::with_rows("b", 50, 4);
    let (lake, key) = (lake(FRESH, &[&backend]), key("b"));
    let distance = || lake.search_one(&key, &[2.0; 4], &exact(1)).unwrap().hits[0][0].distance;
    let squared = distance();
    lake.configure(&key, ruvector_lake::Settings { metric: Metric::L2, ..crate::support::settings(FRESH) });
    assert!((distance() - squared.sqrt()).abs() < 1e-6);
    assert_eq!(lake.cache_stats().entries, 1);
}

#[test]
fn ids_of_every_kind_come_through() {
    let backend = Watched::new("b");
    let (lake, key) = (lake(FRESH, &[&backend]), key("b"));
    let texts = Ids::from_list("id", &[Arc::new(arrow_array::StringArray::from(vec!["x", "y"]))]).unwrap();
    let numbers = Ids::UInt64(vec![1 << 40, u64::MAX].into());
    for ids in [texts, numbers] {
        backend.rows.put_collection("c", &ids, &column(2, 4, 7)).unwrap();
        let answer = lake.search_one(&key, &row(&column(2, 4, 7), 1), &exact(1)).unwrap();
        assert_eq!(answer.hits[0][0].id.as_id(), ids.get(1));
        let batch = answer.to_batch().unwrap();
        assert_eq!(batch.column_by_name("id").unwrap().data_type(), &ids.id_type().data_type());
    }
    drop(with(lake, &[]));
}
