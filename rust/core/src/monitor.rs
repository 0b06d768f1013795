//! How long work is watched and stopped. The core never prints and never asks the operating system for signals.

/// Told how far a long job is, asked whether to go on. Called from worker threads, often: keep it cheap.
pub trait Monitor: Sync {
    /// Whether the caller wants the work to stop. It stops with [`crate::Error::Interrupted`] soon after.
    fn interrupted(&self) -> bool {
        false
    }

    /// `done` more of the `total` steps of `phase` are finished.
    fn advance(&self, phase: Phase, done: usize, total: usize) {
        let _ = (phase, done, total);
    }
}

/// The steps of a build, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Looking at every value once.
    Check,
    /// Learning the centroids.
    Train,
    /// Finding each row's list.
    Assign,
    /// Writing the codes.
    Encode,
    /// Measuring recall.
    Calibrate,
    /// Answering queries.
    Search,
}

impl Phase {
    /// The phase's name, as a progress bar shows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Train => "train",
            Self::Assign => "assign",
            Self::Encode => "encode",
            Self::Calibrate => "calibrate",
            Self::Search => "search",
        }
    }
}

/// Work inside other work: it stops with that, and its own steps are told to nobody.
pub(crate) struct Quiet<'a>(pub(crate) &'a dyn Monitor);

impl Monitor for Quiet<'_> {
    fn interrupted(&self) -> bool {
        self.0.interrupted()
    }
}

/// Nobody watches, nothing stops.
pub struct Unwatched;

impl Monitor for Unwatched {}
