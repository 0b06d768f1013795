//! Where an index goes that a client has built.

use std::{path::Path, sync::Arc};

use ruvector_core::{Index, Live, format::Keep};
use ruvector_lake::Error;
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::{
    auth::Verb,
    call::Call,
    catalog::{Catalog, Source, check_name},
    status::{named, refuse},
};

/// The end of the names of index files.
const SUFFIX: &str = "rbpx";

/// A name that an index may be given.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    name: String,
    replace: bool,
}

impl Place {
    /// Refuses a name that the caller may not give, before any work is done.
    pub(crate) fn check(call: &Call, name: &str, replace: bool) -> Result<Self, Status> {
        call.about(name);
        call.caller().may_with(Verb::Build, name)?;
        check_name(name).map_err(refuse)?;
        let place = Self { name: name.into(), replace };
        place.free(&call.shared().catalog).map_err(|_| place.taken())?;
        Ok(place)
    }

    /// Puts an index there: into its file, if there is a folder, and then before everybody.
    pub(crate) fn put(&self, call: &Call, index: Index) -> Result<Value, Error> {
        self.put_into(&call.shared().catalog, index)
    }

    /// The same without a call.
    pub(crate) fn put_into(&self, catalog: &Catalog, index: Index) -> Result<Value, Error> {
        let rows = index.len();
        // One at a time: two that build one name without leave to replace it do not both succeed.
        let _guard = catalog.placing();
        self.free(catalog)?;
        let path = catalog.folder().map(|folder| folder.join(format!("{}.{SUFFIX}", self.name)));
        let index = match &path {
            Some(path) => saved(index, path)?,
            None => index,
        };
        catalog.put(&self.name, Source::Index(Arc::new(Live::new(index))), path)?;
        Ok(json!({"rows": rows, "collection": self.name}))
    }

    fn free(&self, catalog: &Catalog) -> Result<(), Error> {
        match catalog.find(&self.name) {
            None => Ok(()),
            Some(_) if self.replace => Ok(()),
            Some(_) => Err(Error::invalid_parameter(
                "collection",
                "a name that is free, or replace",
                format!("{:?}", self.name),
            )),
        }
    }

    fn taken(&self) -> Status {
        let message = format!("collection: expected a name that is free, or replace, got {:?}", self.name);
        named(Code::AlreadyExists, "InvalidParameter", message)
    }
}

/// Writes an index and opens what was written: its vectors are the file's then.
fn saved(index: Index, path: &Path) -> Result<Index, Error> {
    index.save(path, Keep::AsIs)?;
    drop(index);
    Ok(Index::open(path, false)?)
}
