//! Object stores. Their crate is asynchronous, ours is not: requests run on a runtime, and the calling thread waits.

use std::{
    future::Future,
    ops::Range,
    sync::{Arc, mpsc},
};

use bytes::Bytes;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, path::Path};

use super::store::{Store, Stored, is_hidden, is_part, replaced};
use crate::{
    error::{Error, Result},
    runtime,
};

/// A place in an object store.
#[derive(Debug)]
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    url: String,
}

impl Objects {
    pub(super) fn new(store: Arc<dyn ObjectStore>, url: &str) -> Self {
        Self { store, url: url.trim_end_matches('/').to_owned() }
    }

    /// Waits for a request. Whether the caller is itself on a thread of some runtime makes no difference.
    fn wait<T: Send + 'static>(&self, request: impl Future<Output = T> + Send + 'static) -> Result<T> {
        let (tell, told) = mpsc::sync_channel(1);
        let runtime = runtime::handle().map_err(|error| Error::backend(&self.url, error))?;
        runtime.spawn(async move { drop(tell.send(request.await)) });
        told.recv().map_err(|_| Error::backend(&self.url, "the request was dropped"))
    }

    fn failed(&self, error: &object_store::Error) -> Error {
        use object_store::Error as Refused;
        let retryable = !matches!(
            error,
            Refused::NotFound { .. }
                | Refused::PermissionDenied { .. }
                | Refused::Unauthenticated { .. }
                | Refused::InvalidPath { .. }
        );
        Error::Backend { backend: self.url.clone(), detail: error.to_string(), retryable, source: None }
    }
}

fn stored(meta: ObjectMeta) -> Stored {
    let version = meta.e_tag.or(meta.version).unwrap_or_else(|| meta.last_modified.to_rfc3339());
    Stored { path: meta.location.into(), bytes: meta.size, version }
}

impl Store for Objects {
    fn url(&self) -> String {
        self.url.clone()
    }

    fn paths(&self) -> Result<Vec<String>> {
        let store = Arc::clone(&self.store);
        let found = self.wait(async move { store.list_with_delimiter(None).await })?;
        let found = found.map_err(|error| self.failed(&error))?;
        let files =
            found.objects.iter().filter_map(|meta| meta.location.filename().filter(|name| is_part(name)));
        let folders = found.common_prefixes.iter().filter_map(|place| place.filename());
        Ok(files.chain(folders.filter(|name| !is_hidden(name))).map(Into::into).collect())
    }

    fn list(&self, path: &str) -> Result<Vec<Stored>> {
        let (store, place) = (Arc::clone(&self.store), Path::from(path));
        let head = GetOptions { head: true, ..GetOptions::default() };
        let found = self.wait(async move {
            match store.get_opts(&place, head).await {
                Ok(found) => Ok(vec![found.meta]),
                Err(object_store::Error::NotFound { .. }) => {
                    Ok(store.list_with_delimiter(Some(&place)).await?.objects)
                }
                Err(error) => Err(error),
            }
        })?;
        let found = found.map_err(|error| self.failed(&error))?;
        let one = found.len() == 1 && found[0].location.as_ref() == path;
        let part = |meta: &ObjectMeta| one || meta.location.filename().is_some_and(is_part);
        let mut files: Vec<Stored> = found.into_iter().filter(part).map(stored).collect();
        files.sort();
        Ok(files)
    }

    fn read(&self, file: &Stored, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (store, place, ranges) =
            (Arc::clone(&self.store), Path::from(file.path.as_str()), ranges.to_vec());
        let expected = file.clone();
        let read = self.wait(async move {
            let mut parts = Vec::with_capacity(ranges.len());
            for range in ranges {
                let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
                let found = store.get_opts(&place, options).await?;
                let same = stored(found.meta.clone()) == expected;
                parts.push((same, found.bytes().await?));
            }
            Ok::<_, object_store::Error>(parts)
        })?;
        let parts = read.map_err(|error| self.failed(&error))?;
        if parts.iter().any(|(same, _)| !same) {
            return Err(replaced(&file.path));
        }
        Ok(parts.into_iter().map(|(_, bytes)| bytes).collect())
    }
}
