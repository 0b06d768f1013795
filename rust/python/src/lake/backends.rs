//! The backends that are written in Rust.

use std::{path::PathBuf, sync::Arc};

use pyo3::prelude::*;
use ruvector_core::{
    Error,
    ids::{IdType, Ids},
};
use ruvector_lake::{
    Backend,
    backend::{
        FsBackend, LocalBackend,
        parquet::{
            self,
            s3::{Credentials, S3},
        },
    },
};

use super::{adapter::Adapter, http::PyTransport, runtime};
use crate::{
    error::Result,
    input::{Given, Role},
};

/// What can be registered: one of ours, or an adapter in Python.
pub(super) fn of(object: &Bound<'_, PyAny>) -> PyResult<Arc<dyn Backend>> {
    if let Ok(local) = object.cast::<PyLocal>() {
        return Ok(Arc::new(local.get().0.clone()));
    }
    if let Ok(files) = object.cast::<PyFs>() {
        return Ok(Arc::clone(&files.get().0) as _);
    }
    if let Ok(tables) = object.cast::<PyParquet>() {
        return Ok(Arc::clone(&tables.get().0) as _);
    }
    Ok(Arc::new(Adapter::new(object)?))
}

fn rows(
    py: Python<'_>,
    ids: &Bound<'_, PyAny>,
    vectors: &Bound<'_, PyAny>,
) -> Result<(Ids, ruvector_core::Vectors)> {
    let vectors = Given::read(vectors, Role::Vectors)?.vectors(py, None, None)?;
    Ok((Given::read(ids, Role::Ids)?.list()?, vectors))
}

/// Collections in memory.
#[pyclass(name = "LakeLocal", module = "ruvector", frozen)]
pub(crate) struct PyLocal(LocalBackend);

#[pymethods]
impl PyLocal {
    #[new]
    fn new(name: String) -> Self {
        Self(LocalBackend::new(name))
    }

    fn put_collection(
        &self,
        py: Python<'_>,
        collection: &str,
        ids: &Bound<'_, PyAny>,
        vectors: &Bound<'_, PyAny>,
    ) -> Result<()> {
        let (ids, vectors) = rows(py, ids, vectors)?;
        Ok(py.detach(|| self.0.put_collection(collection, &ids, &vectors))?)
    }

    fn append(
        &self,
        py: Python<'_>,
        collection: &str,
        ids: &Bound<'_, PyAny>,
        vectors: &Bound<'_, PyAny>,
    ) -> Result<()> {
        let vectors = Given::read(vectors, Role::Queries("vector"))?.vectors(py, None, None)?;
        let ids = Given::read(ids, Role::Ids)?.list()?;
        Ok(py.detach(|| self.0.append(collection, &ids, &vectors))?)
    }

    fn upsert(
        &self,
        py: Python<'_>,
        collection: &str,
        ids: &Bound<'_, PyAny>,
        vectors: &Bound<'_, PyAny>,
    ) -> Result<usize> {
        let (ids, vectors) = rows(py, ids, vectors)?;
        Ok(py.detach(|| self.0.upsert(collection, &ids, &vectors))?)
    }

    fn delete(&self, py: Python<'_>, collection: &str, ids: &Bound<'_, PyAny>) -> Result<usize> {
        let ids = Given::read(ids, Role::Ids)?.list()?;
        Ok(py.detach(|| self.0.delete(collection, &ids))?)
    }

    fn drop(&self, py: Python<'_>, collection: &str) -> bool {
        py.detach(|| self.0.drop_collection(collection))
    }
}

/// Collections in `ruvec1` files.
#[pyclass(name = "LakeFs", module = "ruvector", frozen)]
pub(crate) struct PyFs(Arc<FsBackend>);

#[pymethods]
impl PyFs {
    #[new]
    fn new(name: String, root: PathBuf) -> Result<Self> {
        Ok(Self(Arc::new(FsBackend::new(name, &root)?)))
    }

    fn register(&self, collection: &str, filename: &str) -> Result<()> {
        Ok(self.0.register(collection, filename)?)
    }

    fn write(
        &self,
        py: Python<'_>,
        collection: &str,
        filename: &str,
        ids: &Bound<'_, PyAny>,
        vectors: &Bound<'_, PyAny>,
    ) -> Result<PathBuf> {
        let (ids, vectors) = rows(py, ids, vectors)?;
        let actual = ids.id_type().name();
        let Ok(Ids::UInt64(ids)) = ids.cast("ids", IdType::UInt64) else {
            let (column, expected) = ("ids".into(), "integers from 0 to 2**64 - 1".into());
            return Err(Error::InvalidType { column, expected, actual: actual.into() }.into());
        };
        Ok(py.detach(|| self.0.write(collection, filename, ids.values(), &vectors))?)
    }
}

/// Where a bucket is, and who asks: as a dict.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Bucket {
    bucket: String,
    prefix: String,
    endpoint: Option<String>,
    region: Option<String>,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    session_token: Option<String>,
    allow_http: bool,
    retries: usize,
}

/// Collections in Parquet files.
#[pyclass(name = "LakeParquet", module = "ruvector", frozen)]
pub(crate) struct PyParquet(Arc<parquet::ParquetBackend>);

#[pymethods]
impl PyParquet {
    #[new]
    fn new(name: String, root: PathBuf) -> Result<Self> {
        Ok(Self(Arc::new(parquet::ParquetBackend::on_disk(name, &root)?)))
    }

    /// A backend over a bucket; `send` does the HTTP.
    #[staticmethod]
    fn in_s3(name: String, s3: Bucket, send: Py<PyAny>) -> Result<Self> {
        runtime::provide();
        let key = s3.access_key_id.zip(s3.secret_access_key);
        let credentials = key.map(|(access_key_id, secret_access_key)| Credentials {
            access_key_id,
            secret_access_key,
            session_token: s3.session_token,
        });
        let options = S3 {
            bucket: s3.bucket,
            prefix: s3.prefix,
            endpoint: s3.endpoint,
            region: s3.region,
            credentials,
            allow_http: s3.allow_http,
            retries: s3.retries,
        };
        let backend = parquet::ParquetBackend::in_s3(name, &options, Arc::new(PyTransport(send)))?;
        Ok(Self(Arc::new(backend)))
    }

    fn register(
        &self,
        collection: &str,
        path: &str,
        vector: Option<String>,
        id: Option<String>,
        dim: Option<usize>,
    ) -> Result<()> {
        Ok(self.0.register(collection, path, parquet::Columns { vector, id, dim })?)
    }
}

/// The collections of a backend of ours.
#[pyfunction]
pub(crate) fn lake_collections(py: Python<'_>, backend: &Bound<'_, PyAny>) -> Result<Vec<String>> {
    let backend = of(backend)?;
    Ok(py.detach(|| backend.list_collections())?)
}

/// The token of a collection's state in a backend of ours.
#[pyfunction]
pub(crate) fn lake_generation<'py>(
    py: Python<'py>,
    backend: &Bound<'py, PyAny>,
    collection: &str,
) -> Result<Bound<'py, PyAny>> {
    let backend = of(backend)?;
    let generation = py.detach(|| backend.generation(collection))?;
    Ok(super::values::generation(py, &generation)?)
}
