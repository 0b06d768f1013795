//! The page of figures, over plain HTTP on a port of its own: `GET /metrics` and `GET /healthz`.

use std::{
    convert::Infallible,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use http::{Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore};

use crate::{
    catalog::{Catalog, Source},
    metrics::Page,
    service::Shared,
};

/// Readers at once.
const READERS: usize = 16;
/// How long one may take.
const LONGEST: Duration = Duration::from_secs(10);

/// Answers whoever asks, until the runtime ends.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let readers = Arc::new(Semaphore::new(READERS));
    loop {
        let Ok(reader) = Arc::clone(&readers).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service =
                service_fn(|request| std::future::ready(Ok::<_, Infallible>(answer(&shared, &request))));
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(LONGEST).keep_alive(false);
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            let _served = tokio::time::timeout(LONGEST, connection).await;
            drop(reader);
        });
    }
}

fn answer(shared: &Shared, request: &Request<Incoming>) -> Response<String> {
    let plain = "text/plain; charset=utf-8";
    let (status, kind, text) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => {
            (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", shared.metrics.page())
        }
        (&Method::GET, "/healthz") if shared.stopping.load(Ordering::Relaxed) => {
            (StatusCode::SERVICE_UNAVAILABLE, plain, "stopping\n".to_owned())
        }
        (&Method::GET, "/healthz") => (StatusCode::OK, plain, "ok\n".to_owned()),
        (&Method::GET, _) => (StatusCode::NOT_FOUND, plain, "expected /metrics or /healthz\n".to_owned()),
        _ => (StatusCode::METHOD_NOT_ALLOWED, plain, "expected GET\n".to_owned()),
    };
    let mut response = Response::new(text);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

/// Figures of what the server is made of.
pub(crate) fn register(shared: &Arc<Shared>) {
    let of = Arc::downgrade(shared);
    shared.metrics.add(Box::new(move |page| {
        let Some(shared) = of.upgrade() else { return };
        quotas(&shared, page);
        catalog(&shared.catalog, page);
    }));
}

fn quotas(shared: &Shared, page: &mut Page) {
    let taken = shared.quotas.taken();
    page.gauge("ruvector_flight_quota_bytes", "bytes of quotas that are taken, of all clients");
    for (kind, bytes) in
        [("requests", taken.requests), ("answers", taken.answers), ("uploads", taken.uploads)]
    {
        page.value(&[("kind", kind)], bytes as f64);
    }
    page.counter("ruvector_flight_log_lines_dropped_total", "lines that the log could not keep up with");
    page.value(&[], shared.log.dropped() as f64);
}

fn catalog(catalog: &Catalog, page: &mut Page) {
    let named =
        catalog.names().into_iter().filter_map(|name| catalog.find(&name).map(|served| (name, served)));
    let indexes: Vec<_> = named
        .filter_map(|(name, served)| match &served.source {
            Source::Index(live) => Some((name, live.snapshot())),
            Source::Collection { .. } => None,
        })
        .collect();
    page.gauge("ruvector_index_rows", "rows of the indexes that are served");
    for (name, snapshot) in &indexes {
        page.value(&[("collection", name)], snapshot.len() as f64);
    }
    page.gauge("ruvector_index_memory_bytes", "bytes of memory that they take");
    for (name, snapshot) in &indexes {
        page.value(&[("collection", name)], snapshot.memory_bytes() as f64);
    }
    let Some(lake) = catalog.lake() else { return };
    let stats = lake.cache_stats();
    page.gauge("ruvector_lake_cache_entries", "indexes in the cache of the lake");
    page.value(&[], stats.entries as f64);
    page.gauge("ruvector_lake_cache_bytes", "bytes of memory that they take");
    page.value(&[], stats.bytes as f64);
    page.counter("ruvector_lake_cache_events_total", "what the cache of the lake did");
    let counters = &stats.counters;
    for (event, count) in [
        ("hit", counters.hits),
        ("stale_hit", counters.stale_hits),
        ("negative_hit", counters.negative_hits),
        ("miss", counters.misses),
        ("joined", counters.joined),
        ("shared_hit", counters.shared_hits),
        ("prime", counters.primes),
        ("extension", counters.extensions),
        ("invalidation", counters.invalidations),
        ("warm_install", counters.warm_installs),
        ("eviction", counters.evictions),
        ("spill", counters.spills),
        ("failure", counters.failures),
    ] {
        page.value(&[("event", event)], count as f64);
    }
}
