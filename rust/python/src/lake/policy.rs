//! A policy that is a function in Python.

use std::collections::BTreeMap;

use pyo3::prelude::*;
use ruvector_lake::{
    Error, Result,
    policy::{Decision, Mask, Policy, Request},
};

use super::{errors::raised, filter};
use crate::gate;

/// Called with principal, backend, collection and action; answers whether it is allowed, which rows, and which columns
/// are masked how.
pub(super) struct PyPolicy(pub(super) Py<PyAny>);

type Decided<'py> = (bool, filter::Given<'py>, Vec<(String, String)>);

impl Policy for PyPolicy {
    fn decide(&self, request: &Request<'_>) -> Result<Decision> {
        let (backend, collection) = super::values::pair(request.key);
        let decided = gate::attach(|py| {
            let asked = (request.principal, backend, collection, request.action.name());
            let decision = self.0.bind(py).call1(asked).and_then(|decided| read(decided.extract()?));
            decision.map_err(|error| raised(py, backend, None, error))
        });
        decided.unwrap_or_else(|| Err(Error::backend(backend, "python is shutting down")))
    }
}

fn read((allow, rows, mask): Decided<'_>) -> PyResult<Decision> {
    let masks = mask.into_iter().map(|(column, how)| {
        let how = match how.as_str() {
            "drop" => Mask::Drop,
            "null" => Mask::Null,
            "hash" => Mask::Hash,
            other => {
                let expected = "one of drop, null, hash";
                let error = ruvector_core::Error::invalid_parameter("mask", expected, other);
                return Err(crate::error::Failure::from(error).into());
            }
        };
        Ok((column, how))
    });
    Ok(Decision { allow, rows: filter::predicate(rows)?, mask: masks.collect::<PyResult<BTreeMap<_, _>>>()? })
}
