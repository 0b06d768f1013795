//! One lake seen in several ways: in another mode, as somebody, in one state; and what is asked and told of whoever
//! looks.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{
    audit::{Audit, Happened},
    entry::Held,
    error::{Error, Result},
    key::Key,
    known::Configured,
    lake::RuLake,
    policy::{self, Action, Decision, Request},
    settings::Consistency,
};

/// The states that a view has seen.
#[derive(Debug, Default)]
pub(crate) struct Session {
    seen: Mutex<HashMap<Key, Held>>,
}

impl RuLake {
    /// The same lake seen in another mode, whatever the mode of its collections.
    #[must_use]
    pub fn with_consistency(&self, consistency: Consistency) -> Self {
        Self { consistency: Some(consistency), ..self.clone() }
    }

    /// The same lake as somebody sees it: the policy is asked about them.
    #[must_use]
    pub fn acting_as(&self, principal: &str) -> Self {
        Self { principal: Some(principal.into()), ..self.clone() }
    }

    /// A view in which each collection stays in the state of its first search here. Payload and predicates are of that
    /// state, too, as long as the backend has it; after that they are refused with [`Error::Superseded`].
    #[must_use]
    pub fn session(&self) -> Self {
        Self { session: Some(Arc::default()), ..self.clone() }
    }

    /// What this view has seen of a collection.
    pub(crate) fn pinned(&self, key: &Key) -> Option<Held> {
        let session = self.session.as_ref()?;
        session.seen.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// Keeps what this view sees first of a collection, if it does such things.
    pub(crate) fn pin(&self, key: &Key, held: Held) -> Held {
        let Some(session) = &self.session else { return held };
        session.seen.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_insert(held).clone()
    }

    /// Whether what this view sees of a collection may change.
    pub(crate) fn may_move(&self, key: &Key) -> bool {
        self.session.is_none() && self.settings(key).consistency != Consistency::Frozen
    }

    pub(crate) fn consistency_of(&self, configured: &Configured) -> Consistency {
        self.consistency.unwrap_or(configured.settings.consistency)
    }

    /// What the policy says about something that is about to be done.
    pub(crate) fn decide(&self, key: &Key, action: Action) -> Result<Option<Decision>> {
        let policy = self.shared.policy.as_ref().map(|policy| &*policy.0);
        let decision = policy::decide(policy, &self.request(key, action));
        if action != Action::Search
            && let Err(error) = &decision
        {
            self.note(action.name(), key, "denied", 0, error);
        }
        decision
    }

    pub(crate) fn request<'a>(&'a self, key: &'a Key, action: Action) -> Request<'a> {
        Request { principal: self.principal.as_deref(), key, action }
    }

    fn note(&self, action: &'static str, key: &Key, outcome: &'static str, rows: usize, detail: &Error) {
        self.shared.audit.push(Happened {
            principal: self.principal.clone(),
            action,
            key: Arc::new(key.clone()),
            outcome,
            rows,
            witness: None,
            query_digest: None,
            took: Duration::ZERO,
            detail: Some(detail.to_string()),
        });
    }

    /// The events since this was last called.
    ///
    /// # Errors
    /// None in practice; Arrow's own check of the columns is passed on.
    pub fn audit_events(&self) -> Result<Audit> {
        self.shared.audit.drain()
    }
}
