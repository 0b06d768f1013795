//! A second call beside a slow one: the first answer counts.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::{Arc, mpsc},
    time::Instant,
};

use ruvector_core::Monitor;

use crate::{
    cancel::Cancel,
    error::{Error, Result},
    watch::Watch,
    workers::Workers,
};

/// A call that may be made twice. It stops when the monitor says so.
pub(crate) type Call<T> = Arc<dyn Fn(&dyn Monitor) -> Result<T> + Send + Sync>;

/// Makes a call; a second one if the first is not done in time. When one fails the other one may still answer.
pub(crate) fn hedged<T: Send + 'static>(workers: &Workers, watch: Watch<'_>, call: &Call<T>) -> Result<T> {
    let Some(hedge) = watch.hedge else { return call(watch.monitor) };
    let (tell, told) = mpsc::channel();
    let cancel = StopOnDrop(Cancel::default());
    let begin = || {
        let (call, tell, cancel) = (Arc::clone(call), tell.clone(), cancel.0.clone());
        workers.spawn(move || {
            let done = panic::catch_unwind(AssertUnwindSafe(|| call(&cancel)));
            drop(tell.send(done.unwrap_or_else(|_| Err(Error::backend("", "the adapter panicked")))));
        });
    };
    begin();
    let (began, mut begun, mut failed) = (Instant::now(), 1, Vec::new());
    loop {
        let mut step = watch.step()?;
        if begun == 1 {
            let left = hedge.saturating_sub(began.elapsed());
            if left.is_zero() {
                begin();
                begun = 2;
            } else {
                step = step.min(left);
            }
        }
        match told.recv_timeout(step) {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(error)) => failed.push(error),
            Err(_) => {}
        }
        if failed.len() == begun {
            return Err(failed.swap_remove(0));
        }
    }
}

/// Whoever comes second is stopped.
struct StopOnDrop(Cancel);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.set();
    }
}
