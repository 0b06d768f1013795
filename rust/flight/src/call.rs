//! One call from its beginning to its end: who makes it, how long it may take, what becomes of it when the client goes
//! away, and what the log and the figures tell of it.

use std::{
    panic,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::{FutureExt, Stream, future::BoxFuture};
use http::HeaderMap;
use ruvector_core::Monitor;
use ruvector_lake::Error;
use serde_json::json;
use tonic::{Code, Request, Status};

use crate::{
    auth::{Caller, Verb},
    catalog::{Served, State},
    front::Peer,
    log::{now, short},
    metrics::name,
    quota::{Quota, Share},
    service::Shared,
    status::{named, refuse, unknown},
};

/// A stream of answers.
pub(crate) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A call that is under way, from when its headers came. It is over when the last clone is gone, and counted then.
#[derive(Clone)]
pub(crate) struct Call(Arc<Running>);

struct Running {
    shared: Arc<Shared>,
    caller: Caller,
    quota: Arc<Quota>,
    method: &'static str,
    peer: Arc<str>,
    began: Instant,
    deadline: Option<Instant>,
    stopped: AtomicBool,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// What it was about, for the log.
    about: Mutex<Option<String>>,
    /// How it ended; a call that nobody waited for was cancelled.
    ended: Mutex<Option<Status>>,
    /// What its request takes of the client's quota.
    request: Mutex<Option<Share>>,
    _permit: Share,
}

impl Call {
    /// Lets a call begin, if its caller may call at all.
    pub(crate) fn admit(
        shared: &Arc<Shared>,
        method: &'static str,
        headers: &HeaderMap,
        peer: &Peer,
    ) -> Result<Self, Status> {
        let began = Instant::now();
        let refused = |caller: Option<&Caller>, status: Status| {
            let took = began.elapsed();
            shared.metrics.count(method, status.code(), took, (0, 0));
            write_line(shared, method, caller, &peer.address, None, &status, took, (0, 0));
            status
        };
        if shared.stopping.load(Ordering::Relaxed) {
            return Err(refused(None, stopping()));
        }
        let certified = peer.certified.as_ref();
        let caller = shared.doorkeeper.admit(headers, certified, &peer.address);
        let caller = caller.map_err(|status| refused(None, status))?;
        let asked = timeout(headers).map_err(|status| refused(Some(&caller), status))?;
        let quota = shared.quotas.of(&caller.client);
        let permit = quota.call().map_err(|status| refused(Some(&caller), status))?;
        let deadline =
            asked.into_iter().chain(shared.limits.deadline).min().and_then(|time| began.checked_add(time));
        shared.metrics.call_begins();
        Ok(Self(Arc::new(Running {
            shared: Arc::clone(shared),
            caller,
            quota,
            method,
            peer: Arc::clone(&peer.address),
            began,
            deadline,
            stopped: AtomicBool::new(false),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            about: Mutex::default(),
            ended: Mutex::default(),
            request: Mutex::default(),
            _permit: permit,
        })))
    }

    /// The call that a request belongs to.
    pub(crate) fn begin<T>(
        shared: &Arc<Shared>,
        method: &'static str,
        request: &Request<T>,
    ) -> Result<Self, Status> {
        request.extensions().get::<Self>().cloned().ok_or_else(|| {
            // Whoever was not let in by the front has no business here.
            let status = named(Code::Internal, "RuVectorError", "internal: a request that nobody let in");
            shared.metrics.count(method, status.code(), Duration::ZERO, (0, 0));
            status
        })
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0.shared
    }

    /// What all calls share, for what outlives this one.
    pub(crate) fn weak(&self) -> Weak<Shared> {
        Arc::downgrade(&self.0.shared)
    }

    pub(crate) fn caller(&self) -> &Caller {
        &self.0.caller
    }

    /// When it must be over.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.0.deadline
    }

    /// Says what it is about, for the log.
    pub(crate) fn about(&self, what: impl Into<String>) {
        *lock(&self.0.about) = Some(what.into());
    }

    /// What a name stands for, if the caller may do this with it.
    pub(crate) fn find(&self, verb: Verb, name: &str) -> Result<Arc<Served>, Status> {
        self.about(name);
        self.0.caller.may_with(verb, name)?;
        self.0.shared.catalog.find(name).ok_or_else(|| unknown(name))
    }

    /// The state of something that answers now, as the caller may see it.
    pub(crate) fn state(&self, served: &Served) -> Result<State, Status> {
        let catalog = &self.0.shared.catalog;
        self.compute(|monitor| catalog.state(served, self.0.caller.principal(), monitor))
    }

    /// Does what takes time, on this thread, which is a worker of the runtime: the others take its tasks meanwhile. What
    /// panics is an error of the server's.
    pub(crate) fn compute<T, E: Into<Error>>(
        &self,
        work: impl FnOnce(&dyn Monitor) -> Result<T, E>,
    ) -> Result<T, Status> {
        let running = &*self.0;
        let caught =
            tokio::task::block_in_place(|| panic::catch_unwind(panic::AssertUnwindSafe(|| work(running))));
        match caught {
            Ok(done) => done.map_err(|error| self.refusal(error.into())),
            Err(_) => Err(panicked()),
        }
    }

    /// The refusal for an error: one that came of the deadline is one of the deadline's.
    fn refusal(&self, error: Error) -> Status {
        if error.is_interrupted() && self.0.is_late() { late() } else { refuse(error) }
    }

    /// Counts bytes of the request that came.
    pub(crate) fn received(&self, bytes: usize) {
        self.0.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts bytes of the answer that went.
    pub(crate) fn sent(&self, bytes: usize) {
        self.0.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Waits until so many bytes more of the caller's requests may be in memory. The message before counts no more.
    pub(crate) fn take_in(&self, bytes: usize) -> impl Future<Output = Option<Share>> + Send + use<> {
        *lock(&self.0.request) = None;
        Arc::clone(&self.0.quota).request(bytes)
    }

    /// Holds the share of the message that comes in.
    pub(crate) fn hold(&self, share: Option<Share>) {
        *lock(&self.0.request) = share;
    }

    /// Waits until so many bytes more of answers to the caller may be in memory.
    pub(crate) fn send_out(&self, bytes: usize) -> impl Future<Output = Option<Share>> + Send + use<> {
        Arc::clone(&self.0.quota).answer(bytes)
    }

    /// A share for what of the caller's is needed longer than its message: hold it as long as the bytes.
    pub(crate) fn keep(&self, bytes: usize) -> Result<Share, Status> {
        self.0.quota.keep(bytes)
    }

    /// Stops what it is doing: nobody waits for it any more.
    pub(crate) fn stop(&self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }

    /// Waits for one answer, up to the deadline, and ends the call.
    pub(crate) async fn answer<T>(self, work: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        let guard = Stop(self.clone());
        let done = self.in_time(work).await;
        drop(guard);
        self.end(done.as_ref().err());
        done
    }

    /// The same for a call that is answered by a stream: it goes on until the stream ends or is dropped.
    pub(crate) async fn stream<T: Send + 'static>(
        self,
        work: impl Future<Output = Result<Answers<T>, Status>>,
    ) -> Result<Answers<T>, Status> {
        let guard = Stop(self.clone());
        match self.in_time(work).await {
            Err(status) => {
                self.end(Some(&status));
                Err(status)
            }
            Ok(answers) => {
                let sleep = self.0.deadline.map(|deadline| tokio::time::sleep_until(deadline.into()).boxed());
                Ok(Box::pin(Guarded { answers: Some(answers), sleep, call: guard }))
            }
        }
    }

    /// Waits up to the deadline; what panics is an error of the server's.
    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        let work = panic::AssertUnwindSafe(work).catch_unwind();
        let done = match self.0.deadline {
            None => work.await,
            Some(deadline) => match tokio::time::timeout_at(deadline.into(), work).await {
                Ok(done) => done,
                Err(_) => return Err(late()),
            },
        };
        done.unwrap_or_else(|_| Err(panicked()))
    }

    /// Says how it ended, unless that was said before.
    pub(crate) fn end(&self, status: Option<&Status>) {
        let status = || status.cloned().unwrap_or_else(|| Status::new(Code::Ok, ""));
        lock(&self.0.ended).get_or_insert_with(status);
    }
}

impl Running {
    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

impl Monitor for Running {
    fn interrupted(&self) -> bool {
        self.stopped.load(Ordering::Relaxed) || self.shared.cut.load(Ordering::Relaxed) || self.is_late()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let gone = || {
            let cut = self.shared.cut.load(Ordering::Relaxed);
            if cut { stopping() } else { named(Code::Cancelled, "RuVectorError", "the client went away") }
        };
        let status = lock(&self.ended).take().unwrap_or_else(gone);
        let bytes = (self.bytes_in.load(Ordering::Relaxed), self.bytes_out.load(Ordering::Relaxed));
        let took = self.began.elapsed();
        self.shared.metrics.call_ends();
        self.shared.metrics.count(self.method, status.code(), took, bytes);
        let about = lock(&self.about).take();
        write_line(
            &self.shared,
            self.method,
            Some(&self.caller),
            &self.peer,
            about.as_deref(),
            &status,
            took,
            bytes,
        );
    }
}

/// Stops what a call is doing when nobody waits for it any more.
struct Stop(Call);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Answers that stop at the deadline, and whose end is the call's. At the end there are none: what they hold is free then,
/// whenever the transport lets go of the stream.
struct Guarded<T> {
    answers: Option<Answers<T>>,
    sleep: Option<BoxFuture<'static, ()>>,
    call: Stop,
}

impl<T> Stream for Guarded<T> {
    type Item = Result<T, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let Some(answers) = &mut this.answers else { return Poll::Ready(None) };
        // Answers may always be ready: the deadline is looked at first.
        let late_now = this.call.0.0.is_late()
            || this.sleep.as_mut().is_some_and(|sleep| sleep.poll_unpin(context).is_ready());
        let next = if late_now {
            Some(Err(late()))
        } else {
            let poll = panic::AssertUnwindSafe(|| answers.as_mut().poll_next(context));
            match panic::catch_unwind(poll) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(next)) => next,
                Err(_) => Some(Err(panicked())),
            }
        };
        match &next {
            None => this.call.0.end(None),
            Some(Err(status)) => this.call.0.end(Some(status)),
            Some(Ok(_)) => return Poll::Ready(next),
        }
        (this.answers, this.sleep) = (None, None);
        Poll::Ready(next)
    }
}

pub(crate) fn late() -> Status {
    named(Code::DeadlineExceeded, "DeadlineExceeded", "the call took longer than it may")
}

pub(crate) fn panicked() -> Status {
    named(Code::Internal, "RuVectorError", "internal: the server panicked, please report it")
}

fn stopping() -> Status {
    named(Code::Unavailable, "BackendError", "the server is stopping")
}

/// How long the client wants to wait: the header of gRPC, a number and a unit.
fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(said) = headers.get("grpc-timeout") else { return Ok(None) };
    let read = |text: &str| {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let number: u64 = if number.len() <= 8 { number.parse().ok()? } else { return None };
        Some(match unit {
            "H" => Duration::from_secs(number * 3600),
            "M" => Duration::from_secs(number * 60),
            "S" => Duration::from_secs(number),
            "m" => Duration::from_millis(number),
            "u" => Duration::from_micros(number),
            "n" => Duration::from_nanos(number),
            _ => return None,
        })
    };
    match said.to_str().ok().and_then(read) {
        Some(time) => Ok(Some(time)),
        None => Err(crate::status::invalid("grpc-timeout", "digits and a unit", format!("{said:?}"))),
    }
}

#[expect(clippy::too_many_arguments, reason = "a line has that many fields")]
fn write_line(
    shared: &Shared,
    method: &str,
    caller: Option<&Caller>,
    peer: &str,
    about: Option<&str>,
    status: &Status,
    took: Duration,
    bytes: (u64, u64),
) {
    if !shared.log.is_on() {
        return;
    }
    shared.log.write(&json!({
        "time": now(),
        "method": method,
        "principal": caller.and_then(Caller::principal),
        "peer": peer,
        "collection": about.map(short),
        "code": name(status.code()),
        "message": short(status.message()),
        "seconds": took.as_secs_f64(),
        "bytes_in": bytes.0,
        "bytes_out": bytes.1,
    }));
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
