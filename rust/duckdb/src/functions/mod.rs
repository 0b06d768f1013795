//! The functions of SQL. Each file is a subject of `sql/contract.md`; names that begin with two underscores are for the
//! macros of `sql/duckdb/extension.sql`.

mod build;
mod columns;
mod distance;
mod info;
mod knn;
mod macros;
mod names;
mod quantize;
mod recall;
mod search;

use std::sync::Arc;

use crate::{
    capi::{self, Connection},
    hits::Shape,
    jobs::Jobs,
    refusal::Result,
    registry::Registry,
    statements::Statements,
};

/// What the functions of a database share, for as long as it is open.
#[derive(Debug, Default)]
struct Shared {
    registry: Registry,
    statements: Statements,
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
    capi::register_table(build::Job(Arc::clone(&shared)), connection)?;
    let scalars = [
        search::nearest(&shared, c"ruvector_search", Shape::Numbers),
        search::nearest(&shared, c"ruvector_search_text", Shape::Texts),
        search::of_statement(&shared, c"__ruvector_search", Shape::Each),
        search::of_statement(&shared, c"__ruvector_search_int", Shape::Numbers),
        search::of_statement(&shared, c"__ruvector_search_text", Shape::Texts),
        search::within_of_statement(&shared),
        columns::columns(&shared),
        distance::distance(),
        quantize::quantize(),
        build::gather(&shared),
        build::step(&shared),
    ];
    scalars.iter().try_for_each(|scalar| scalar.register(connection))
}
