//! The one asynchronous runtime that there is: whoever uses the lake brings it, or it is a small one of our own.

use std::{
    collections::HashMap,
    io, process,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use tokio::runtime::{Builder, Handle, Runtime};

/// Threads of our own runtime.
const THREADS: usize = 2;

/// Where a runtime comes from. It is asked for each request, so that a forked child may get another one than its parent.
pub type Source = Arc<dyn Fn() -> io::Result<Handle> + Send + Sync>;

static SOURCE: Mutex<Option<Source>> = Mutex::new(None);

/// Says where the runtime comes from, in place of our own.
pub fn provide(source: Source) {
    *lock(&SOURCE) = Some(source);
}

/// The runtime of this process.
pub(crate) fn handle() -> io::Result<Handle> {
    let source = lock(&SOURCE).clone();
    source.map_or_else(own, |source| source())
}

/// One of our own, made when it is first needed; a forked child makes its own.
fn own() -> io::Result<Handle> {
    static RUNTIMES: OnceLock<Mutex<HashMap<u32, Runtime>>> = OnceLock::new();
    let mut runtimes = lock(RUNTIMES.get_or_init(Mutex::default));
    if let Some(runtime) = runtimes.get(&process::id()) {
        return Ok(runtime.handle().clone());
    }
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(THREADS).thread_name("ruvector-store").enable_all().build()?;
    let handle = runtime.handle().clone();
    runtimes.insert(process::id(), runtime);
    Ok(handle)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
