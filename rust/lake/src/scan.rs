//! Rows as their backend has them, past the cache.

use std::sync::Arc;

use arrow_array::RecordBatch;
use ruvector_core::{Unwatched, ids::Ids};

use crate::{
    audit::Happened,
    backend::{Batches, Pull, batches, project, project_schema, stream_error},
    error::{Error, Result},
    forgotten::Forgotten,
    generation::Generation,
    join::keep,
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
        let gone = self.gone(&member, key, pull.skip_rows)?;
        let stream = {
            let _permit = member.gate.enter(Watch::new(key, &Unwatched))?;
            member.backend.pull(&key.collection, &wider(pull, &predicate, gone.as_ref()))?
        };
        let schema = project_schema(&stream.schema(), pull.projection.as_deref())?;
        let empty = masked(&RecordBatch::new_empty(schema), &mask)?;
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
        let mut gone = gone;
        let shown = stream.map(move |batch| {
            let batch = batch.map_err(|error| stream_error(&backend, error))?;
            let mut kept = predicate.mask(&batch)?;
            gone.iter_mut().try_for_each(|gone| gone.narrow(&batch, &mut kept))?;
            masked(&project(&keep(&batch, kept)?, projection.as_deref())?, &mask)
        });
        // The last word of a session's scan is whether all of it was of the one state.
        let last = std::iter::once_with(move || check(&member, &key, wanted.as_ref()).err());
        let rows = shown.chain(last.flatten().map(Err));
        Ok(batches(empty.schema(), rows))
    }

    fn gone(&self, member: &Arc<Member>, key: &Key, skipped: u64) -> Result<Option<Gone>> {
        let Some(ids) = self.shared.forgotten.get(key) else { return Ok(None) };
        let state = self.ask(member, Watch::new(key, &Unwatched))?;
        Ok(Some(Gone { ids, id: state.id, row: skipped as i64 }))
    }

    /// Which rows of a collection there are for the lake.
    pub(crate) fn selection(&self, key: &Key) -> Predicate {
        self.shared.known.configured(key).settings.rows.clone()
    }
}

/// Rows that were forgotten, in a stream.
struct Gone {
    ids: Arc<Forgotten>,
    /// The column of ids; without one rows are known by their numbers.
    id: Option<String>,
    /// The number of the next row.
    row: i64,
}

impl Gone {
    fn narrow(&mut self, batch: &RecordBatch, kept: &mut [bool]) -> Result<()> {
        let column = self.id.as_ref().and_then(|id| batch.column_by_name(id)).cloned();
        let names = match column {
            Some(column) => Ids::from_list("id", &[column])?,
            None => Ids::Int64((self.row..self.row + kept.len() as i64).collect::<Vec<_>>().into()),
        };
        self.row += kept.len() as i64;
        kept.iter_mut().enumerate().for_each(|(at, kept)| *kept &= !self.ids.contains(names.get(at)));
        Ok(())
    }
}

/// The same rows with the columns that the predicate asks about.
fn wider(pull: &Pull, predicate: &Predicate, gone: Option<&Gone>) -> Pull {
    // Where rows are known by their numbers, none may be left out.
    let numbered = gone.is_some_and(|gone| gone.id.is_none());
    let pushed = if numbered { Predicate::default() } else { predicate.clone() };
    let mut wider = Pull { predicate: pushed, ..pull.clone() };
    if let Some(columns) = &mut wider.projection {
        let id = gone.and_then(|gone| gone.id.as_deref());
        for name in predicate.columns().chain(id) {
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
