//! A line of JSON for each call that is over.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    sync::{Mutex, PoisonError},
};

use crate::config::LogTo;

/// Where lines go. Lines are written whole: one call each.
#[derive(Debug)]
pub(crate) enum Log {
    Nowhere,
    Stderr,
    File(Mutex<File>),
}

impl Log {
    pub(crate) fn open(to: &LogTo) -> io::Result<Self> {
        Ok(match to {
            LogTo::Nowhere => Self::Nowhere,
            LogTo::Stderr => Self::Stderr,
            LogTo::File(path) => {
                Self::File(Mutex::new(OpenOptions::new().create(true).append(true).open(path)?))
            }
        })
    }

    pub(crate) fn is_on(&self) -> bool {
        !matches!(self, Self::Nowhere)
    }

    /// Writes a line. A log that cannot be written stops nobody.
    pub(crate) fn write(&self, line: &serde_json::Value) {
        let line = format!("{line}\n");
        let _written = match self {
            Self::Nowhere => Ok(()),
            Self::Stderr => io::stderr().lock().write_all(line.as_bytes()),
            Self::File(file) => {
                file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes())
            }
        };
    }
}
