//! A connection to a server, and how this process waits for what it asks.

use std::{
    mem,
    pin::pin,
    process,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use pyo3::prelude::*;
use ruvector_core::Monitor;
use ruvector_flight::{
    Client,
    client::{Options, Refused},
};
use tokio::runtime::Runtime;

use crate::{error::Result, lake::runtime::runtime};

/// How often a thread that waits looks whether it should.
const TICK: Duration = Duration::from_millis(50);

/// Where a server is, and how to reach it. The client for it lives on the runtime of the process.
pub(crate) struct Connection {
    location: String,
    options: Options,
    /// The client, and the process that it belongs to: a forked child makes its own.
    made: Mutex<Option<(u32, Client)>>,
}

impl Connection {
    /// Checks that it can be meant. Nothing is sent.
    pub(super) fn new(location: String, options: Options) -> Result<Self> {
        let connection = Self { location, options, made: Mutex::default() };
        connection.client()?;
        Ok(connection)
    }

    pub(super) fn location(&self) -> &str {
        &self.location
    }

    fn client(&self) -> Result<(Arc<Runtime>, Client)> {
        let runtime = runtime()?;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        match &*made {
            Some((process, client)) if *process == process::id() => return Ok((runtime, client.clone())),
            // Its tasks and locks are the parent's.
            _ => mem::forget(made.take()),
        }
        let entered = runtime.enter();
        let client = Client::new(&self.location, &self.options)?;
        drop(entered);
        *made = Some((process::id(), client.clone()));
        drop(made);
        Ok((runtime, client))
    }

    /// Waits without the GIL for what a server is asked. Ctrl-C, and every other signal whose handler raises, ends it.
    pub(super) fn wait<T: Send, F: Future<Output = Result<T, Refused>> + Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(Client) -> F + Send,
    ) -> Result<T> {
        let (runtime, client) = self.client()?;
        py.detach(|| {
            runtime.block_on(async {
                let mut work = pin!(work(client));
                loop {
                    if let Ok(done) = tokio::time::timeout(TICK, work.as_mut()).await {
                        return Ok(done?);
                    }
                    Python::attach(check_signals)?;
                }
            })
        })
    }

    /// The same on a thread without the GIL; `None` when the monitor says so.
    pub(super) fn watched<T, F: Future<Output = Result<T, Refused>>>(
        &self,
        monitor: &dyn Monitor,
        work: impl FnOnce(Client) -> F,
    ) -> Result<Option<T>> {
        let (runtime, client) = self.client()?;
        runtime.block_on(async {
            let mut work = pin!(work(client));
            loop {
                if let Ok(done) = tokio::time::timeout(TICK, work.as_mut()).await {
                    return Ok(Some(done?));
                }
                if monitor.interrupted() {
                    return Ok(None);
                }
            }
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner).take();
        if made.as_ref().is_some_and(|(process, _)| *process != process::id()) {
            mem::forget(made);
        }
    }
}

/// Ctrl-C, as an error. A method's path would not do for every lifetime of `py`.
fn check_signals(py: Python<'_>) -> PyResult<()> {
    py.check_signals()
}
