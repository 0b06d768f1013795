//! Doing a thing once, however many ask for it at the same time.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{
    error::{Error, Result},
    watch::Watch,
};

/// Work that is under way, by what it is for.
#[derive(Debug)]
pub(crate) struct Flights<K, T> {
    running: Mutex<HashMap<K, Arc<Flight<T>>>>,
}

#[derive(Debug)]
struct Flight<T> {
    outcome: Mutex<Option<Result<T>>>,
    landed: Condvar,
    /// How many wait for it besides whoever does it.
    waiting: AtomicUsize,
}

/// Who did the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The caller.
    Led,
    /// Somebody else, for whom the caller waited.
    Joined,
}

impl<K, T> Default for Flights<K, T> {
    fn default() -> Self {
        Self { running: Mutex::default() }
    }
}

impl<T> Default for Flight<T> {
    fn default() -> Self {
        Self { outcome: Mutex::default(), landed: Condvar::new(), waiting: AtomicUsize::new(0) }
    }
}

impl<K: Clone + Eq + Hash, T: Clone + Send + Sync> Flights<K, T> {
    /// Does the work, or waits for whoever is doing it. Who works may ask whether anybody else waits.
    ///
    /// # Errors
    /// As [`Watch::step`], while waiting.
    pub(crate) fn run(
        &self,
        key: &K,
        watch: Watch<'_>,
        work: impl FnOnce(&(dyn Fn() -> bool + Sync)) -> Result<T>,
    ) -> Result<(Result<T>, Role)> {
        let (flight, leads) = {
            let mut running = lock(&self.running);
            if let Some(flight) = running.get(key) {
                flight.waiting.fetch_add(1, Ordering::SeqCst);
                (Arc::clone(flight), false)
            } else {
                let flight = Arc::new(Flight::default());
                running.insert(key.clone(), Arc::clone(&flight));
                (flight, true)
            }
        };
        if !leads {
            let outcome = flight.wait(watch);
            flight.waiting.fetch_sub(1, Ordering::SeqCst);
            return outcome.map(|outcome| (outcome, Role::Joined));
        }
        let landing = Landing { flights: self, key, flight: &flight };
        let outcome = work(&|| flight.waiting.load(Ordering::SeqCst) > 0);
        *lock(&flight.outcome) = Some(outcome.clone());
        drop(landing);
        Ok((outcome, Role::Led))
    }
}

impl<T: Clone> Flight<T> {
    fn wait(&self, watch: Watch<'_>) -> Result<Result<T>> {
        let mut outcome = lock(&self.outcome);
        loop {
            if let Some(outcome) = &*outcome {
                return Ok(outcome.clone());
            }
            let step = watch.step()?;
            outcome = self.landed.wait_timeout(outcome, step).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Ends a flight, also one whose work panicked: nobody waits for ever.
struct Landing<'a, K: Eq + Hash, T> {
    flights: &'a Flights<K, T>,
    key: &'a K,
    flight: &'a Flight<T>,
}

impl<K: Eq + Hash, T> Drop for Landing<'_, K, T> {
    fn drop(&mut self) {
        lock(&self.flights.running).remove(self.key);
        lock(&self.flight.outcome).get_or_insert_with(|| Err(Error::backend("", "the pull panicked")));
        self.flight.landed.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
        time::Duration,
    };

    use ruvector_core::Unwatched;

    use super::*;
    use crate::{key::Key, watch::Deadline};

    #[test]
    fn work_is_done_once_for_all_who_ask() {
        let (flights, done) = (Flights::default(), AtomicUsize::new(0));
        let gate = std::sync::Barrier::new(8);
        let led = thread::scope(|scope| {
            let ask = || {
                gate.wait();
                let (outcome, role) = flights
                    .run(&"k", Watch::new(&Key::new("b", "c"), &Unwatched), |_| {
                        thread::sleep(Duration::from_millis(200));
                        Ok(done.fetch_add(1, Ordering::SeqCst))
                    })
                    .unwrap();
                assert_eq!(outcome.unwrap(), 0);
                usize::from(role == Role::Led)
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
        });
        assert_eq!((led, done.load(Ordering::SeqCst)), (1, 1));
        assert!(lock(&flights.running).is_empty());
    }

    #[test]
    fn those_who_wait_do_not_wait_for_ever() {
        let flights: Flights<&str, ()> = Flights::default();
        let began = std::sync::Barrier::new(2);
        let key = Key::new("b", "c");
        let watch = Watch::new(&key, &Unwatched);
        let late = Watch { deadline: Deadline::after(Some(Duration::ZERO)), ..watch };
        thread::scope(|scope| {
            let leader = scope.spawn(|| {
                flights.run(&"k", watch, |_| {
                    began.wait();
                    thread::sleep(Duration::from_millis(300));
                    panic!("a backend of somebody else")
                })
            });
            began.wait();
            assert!(matches!(flights.run(&"k", late, |_| Ok(())), Err(Error::Deadline { .. })));
            let (outcome, role) = flights.run(&"k", watch, |_| Ok(())).unwrap();
            assert_eq!(
                (outcome.unwrap_err().to_string().as_str(), role),
                ("backend \"\": the pull panicked", Role::Joined)
            );
            assert!(leader.join().is_err());
        });
        assert!(flights.run(&"k", watch, |_| Ok(())).unwrap().0.is_ok());
    }
}
