//! Indexes that are built from what is served already.

use std::{ops::Range, sync::Arc};

use ruvector_core::{Error as CoreError, Index, Vectors, index::Chunk, live::Snapshot, vectors::Element};
use tonic::Status;

use crate::{
    ask::BuildAsk,
    auth::Verb,
    call::Call,
    jobs::Job,
    parts::blocks_at_once,
    pins::pinned,
    place::Place,
    status::{invalid, refuse},
};

/// Begins to build an index of the rows of another one, or of those of a collection of a lake, in their present state.
pub(crate) fn begin(call: &Call, ask: &BuildAsk) -> Result<Arc<Job>, Status> {
    if ask.column.is_some() || ask.id.is_some() {
        return Err(invalid("column", "none: rows are those that are served", "column or id"));
    }
    let from = ask.from.as_deref().ok_or_else(|| invalid("from", "the name of a collection", "none"))?;
    let place = Place::check(call, &ask.collection, ask.replace)?;
    let pinned = pinned(call, Verb::Read, from, None)?;
    call.about(&ask.collection);
    let snapshot = pinned.snapshot().map_err(refuse)?;
    let element = snapshot.element().unwrap_or(Element::F32);
    let mut params = ask.params(element).map_err(refuse)?;
    params.rows = params.rows.or_else(|| Some(snapshot.len()));
    let shared = call.weak();
    call.shared().jobs.begin(call, &ask.collection, move |job| {
        let stopped = || CoreError::Interrupted;
        let shared = shared.upgrade().ok_or_else(stopped)?;
        let open = || Ok(chunks(&snapshot));
        let index = Index::build_from_chunks(open, &params, &shared.pool, job)?;
        place.put_into(&shared.catalog, index)
    })
}

/// The rows in pieces. Rows that were numbered by the index they come from keep these numbers.
fn chunks(snapshot: &Snapshot) -> impl Iterator<Item = Result<Chunk, CoreError>> + '_ {
    let at_once = blocks_at_once(snapshot);
    let piece = move |from: usize| -> Range<usize> { from..(from + at_once).min(snapshot.blocks()) };
    (0..snapshot.blocks()).step_by(at_once).map(move |from| {
        let (ids, vectors) = snapshot.rows_of(piece(from))?;
        let vectors = Vectors::from_arrays("vector", &[Arc::new(vectors)], None)?;
        Ok(Chunk { vectors, ids: Some(ids) })
    })
}
