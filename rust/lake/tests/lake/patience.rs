//! Searches that are stopped, and calls that are made twice.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use ruvector_core::{Monitor, Unwatched};
use ruvector_lake::{Consistency, SearchOptions, Targets};

use crate::support::{Watched, column, exact, key, lake};

/// Says stop after a while.
struct Until(Instant);

impl Monitor for Until {
    fn interrupted(&self) -> bool {
        Instant::now() > self.0
    }
}

fn soon() -> Until {
    Until(Instant::now() + Duration::from_millis(100))
}

#[test]
fn nobody_waits_for_a_search_that_was_stopped() {
    let backend = Watched::with_rows("b", 20, 4);
    let lake = lake(Consistency::Fresh, &[&backend]);
    backend.slow(1500);
    let targets = Targets::Keys(vec![key("b")]);
    let began = Instant::now();
    let error = lake.search(&targets, &column(1, 4, 1), &exact(1), &soon()).unwrap_err();
    assert!(error.is_interrupted(), "{error}");
    assert!(began.elapsed() < Duration::from_millis(1000));
    // The pull that nobody waits for leaves nothing behind.
    thread::sleep(Duration::from_millis(2000));
    assert_eq!((lake.cache_stats().entries, backend.pulls()), (0, 1));
    backend.slow(0);
    lake.search(&targets, &column(1, 4, 1), &exact(1), &Unwatched).unwrap();
}

#[test]
fn a_pull_goes_on_for_who_still_waits() {
    let backend = Watched::with_rows("b", 20, 4);
    let lake = lake(Consistency::Fresh, &[&backend]);
    backend.slow(700);
    let targets = Targets::Keys(vec![key("b")]);
    thread::scope(|scope| {
        let first = scope.spawn(|| lake.search(&targets, &column(1, 4, 1), &exact(1), &soon()));
        thread::sleep(Duration::from_millis(50));
        let second = scope.spawn(|| lake.search(&targets, &column(1, 4, 1), &exact(1), &Unwatched));
        assert!(first.join().unwrap().unwrap_err().is_interrupted());
        assert_eq!(second.join().unwrap().unwrap().hits[0].len(), 1);
    });
    assert_eq!(backend.pulls(), 1);
}

#[test]
fn a_slow_call_is_made_twice_and_the_first_answer_counts() {
    let backend = Watched::with_rows("b", 20, 4);
    let lake = lake(Consistency::Fresh, &[&backend]);
    // Only the first pull hangs.
    let first = AtomicBool::new(true);
    *backend.before_pull.lock().unwrap() = Some(std::sync::Arc::new(move || {
        if first.swap(false, Ordering::SeqCst) {
            thread::sleep(Duration::from_secs(3));
        }
    }));
    let options = SearchOptions { hedge: Some(Duration::from_millis(100)), ..exact(1) };
    let began = Instant::now();
    let answer = lake.search_one(&key("b"), &[0.0; 4], &options).unwrap();
    assert_eq!((answer.hits[0].len(), backend.pulls()), (1, 2));
    assert!(began.elapsed() < Duration::from_secs(2), "it waited for the first one");
}
