//! Who may call, and what they may know of.

use ruvector_flight::{
    Config,
    auth::{Token, Verb},
};
use tonic::{Code, Request};

use crate::support::{
    ASK, asking, connect, exchange, exchange_with, queries, runtime, search, serve, with_token,
};

fn token(secret: &str, principal: &str, collections: Option<&[&str]>, verbs: &[Verb]) -> Token {
    let collections = collections.map(|names| names.iter().map(|&name| name.to_owned()).collect());
    Token { secret: secret.into(), principal: principal.into(), collections, verbs: verbs.to_vec() }
}

fn config() -> Config {
    let tokens = vec![
        token("all-of-it", "ann", None, &Verb::ALL),
        token("only-docs", "bob", Some(&["docs"]), &[Verb::Search]),
        token("reads-only", "eve", Some(&["docs"]), &[Verb::Read]),
    ];
    Config { tokens, ..Config::default() }
}

#[test]
fn a_call_needs_a_token_that_is_known() {
    let server = serve(config());
    runtime().block_on(async {
        let mut client = connect(server.address()).await;
        search(&mut client, Some("all-of-it")).await.unwrap();
        for wrong in ["", "wrong", "all-of-i", "all-of-it2", "ALL-OF-IT"] {
            let refused = search(&mut client, Some(wrong)).await.unwrap_err();
            assert_eq!(refused.code(), Code::Unauthenticated, "{wrong}");
            assert_eq!(refused.metadata().get("ruvector-error").unwrap(), "PolicyDenied");
        }
        assert_eq!(search(&mut client, None).await.unwrap_err().code(), Code::Unauthenticated);
        let mut basic = Request::new(futures::stream::iter(asking(ASK, vec![queries(1)]).await));
        basic.metadata_mut().insert("authorization", "Basic YWxsOm9mLWl0".parse().unwrap());
        let refused = exchange_with(&mut client, basic).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
        search(&mut client, Some("only-docs")).await.unwrap();
    });
    assert!(server.stop());
}

#[test]
fn what_a_caller_may_not_know_of_is_as_unknown_as_what_is_not_there() {
    let server = serve(config());
    runtime().block_on(async {
        let mut client = connect(server.address()).await;
        let mut ask = async |name: &str, token: &str| {
            let ask = ASK.replace("docs", name);
            let messages = futures::stream::iter(asking(&ask, vec![queries(1)]).await);
            exchange_with(&mut client, with_token(messages, token)).await
        };
        assert!(ask("secret", "all-of-it").await.is_ok());
        let hidden = ask("secret", "only-docs").await.unwrap_err();
        let missing = ask("absent", "only-docs").await.unwrap_err();
        assert_eq!((hidden.code(), missing.code()), (Code::NotFound, Code::NotFound));
        assert_eq!(hidden.message().replace("secret", "absent"), missing.message());
        let (hidden, missing) =
            (hidden.metadata().clone().into_headers(), missing.metadata().clone().into_headers());
        assert_eq!(hidden.get("ruvector-error"), missing.get("ruvector-error"));
        assert_eq!(ask("docs", "reads-only").await.unwrap_err().code(), Code::PermissionDenied);
        assert_eq!(ask("secret", "reads-only").await.unwrap_err().code(), Code::NotFound);
    });
    assert!(server.stop());
}

#[test]
fn a_server_does_not_start_with_tokens_that_tell_nobody_apart() {
    let same = vec![token("the-same", "ann", None, &Verb::ALL), token("the-same", "bob", None, &Verb::ALL)];
    let catalog = std::sync::Arc::new(ruvector_flight::Catalog::new(None, None));
    let config = Config { tokens: same, ..Config::default() };
    let error = ruvector_flight::Server::start(catalog, config).err().unwrap().to_string();
    assert_eq!(error, "tokens: expected different secrets, got the same for \"ann\" and \"bob\"");
}

#[test]
fn names_that_are_paths_are_names_of_nothing() {
    let server = serve(Config::default());
    runtime().block_on(async {
        let mut client = connect(server.address()).await;
        let long = "x".repeat(100_000);
        for name in ["../docs", "/etc/passwd", "docs/../docs", "docs\\u0000", "", ".", "DOCS", "*", &long] {
            let ask = ASK.replace("docs", name);
            let refused = exchange(&mut client, asking(&ask, vec![queries(1)]).await).await.unwrap_err();
            assert_eq!(refused.code(), Code::NotFound, "{name}");
        }
        let path = |path: &[&str]| {
            arrow_flight::FlightDescriptor::new_path(path.iter().map(|&part| part.to_owned()).collect())
        };
        for parts in [&["..", "docs"][..], &["docs", ".."], &[""], &[], &["/docs"]] {
            let messages = crate::support::messages(path(parts), vec![queries(1)]).await;
            assert_eq!(
                exchange(&mut client, messages).await.unwrap_err().code(),
                Code::NotFound,
                "{parts:?}"
            );
        }
        let messages = crate::support::messages(path(&["docs"]), vec![queries(1)]).await;
        assert!(exchange(&mut client, messages).await.is_ok());
        search(&mut client, None).await.unwrap();
    });
    assert!(server.stop());
}
