//! Rows as their backend has them, past the cache.

use std::sync::Arc;

use ruvector_core::Unwatched;

use crate::{
    audit::Happened,
    backend::{Batches, Pull, batches, project, project_schema, stream_error},
    error::{Error, Result},
    generation::Generation,
    key::Key,
    lake::{Member, RuLake},
    policy::{self, Action, masked},
    predicate::Predicate,
    watch::Watch,
};

impl RuLake {
    /// The rows of a collection as its backend has them now, past the cache: only what fulfils the predicate and was
    /// not forgotten, as the policy lets it be seen. In a session the rows must be of the state that was searched.
    ///
    /// # Errors
    /// [`Error::UnknownBackend`], [`Error::UnknownCollection`], [`Error::PolicyDenied`], [`Error::Superseded`] and
    /// whatever the backend says, at once or in the stream.
    pub fn scan(&self, key: &Key, pull: &Pull) -> Result<Batches> {
        let decision = self.decide(key, Action::Scan)?;
        let member = self.member(&key.backend)?;
        let wanted = self.pinned(key).map(|held| held.entry.bundle.generation.clone());
        check(&member, key, wanted.as_ref())?;
        let mask = decision.as_ref().map(|decision| decision.mask.clone()).unwrap_or_default();
        policy::check_asked(decision.as_ref(), &pull.predicate, self.request(key, Action::Scan))?;
        let rows = decision.map(|decision| decision.rows).unwrap_or_default();
        let predicate = pull.predicate.and(&rows).and(&self.selection(key));
        let stream = {
            let _permit = member.gate.enter(Watch::new(key, &Unwatched))?;
            member.backend.pull(&key.collection, &wider(pull, &predicate))?
        };
        let schema = project_schema(&stream.schema(), pull.projection.as_deref())?;
        let empty = masked(&arrow_array::RecordBatch::new_empty(schema), &mask)?;
        self.shared.audit.push(Happened {
            principal: self.principal.clone(),
            action: "scan",
            key: Arc::new(key.clone()),
            outcome: "answered",
            rows: 0,
            witness: None,
            query_digest: None,
            took: std::time::Duration::ZERO,
            detail: None,
        });
        let (key, projection) = (key.clone(), pull.projection.clone());
        let backend = key.backend.clone();
        let shown = stream.map(move |batch| {
            let batch = batch.map_err(|error| stream_error(&backend, error))?;
            masked(&project(&predicate.apply(&batch)?, projection.as_deref())?, &mask)
        });
        // The last word of a session's scan is whether all of it was of the one state.
        let last = std::iter::once_with(move || check(&member, &key, wanted.as_ref()).err());
        let rows = shown.chain(last.flatten().map(Err));
        Ok(batches(empty.schema(), rows))
    }

    /// Which rows of a collection there are for the lake.
    pub(crate) fn selection(&self, key: &Key) -> Predicate {
        self.shared.known.configured(key).settings.rows.clone()
    }
}

/// The same rows with the columns that the predicate asks about.
fn wider(pull: &Pull, predicate: &Predicate) -> Pull {
    let mut wider = Pull { predicate: predicate.clone(), ..pull.clone() };
    if let Some(columns) = &mut wider.projection {
        for name in predicate.columns() {
            if !columns.iter().any(|column| column == name) {
                columns.push(name.into());
            }
        }
    }
    wider
}

fn check(member: &Member, key: &Key, wanted: Option<&Generation>) -> Result<()> {
    let Some(wanted) = wanted else { return Ok(()) };
    let found = member.backend.generation(&key.collection)?;
    if found == *wanted {
        return Ok(());
    }
    let (backend, collection) = (key.backend.clone(), key.collection.clone());
    Err(Error::Superseded { backend, collection, wanted: wanted.to_string(), found: found.to_string() })
}
