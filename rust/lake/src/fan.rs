//! The shards of a search beside each other, each waited for as long as it may take.

use std::{
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    time::Instant,
};

use ruvector_core::{Monitor, Vectors, index::SharedBounds};

use crate::{
    cancel::Cancel,
    error::{Error, Result},
    lake::RuLake,
    search::{OnError, SearchOptions, Target},
    shard::{self, Ask, Outcome},
    watch::Watch,
};

/// Runs the shards on threads of their own.
///
/// # Errors
/// The core's `Interrupted` when the monitor says so: the shards are told to stop then. What is merely late goes on,
/// for the cache.
pub(crate) fn fan_out(
    lake: &RuLake,
    targets: &[Target],
    queries: &Vectors,
    options: &SearchOptions,
    monitor: &dyn Monitor,
) -> Result<Vec<Outcome>> {
    let (began, cancel) = (Instant::now(), Cancel::default());
    let (queries, options) = (Arc::new(queries.clone()), Arc::new(options.clone()));
    let bounds = may_share(targets, &options).then(|| Arc::new(SharedBounds::new(queries.len())));
    let begin = |target: &Target| {
        let (tell, told) = mpsc::sync_channel(1);
        let (lake, key, cancel) = (lake.clone(), Arc::clone(&target.key), cancel.clone());
        let (queries, options) = (Arc::clone(&queries), Arc::clone(&options));
        let bounds = bounds.clone();
        let (optional, deadline) = (target.optional, target.deadline);
        let workers = lake.shared.workers.clone();
        workers.spawn(move || {
            let watch = Watch { key: &key, deadline, monitor: &cancel, hedge: options.hedge };
            let ask = Ask { queries: &queries, options: &options, bounds: bounds.as_deref() };
            let outcome = shard::run(&lake, ask, optional, None, watch);
            // Whoever has the answer may let go of the lake, and expect it to be gone then.
            drop(lake);
            // Nobody may be listening any more.
            drop(tell.send(outcome));
        });
        told
    };
    let waiting: Vec<mpsc::Receiver<Outcome>> = targets.iter().map(begin).collect();
    let each = targets.iter().zip(waiting);
    each.map(|(target, told)| wait(target, &told, began, &cancel, monitor)).collect()
}

/// Whether a shard may leave out what others have found nearer: only where each of them is sure to be part of the
/// answer, as it was when it told the others, or there is none.
fn may_share(targets: &[Target], options: &SearchOptions) -> bool {
    targets.len() > 1 && options.on_error == OnError::Raise && options.columns.is_none()
}

fn wait(
    target: &Target,
    told: &mpsc::Receiver<Outcome>,
    began: Instant,
    cancel: &Cancel,
    monitor: &dyn Monitor,
) -> Result<Outcome> {
    let watch = Watch { deadline: target.deadline, ..Watch::new(&target.key, monitor) };
    loop {
        let step = match watch.step() {
            Ok(step) => step,
            Err(error) if error.is_interrupted() => {
                cancel.set();
                return Err(error);
            }
            // It may have answered while another one was waited for.
            Err(error) => return Ok(told.try_recv().unwrap_or_else(|_| (Err(error), began.elapsed()))),
        };
        match told.recv_timeout(step) {
            Ok(outcome) => return Ok(outcome),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                let error = Error::backend(&target.key.backend, "the thread ended");
                return Ok((Err(error), began.elapsed()));
            }
        }
    }
}
