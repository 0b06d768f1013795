//! Bundles in folders.

use std::path::{Path, PathBuf};

use pyo3::{
    prelude::*,
    types::{PyBytes, PyDict},
};
use ruvector_lake::{Bundle, sign::Signer};

use super::{handle::key_bytes, values};
use crate::error::Result;

/// The bundle in a folder, with the public key of whoever signed it; `None` if there is none.
#[pyfunction]
pub(crate) fn lake_read_bundle(
    py: Python<'_>,
    folder: PathBuf,
) -> Result<Option<(Bound<'_, PyDict>, Option<Bound<'_, PyBytes>>)>> {
    let Some(opened) = py.detach(|| Bundle::read(&folder))? else { return Ok(None) };
    let signer = opened.signer.map(|signer| PyBytes::new(py, &signer.0));
    Ok(Some((values::bundle(py, &opened.bundle)?, signer)))
}

/// Writes the bundle with this text into a folder.
#[pyfunction]
pub(crate) fn lake_write_bundle(
    py: Python<'_>,
    json: &str,
    folder: PathBuf,
    secret: Option<Bound<'_, PyBytes>>,
) -> Result<(PathBuf, String, String)> {
    let bundle = Bundle::parse(json, Path::new("bundle"))?.bundle;
    let signer = secret.map(|secret| key_bytes("sign_with", &secret).map(Signer::from_seed)).transpose()?;
    let path = py.detach(|| bundle.write(&folder, signer.as_ref()))?;
    Ok((path, bundle.witness().to_hex(), bundle.content_witness().to_hex()))
}
