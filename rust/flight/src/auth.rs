//! Who calls, and what they may do.

use std::sync::Arc;

use blake3::Hash;
use http::HeaderMap;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use tonic::{Code, Status};

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
    /// Who the certificate of the connection was made for.
    certified: Option<Arc<str>>,
    /// The bearer's token; `None` where no tokens are asked for.
    token: Option<Arc<Token>>,
}

/// The tokens there are.
#[derive(Default)]
pub(crate) struct Doorkeeper {
    tokens: Vec<(Hash, Arc<Token>)>,
}

impl Doorkeeper {
    /// Refuses tokens that say nothing of their bearer: those without a secret, and two with the same one.
    pub(crate) fn new(tokens: Vec<Token>) -> Result<Self, String> {
        let mut known: Vec<(Hash, Arc<Token>)> = Vec::with_capacity(tokens.len());
        for token in tokens {
            let who = &token.principal;
            if who.is_empty() {
                return Err("expected a principal for every token, got an empty one".into());
            }
            if token.secret.trim().is_empty() || !token.secret.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(format!("expected a secret of visible ascii for {who:?}, got another"));
            }
            let digest = blake3::hash(token.secret.as_bytes());
            if let Some((_, other)) = known.iter().find(|(known, _)| *known == digest) {
                let other = &other.principal;
                return Err(format!("expected different secrets, got the same for {other:?} and {who:?}"));
            }
            known.push((digest, Arc::new(token)));
        }
        Ok(Self { tokens: known })
    }

    /// Finds out who calls: the token says it if there are any, then the certificate, then the address. Digests are
    /// compared, all of them and each one whole: the time it takes tells neither of secrets nor of how long they are.
    pub(crate) fn admit(
        &self,
        headers: &HeaderMap,
        certified: Option<&Arc<str>>,
        peer: &str,
    ) -> Result<Caller, Status> {
        let certified = certified.cloned();
        if self.tokens.is_empty() {
            let client = certified.as_deref().unwrap_or(peer).to_owned();
            return Ok(Caller { client, certified, token: None });
        }
        let said = headers.get("authorization").and_then(|value| value.to_str().ok());
        let Some((scheme, secret)) = said.and_then(|said| said.split_once(' ')) else {
            return Err(unauthenticated("authorization: expected a bearer token, got none"));
        };
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(unauthenticated("authorization: expected a bearer token, got another scheme"));
        }
        let digest = blake3::hash(secret.trim().as_bytes());
        let mut found = u32::MAX;
        for (at, (known, _)) in self.tokens.iter().enumerate() {
            let same: Choice = known.as_bytes().ct_eq(digest.as_bytes());
            found.conditional_assign(&(at as u32), same);
        }
        let Some((_, token)) = self.tokens.get(found as usize) else {
            return Err(unauthenticated("authorization: expected a token that is known, got another"));
        };
        Ok(Caller { client: token.principal.clone(), certified, token: Some(Arc::clone(token)) })
    }
}

impl Caller {
    /// Who it is for the policies of a lake.
    pub(crate) fn principal(&self) -> Option<&str> {
        self.token.as_ref().map(|token| token.principal.as_str()).or(self.certified.as_deref())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn token(secret: &str, principal: &str) -> Token {
        Token {
            secret: secret.into(),
            principal: principal.into(),
            collections: Some(vec!["docs".into(), "team-*".into()]),
            verbs: vec![Verb::Search],
        }
    }

    fn headers(said: &str) -> HeaderMap {
        HeaderMap::from_iter([(http::header::AUTHORIZATION, said.parse().unwrap())])
    }

    #[test]
    fn the_bearer_of_a_token_is_its_principal() {
        let keeper = Doorkeeper::new(vec![token("one", "ann"), token("two", "bob")]).unwrap();
        for said in ["Bearer two", "bearer  two ", "BEARER two"] {
            let caller = keeper.admit(&headers(said), None, "1.2.3.4").unwrap();
            assert_eq!((caller.principal(), caller.client.as_str()), (Some("bob"), "bob"), "{said}");
        }
        for said in ["Bearer three", "Bearer", "Bearer ", "Basic two", "two", "Bearer tw", "Bearer twoo"] {
            let refused = keeper.admit(&headers(said), None, "1.2.3.4").unwrap_err();
            assert_eq!(refused.code(), Code::Unauthenticated, "{said}");
            assert!(!refused.message().contains("two"));
        }
        assert_eq!(keeper.admit(&HeaderMap::new(), None, "p").unwrap_err().code(), Code::Unauthenticated);
    }

    #[test]
    fn a_certificate_says_who_calls_where_no_token_does() {
        let name: Arc<str> = "carol".into();
        let open = Doorkeeper::default();
        let caller = open.admit(&HeaderMap::new(), Some(&name), "1.2.3.4").unwrap();
        assert_eq!((caller.principal(), caller.client.as_str()), (Some("carol"), "carol"));
        let both = Doorkeeper::new(vec![token("one", "ann")]).unwrap();
        assert!(both.admit(&HeaderMap::new(), Some(&name), "1.2.3.4").is_err());
        let caller = both.admit(&headers("Bearer one"), Some(&name), "1.2.3.4").unwrap();
        assert_eq!(caller.principal(), Some("ann"));
        let nobody = open.admit(&HeaderMap::new(), None, "1.2.3.4").unwrap();
        assert_eq!((nobody.principal(), nobody.client.as_str()), (None, "1.2.3.4"));
    }

    #[test]
    fn what_is_not_allowed_is_unknown_and_what_may_not_be_done_is_denied() {
        let keeper = Doorkeeper::new(vec![token("one", "ann")]).unwrap();
        let caller = keeper.admit(&headers("Bearer one"), None, "p").unwrap();
        assert!(caller.may_with(Verb::Search, "docs").is_ok());
        assert!(caller.may_with(Verb::Search, "team-a").is_ok());
        for name in ["docs2", "Docs", "team", "", "*"] {
            let refused = caller.may_with(Verb::Search, name).unwrap_err();
            assert_eq!((refused.code(), refused.message()), (Code::NotFound, unknown(name).message()));
        }
        assert_eq!(caller.may_with(Verb::Read, "docs").unwrap_err().code(), Code::PermissionDenied);
        assert_eq!(caller.may_with(Verb::Read, "other").unwrap_err().code(), Code::NotFound);
        assert!(!caller.knows_all());
    }

    #[test]
    fn tokens_that_tell_nobody_apart_are_refused_and_never_shown() {
        let wrong = [
            vec![token("", "ann")],
            vec![token("  ", "ann")],
            vec![token("a b", "ann")],
            vec![token("same", "ann"), token("same", "bob")],
            vec![token("one", "")],
        ];
        for tokens in wrong {
            let shown = Doorkeeper::new(tokens).err().unwrap();
            assert!(shown.starts_with("expected") && !shown.contains("same\""), "{shown}");
        }
        assert!(!format!("{:?}", token("hush-hush", "ann")).contains("hush"));
        let keeper = Doorkeeper::new(vec![token("hush-hush", "ann")]).unwrap();
        let caller = keeper.admit(&headers("Bearer hush-hush"), None, "p").unwrap();
        assert!(!format!("{caller:?}").contains("hush"));
    }
}
