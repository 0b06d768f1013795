//! Lines of JSON: one for each call that is over, and for what happens to connections and to the server.
//!
//! Lines are written by a thread of their own, for a disk or a pipe may be slow. Lines that it cannot keep up with are
//! dropped, counted, and told of in the next line that is written.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::config::LogTo;

/// Lines that wait to be written.
const WAITING: usize = 4096;
/// The longest text that a client may have made, in a line and in a refusal.
const TEXT: usize = 1024;

/// Where lines go.
#[derive(Debug)]
pub(crate) struct Log {
    lines: Option<SyncSender<Line>>,
    dropped: Arc<AtomicU64>,
    all_dropped: AtomicU64,
}

enum Line {
    Text(String),
    /// Asks to be told when all before it is written.
    Mark(SyncSender<()>),
}

impl Log {
    pub(crate) fn open(to: &LogTo) -> io::Result<Self> {
        let target: Option<Box<dyn Write + Send>> = match to {
            LogTo::Nowhere => None,
            LogTo::Stderr => Some(Box::new(io::stderr())),
            LogTo::File(path) => Some(Box::new(OpenOptions::new().create(true).append(true).open(path)?)),
        };
        target.map_or_else(|| Ok(Self::nowhere()), Self::to)
    }

    fn nowhere() -> Self {
        Self { lines: None, dropped: Arc::default(), all_dropped: AtomicU64::new(0) }
    }

    fn to(target: Box<dyn Write + Send>) -> io::Result<Self> {
        let (lines, waiting) = sync_channel(WAITING);
        let dropped = Arc::<AtomicU64>::default();
        let told = Arc::clone(&dropped);
        thread::Builder::new()
            .name("ruvector-flight-log".into())
            .spawn(move || write_all(&waiting, target, &told))?;
        Ok(Self { lines: Some(lines), dropped, all_dropped: AtomicU64::new(0) })
    }

    pub(crate) fn is_on(&self) -> bool {
        self.lines.is_some()
    }

    /// Hands a line to the writer. A log that cannot be written stops nobody.
    pub(crate) fn write(&self, line: &Value) {
        let Some(lines) = &self.lines else { return };
        if lines.try_send(Line::Text(format!("{line}\n"))).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            self.all_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A line on something that is no call.
    pub(crate) fn event(&self, event: &str, fields: &[(&str, Value)]) {
        if !self.is_on() {
            return;
        }
        let mut line = json!({ "time": now(), "event": event });
        for (name, value) in fields {
            line[*name] = value.clone();
        }
        self.write(&line);
    }

    /// How many lines were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.all_dropped.load(Ordering::Relaxed)
    }

    /// Waits until what was written so far lies where it goes, but no longer than this.
    pub(crate) fn flush(&self, longest: Duration) {
        let Some(lines) = &self.lines else { return };
        let (done, wait) = sync_channel(1);
        if lines.try_send(Line::Mark(done)).is_ok() {
            let _written = wait.recv_timeout(longest);
        }
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> f64 {
    UNIX_EPOCH.elapsed().map_or(0.0, |elapsed| elapsed.as_secs_f64())
}

/// The beginning of a text that a client may have made.
pub(crate) fn short(text: &str) -> &str {
    let end = (0..=text.len().min(TEXT)).rev().find(|&at| text.is_char_boundary(at));
    &text[..end.unwrap_or(0)]
}

/// Lines are written whole: readers of a file see one event each.
fn write_all(waiting: &Receiver<Line>, mut target: Box<dyn Write + Send>, dropped: &AtomicU64) {
    for line in waiting {
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let line = json!({ "time": now(), "event": "lines dropped", "lines": lost });
            let _written = target.write_all(format!("{line}\n").as_bytes());
        }
        match line {
            Line::Text(text) => {
                let _written = target.write_all(text.as_bytes());
            }
            Line::Mark(done) => {
                let _flushed = target.flush();
                let _waits = done.send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use super::*;

    /// A disk that takes nothing until it is told to.
    struct Slow {
        go: mpsc::Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _go = self.go.recv();
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_slow_disk_stops_nobody_and_what_it_lost_is_told() {
        let (tell, go) = mpsc::channel();
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let log = Log::to(Box::new(Slow { go, written: Arc::clone(&written) })).unwrap();
        let lines = WAITING as u64 + 100;
        for number in 0..lines {
            log.event("line", &[("number", number.into())]);
        }
        let lost = log.dropped();
        assert!((90..=100).contains(&lost), "{lost}");
        drop(tell);
        log.event("last", &[]);
        while !String::from_utf8_lossy(&written.lock().unwrap()).contains("dropped") {
            thread::yield_now();
        }
        log.flush(Duration::from_secs(20));
        let written = written.lock().unwrap();
        let text = std::str::from_utf8(&written).unwrap();
        let values: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let told: u64 = values.iter().filter_map(|line| line["lines"].as_u64()).sum();
        let kept = values.iter().filter(|line| line["event"] == "line").count() as u64;
        assert_eq!((told, kept), (log.dropped(), lines - lost));
    }

    #[test]
    fn texts_of_clients_stay_in_their_line() {
        assert_eq!(short(&"ä".repeat(TEXT)).len(), TEXT);
        assert_eq!(short("short"), "short");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = Log::open(&LogTo::File(path.clone())).unwrap();
        log.event("a\nb", &[("peer", "x\"\n{".into())]);
        log.flush(Duration::from_secs(5));
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["peer"], "x\"\n{");
    }
}
