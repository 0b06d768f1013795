//! Who calls, and what they may do.

use std::sync::Arc;

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use tonic::{Code, Status, metadata::MetadataMap};

use crate::status::{named, unknown};

/// What can be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// To search.
    Search,
    /// To read rows and indexes, and what is known of them.
    Read,
    /// To add, replace and delete rows, and to compact.
    Write,
    /// To build indexes, and to put them in place of others.
    Build,
    /// To run SQL.
    Sql,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Search, Self::Read, Self::Write, Self::Build, Self::Sql];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Search => "search",
            Self::Read => "read",
            Self::Write => "write",
            Self::Build => "build",
            Self::Sql => "sql",
        }
    }
}

/// A bearer token and what it is good for.
#[derive(Clone)]
pub struct Token {
    /// The secret.
    pub secret: String,
    /// Who has it: the principal of the lake's policies, and what the log says.
    pub principal: String,
    /// The collections that its bearer may know of; `None` is all, and a name that ends in `*` is all that begin so.
    pub collections: Option<Vec<String>>,
    /// What they may do.
    pub verbs: Vec<Verb>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("principal", &self.principal).finish_non_exhaustive()
    }
}

/// Who makes a call.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Whose quota it counts against.
    pub(crate) client: String,
    /// The bearer's token; `None` where no tokens are asked for.
    token: Option<Arc<Token>>,
}

/// The tokens there are.
#[derive(Debug, Default)]
pub(crate) struct Doorkeeper {
    tokens: Vec<Arc<Token>>,
}

impl Doorkeeper {
    pub(crate) fn new(tokens: Vec<Token>) -> Self {
        Self { tokens: tokens.into_iter().map(Arc::new).collect() }
    }

    /// Finds out who calls. All secrets are compared, and each one whole: the time it takes tells nothing of them.
    pub(crate) fn admit(&self, headers: &MetadataMap, peer: &str) -> Result<Caller, Status> {
        if self.tokens.is_empty() {
            return Ok(Caller { client: peer.to_owned(), token: None });
        }
        let said = headers.get("authorization").and_then(|value| value.to_str().ok());
        let Some((scheme, secret)) = said.and_then(|said| said.split_once(' ')) else {
            return Err(unauthenticated("authorization: expected a bearer token, got none"));
        };
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(unauthenticated("authorization: expected a bearer token, got another scheme"));
        }
        let mut found = u32::MAX;
        for (at, token) in self.tokens.iter().enumerate() {
            let same: Choice = token.secret.as_bytes().ct_eq(secret.trim().as_bytes());
            found.conditional_assign(&(at as u32), same);
        }
        let Some(token) = self.tokens.get(found as usize) else {
            return Err(unauthenticated("authorization: the token is not known"));
        };
        Ok(Caller { client: token.principal.clone(), token: Some(Arc::clone(token)) })
    }
}

impl Caller {
    /// Who it is for the policies of a lake.
    pub(crate) fn principal(&self) -> Option<&str> {
        self.token.as_ref().map(|token| token.principal.as_str())
    }

    /// Who it is and what they may do, in one text: whoever has the same text may do the same.
    pub(crate) fn rights(&self) -> String {
        let Some(token) = &self.token else { return format!("{:?}", self.principal()) };
        let verbs = Verb::ALL.into_iter().filter(|verb| token.verbs.contains(verb)).map(Verb::name);
        format!("{:?} {:?} {:?}", self.principal(), token.collections, verbs.collect::<Vec<_>>())
    }

    /// Whether the caller may know that there is a collection of this name.
    pub(crate) fn knows(&self, name: &str) -> bool {
        let Some(collections) = self.token.as_ref().and_then(|token| token.collections.as_ref()) else {
            return true;
        };
        collections.iter().any(|allowed| match allowed.strip_suffix('*') {
            Some(begin) => name.starts_with(begin),
            None => name == allowed,
        })
    }

    /// Whether the caller may see all collections.
    pub(crate) fn knows_all(&self) -> bool {
        self.token.as_ref().is_none_or(|token| token.collections.is_none())
    }

    /// Refuses what the caller may not do at all.
    pub(crate) fn may(&self, verb: Verb) -> Result<(), Status> {
        match &self.token {
            Some(token) if !token.verbs.contains(&verb) => {
                let message = format!("{} may not {}", token.principal, verb.name());
                Err(named(Code::PermissionDenied, "PolicyDenied", message))
            }
            _ => Ok(()),
        }
    }

    /// Refuses what the caller may not do with a collection. One that they must not know of is unknown to them.
    pub(crate) fn may_with(&self, verb: Verb, collection: &str) -> Result<(), Status> {
        if !self.knows(collection) {
            return Err(unknown(collection));
        }
        self.may(verb)
    }
}

fn unauthenticated(message: &str) -> Status {
    named(Code::Unauthenticated, "PolicyDenied", message)
}
