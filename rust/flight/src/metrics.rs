//! What the server did and what it is doing, as figures that Prometheus reads.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tonic::Code;

/// The upper bounds of the histogram of durations, in seconds.
const BOUNDS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Counters, and what adds figures of its own when they are read.
#[derive(Default)]
pub(crate) struct Metrics {
    calls: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    methods: Mutex<BTreeMap<&'static str, Method>>,
    refused: Mutex<BTreeMap<&'static str, u64>>,
    under_way: AtomicU64,
    connections: AtomicU64,
    all_connections: AtomicU64,
    others: Mutex<Vec<Figures>>,
}

/// Adds figures to a page.
pub(crate) type Figures = Box<dyn Fn(&mut Page) + Send + Sync>;

#[derive(Clone, Copy, Debug, Default)]
struct Method {
    buckets: [u64; BOUNDS.len()],
    calls: u64,
    seconds: f64,
    bytes_in: u64,
    bytes_out: u64,
}

impl Metrics {
    /// Counts a call that is over.
    pub(crate) fn count(&self, method: &'static str, code: Code, took: Duration, bytes: (u64, u64)) {
        *lock(&self.calls).entry((method, name(code))).or_default() += 1;
        let mut methods = lock(&self.methods);
        let row = methods.entry(method).or_default();
        let seconds = took.as_secs_f64();
        row.calls += 1;
        row.seconds += seconds;
        row.bytes_in += bytes.0;
        row.bytes_out += bytes.1;
        if let Some(bucket) = BOUNDS.iter().position(|&bound| seconds <= bound) {
            row.buckets[bucket] += 1;
        }
    }

    /// A call begins.
    pub(crate) fn call_begins(&self) {
        self.under_way.fetch_add(1, Ordering::Relaxed);
    }

    /// A call is over.
    pub(crate) fn call_ends(&self) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }

    /// Calls that are under way.
    pub(crate) fn under_way(&self) -> u64 {
        self.under_way.load(Ordering::Relaxed)
    }

    /// A connection begins.
    pub(crate) fn connection_begins(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.all_connections.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection is over.
    pub(crate) fn connection_ends(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Connections that are open.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Counts a connection that never got to a call.
    pub(crate) fn refuse(&self, why: &'static str) {
        *lock(&self.refused).entry(why).or_default() += 1;
    }

    /// Figures of others, which are asked for whenever the page is read.
    pub(crate) fn add(&self, figures: Figures) {
        lock(&self.others).push(figures);
    }

    /// All figures, in the text format of Prometheus, version 0.0.4.
    pub(crate) fn page(&self) -> String {
        let mut page = Page::default();
        page.counter("ruvector_flight_calls_total", "calls that are over");
        for ((method, code), calls) in &*lock(&self.calls) {
            page.value(&[("method", method), ("code", code)], *calls as f64);
        }
        let methods = lock(&self.methods).clone();
        page.head("ruvector_flight_call_seconds", "histogram", "how long calls took");
        for (method, row) in &methods {
            page.histogram(method, row);
        }
        page.counter("ruvector_flight_received_bytes_total", "bytes of requests");
        for (method, row) in &methods {
            page.value(&[("method", method)], row.bytes_in as f64);
        }
        page.counter("ruvector_flight_sent_bytes_total", "bytes of answers");
        for (method, row) in &methods {
            page.value(&[("method", method)], row.bytes_out as f64);
        }
        page.gauge("ruvector_flight_calls_under_way", "calls that are under way");
        page.value(&[], self.under_way() as f64);
        page.gauge("ruvector_flight_connections", "connections that are open");
        page.value(&[], self.connections() as f64);
        page.counter("ruvector_flight_connections_total", "connections that spoke HTTP/2");
        page.value(&[], self.all_connections.load(Ordering::Relaxed) as f64);
        page.counter("ruvector_flight_connections_refused_total", "connections that did not get so far");
        for (why, count) in &*lock(&self.refused) {
            page.value(&[("reason", why)], *count as f64);
        }
        for figures in &*lock(&self.others) {
            figures(&mut page);
        }
        page.text
    }
}

/// Figures as text. A family begins with its head; its values follow.
#[derive(Debug, Default)]
pub(crate) struct Page {
    text: String,
    family: &'static str,
}

impl Page {
    /// What only grows.
    pub(crate) fn counter(&mut self, family: &'static str, help: &str) {
        self.head(family, "counter", help);
    }

    /// What goes up and down.
    pub(crate) fn gauge(&mut self, family: &'static str, help: &str) {
        self.head(family, "gauge", help);
    }

    /// A value of the family whose head was written last.
    pub(crate) fn value(&mut self, labels: &[(&str, &str)], value: f64) {
        self.line("", labels, value);
    }

    fn head(&mut self, family: &'static str, kind: &str, help: &str) {
        self.family = family;
        let _written = write!(self.text, "# HELP {family} {help}\n# TYPE {family} {kind}\n");
    }

    fn histogram(&mut self, method: &str, row: &Method) {
        let mut below = 0;
        for (bound, calls) in BOUNDS.iter().zip(row.buckets) {
            below += calls;
            self.line("_bucket", &[("method", method), ("le", &bound.to_string())], below as f64);
        }
        self.line("_bucket", &[("method", method), ("le", "+Inf")], row.calls as f64);
        self.line("_sum", &[("method", method)], row.seconds);
        self.line("_count", &[("method", method)], row.calls as f64);
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(self.family);
        self.text.push_str(suffix);
        for (at, (label, text)) in labels.iter().enumerate() {
            self.text.push(if at == 0 { '{' } else { ',' });
            let _written = write!(self.text, "{label}=\"");
            for letter in text.chars() {
                match letter {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    other => self.text.push(other),
                }
            }
            self.text.push('"');
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _written = writeln!(self.text, "{end} {value}");
    }
}

/// The code as gRPC writes it.
pub(crate) fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_method_and_code_and_by_how_long_they_took() {
        let metrics = Metrics::default();
        metrics.count("DoGet", Code::Ok, Duration::from_millis(2), (10, 20));
        metrics.count("DoGet", Code::NotFound, Duration::from_secs(100), (1, 2));
        metrics.add(Box::new(|page| {
            page.gauge("ruvector_rows", "rows");
            page.value(&[("collection", "a\"b\\c\nd")], 3.0);
        }));
        let page = metrics.page();
        for line in [
            "# TYPE ruvector_flight_calls_total counter",
            "ruvector_flight_calls_total{method=\"DoGet\",code=\"OK\"} 1",
            "ruvector_flight_calls_total{method=\"DoGet\",code=\"NOT_FOUND\"} 1",
            "ruvector_flight_call_seconds_bucket{method=\"DoGet\",le=\"0.001\"} 0",
            "ruvector_flight_call_seconds_bucket{method=\"DoGet\",le=\"0.0025\"} 1",
            "ruvector_flight_call_seconds_bucket{method=\"DoGet\",le=\"60\"} 1",
            "ruvector_flight_call_seconds_bucket{method=\"DoGet\",le=\"+Inf\"} 2",
            "ruvector_flight_call_seconds_count{method=\"DoGet\"} 2",
            "ruvector_flight_received_bytes_total{method=\"DoGet\"} 11",
            "ruvector_flight_sent_bytes_total{method=\"DoGet\"} 22",
            "ruvector_flight_calls_under_way 0",
            "ruvector_rows{collection=\"a\\\"b\\\\c\\nd\"} 3",
        ] {
            assert!(page.lines().any(|found| found == line), "no line {line} in\n{page}");
        }
        assert!(page.ends_with('\n'));
    }
}
