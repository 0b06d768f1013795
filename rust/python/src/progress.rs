//! Who is told how far a build is: nobody, a bar, or a callable of the user's.

use std::collections::BTreeMap;

use pyo3::prelude::*;
use ruvector_core::{Error, Phase};

use crate::{
    error::Result,
    interrupt::{Steps, Watch},
};

/// The listener, and what it has heard already.
pub(crate) struct Progress {
    listener: Option<Py<PyAny>>,
    is_bar: bool,
    told: BTreeMap<Phase, Steps>,
}

impl Progress {
    /// Nobody listens.
    pub(crate) fn off() -> Self {
        Self { listener: None, is_bar: false, told: BTreeMap::new() }
    }

    /// The listener that the argument `progress` asks for.
    pub(crate) fn new(asked: Option<&Bound<'_, PyAny>>) -> Result<Self> {
        let Some(asked) = asked else { return Ok(Self::off()) };
        if let Ok(wanted) = asked.extract::<bool>() {
            if !wanted {
                return Ok(Self::off());
            }
            let bar = asked.py().import("ruvector._progress")?.getattr("Bar")?.call0()?;
            return Ok(Self { listener: Some(bar.unbind()), is_bar: true, ..Self::off() });
        }
        if asked.is_callable() {
            return Ok(Self { listener: Some(asked.clone().unbind()), ..Self::off() });
        }
        let actual = asked.get_type().fully_qualified_name()?.to_string();
        Err(Error::invalid_parameter("progress", "a bool or a callable", actual).into())
    }

    pub(crate) fn is_off(&self) -> bool {
        self.listener.is_none()
    }

    /// Calls the listener once for each phase that has advanced since the last time.
    pub(crate) fn report(&mut self, py: Python<'_>, watch: &Watch) -> PyResult<()> {
        let Some(listener) = &self.listener else { return Ok(()) };
        for (phase, steps) in watch.steps() {
            if self.told.insert(phase, steps) != Some(steps) {
                listener.call1(py, (phase.name(), steps.done, steps.total))?;
            }
        }
        Ok(())
    }

    /// Takes the bar off the screen.
    pub(crate) fn close(&self, py: Python<'_>) -> PyResult<()> {
        match &self.listener {
            Some(bar) if self.is_bar => bar.call_method0(py, "close").map(drop),
            _ => Ok(()),
        }
    }
}
