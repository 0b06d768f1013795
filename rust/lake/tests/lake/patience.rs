//! Searches that are stopped, and calls that are made twice.

use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ruvector_core::{Monitor, Unwatched};
use ruvector_lake::{Consistency, RuLake, SearchOptions, Targets, stats::Counters};

use crate::support::{Watched, column, exact, key, lake};

/// Says stop when it is told to.
#[derive(Default)]
struct Button(AtomicBool);

impl Button {
    fn push(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Monitor for Button {
    fn interrupted(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// A door before a backend's pulls.
#[derive(Clone, Default)]
struct Door {
    open: Arc<(Mutex<bool>, Condvar)>,
    waiting: Arc<AtomicUsize>,
}

impl Door {
    /// Closes it for the first so many pulls.
    fn before(backend: &Watched, pulls: usize) -> Self {
        let door = Self::default();
        let held = door.clone();
        *backend.before_pull.lock().unwrap() = Some(Arc::new(move || {
            if held.waiting.fetch_add(1, Ordering::SeqCst) < pulls {
                let open = held.open.0.lock().unwrap();
                drop(held.open.1.wait_while(open, |open| !*open).unwrap());
            }
        }));
        door
    }

    fn open(&self) {
        *self.open.0.lock().unwrap() = true;
        self.open.1.notify_all();
    }

    fn await_pull(&self) {
        wait_until(|| self.waiting.load(Ordering::SeqCst) > 0);
    }
}

fn wait_until(so: impl Fn() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < Duration::from_secs(60), "it never came");
        thread::sleep(Duration::from_millis(1));
    }
}

fn counters(lake: &RuLake) -> Counters {
    lake.cache_stats().counters
}

#[test]
fn nobody_waits_for_a_search_that_was_stopped() {
    let backend = Watched::with_rows("b", 20, 4);
    let (lake, door) = (lake(Consistency::Fresh, &[&backend]), Door::before(&backend, 1));
    let (targets, button) = (Targets::Keys(vec![key("b")]), Button::default());
    thread::scope(|scope| {
        let search = scope.spawn(|| lake.search(&targets, &column(1, 4, 1), &exact(1), &button));
        door.await_pull();
        button.push();
        let error = search.join().unwrap().unwrap_err();
        assert!(error.is_interrupted(), "{error}");
    });
    // The pull has not come back yet. When it does, nobody waits for it, and it leaves nothing behind.
    door.open();
    wait_until(|| counters(&lake).failures == 1);
    assert_eq!((lake.cache_stats().entries, backend.pulls(), counters(&lake).primes), (0, 1, 0));
    lake.search(&targets, &column(1, 4, 1), &exact(1), &Unwatched).unwrap();
}

#[test]
fn a_pull_goes_on_for_who_still_waits() {
    let backend = Watched::with_rows("b", 20, 4);
    let (lake, door) = (lake(Consistency::Fresh, &[&backend]), Door::before(&backend, 1));
    let (targets, button) = (Targets::Keys(vec![key("b")]), Button::default());
    thread::scope(|scope| {
        let first = scope.spawn(|| lake.search(&targets, &column(1, 4, 1), &exact(1), &button));
        door.await_pull();
        let second = scope.spawn(|| lake.search(&targets, &column(1, 4, 1), &exact(1), &Unwatched));
        wait_until(|| counters(&lake).misses == 2);
        thread::sleep(Duration::from_millis(100));
        button.push();
        assert!(first.join().unwrap().unwrap_err().is_interrupted());
        door.open();
        assert_eq!(second.join().unwrap().unwrap().hits[0].len(), 1);
    });
    assert_eq!((backend.pulls(), counters(&lake).joined), (1, 1));
}

#[test]
fn a_slow_call_is_made_twice_and_the_first_answer_counts() {
    let backend = Watched::with_rows("b", 20, 4);
    let (lake, door) = (lake(Consistency::Fresh, &[&backend]), Door::before(&backend, 1));
    let options = SearchOptions { hedge: Some(Duration::from_millis(50)), ..exact(1) };
    let answer = lake.search_one(&key("b"), &[0.0; 4], &options).unwrap();
    assert_eq!((answer.hits[0].len(), backend.pulls()), (1, 2), "the first call has not come back");
    door.open();
}
