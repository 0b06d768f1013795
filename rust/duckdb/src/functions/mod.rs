//! The functions of SQL. Each file is a subject of `sql/contract.md`; names that begin with two underscores are for the
//! macros of `sql/duckdb/macros.sql`.

mod build;
mod distance;
mod info;
mod knn;
mod macros;
mod names;
mod pin;
mod quantize;
mod recall;
mod search;

use std::sync::Arc;

use crate::{
    capi::{self, Connection},
    jobs::Jobs,
    pins::Pins,
    refusal::Result,
    registry::Registry,
};

/// What the functions of a database share, for as long as it is open.
#[derive(Debug, Default)]
struct Shared {
    registry: Registry,
    pins: Arc<Pins>,
    jobs: Arc<Jobs>,
}

/// Makes all functions known to a database.
pub(crate) fn register(connection: &Connection<'_>) -> Result<()> {
    let shared = Arc::new(Shared::default());
    capi::register_table(knn::Neighbours { shared: Arc::clone(&shared), within: false }, connection)?;
    capi::register_table(knn::Neighbours { shared: Arc::clone(&shared), within: true }, connection)?;
    capi::register_table(info::Info(Arc::clone(&shared)), connection)?;
    capi::register_table(names::Register(Arc::clone(&shared)), connection)?;
    capi::register_table(names::Unregister(Arc::clone(&shared)), connection)?;
    capi::register_table(recall::Recall(Arc::clone(&shared)), connection)?;
    capi::register_table(macros::Macros, connection)?;
    capi::register_table(pin::Pinned(Arc::clone(&shared)), connection)?;
    capi::register_table(build::Job(Arc::clone(&shared)), connection)?;
    let scalars = [
        search::by_name(&shared, search::SEARCH),
        search::by_name(&shared, search::SEARCH_TEXT),
        search::by_pin(&shared, search::PINNED),
        search::by_pin(&shared, search::PINNED_INT),
        search::by_pin(&shared, search::PINNED_TEXT),
        search::within_by_pin(&shared),
        pin::narrow(&shared),
        pin::columns(&shared),
        distance::distance(),
        quantize::quantize(),
        build::gather(&shared),
        build::step(&shared),
    ];
    scalars.iter().try_for_each(|scalar| scalar.register(connection))
}
