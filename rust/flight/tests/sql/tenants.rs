use arrow_flight::sql::{CommandStatementIngest, EndTransaction};
use futures::stream;
use ruvector_flight::auth::Verb;
use tonic::Code;

use crate::{
    engine::batch,
    setup::{World, query, refused, token},
};

fn world() -> World {
    let all = || vec![Verb::Search, Verb::Sql];
    let mut few = token("few", vec![Verb::Sql]);
    few.collections = Some(Vec::new());
    World::of(vec![token("ann", all()), token("bob", all()), token("cy", vec![Verb::Search]), few])
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tenant_has_tables_and_handles_of_its_own() {
    let world = world();
    let (mut ann, mut bob) = (world.bearing("secret-of-ann").await, world.bearing("secret-of-bob").await);
    let command = CommandStatementIngest { table: "hers".into(), ..CommandStatementIngest::default() };
    ann.execute_ingest(command, stream::iter([Ok(batch("x", vec![42]))])).await.unwrap();
    assert_eq!(query(&mut ann, "ALL hers").await.unwrap(), [42]);
    assert_eq!(refused(query(&mut bob, "ALL hers").await), (Code::InvalidArgument, "no table hers".into()));
    let transaction = ann.begin_transaction().await.unwrap();
    let stolen = bob.end_transaction(transaction.clone(), EndTransaction::Commit).await;
    assert_eq!(refused(stolen).0, Code::NotFound);
    let info = ann.execute("ALL hers".into(), Some(transaction.clone())).await.unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    assert_eq!(refused(bob.do_get(ticket).await.map(drop)).0, Code::NotFound);
    ann.end_transaction(transaction, EndTransaction::Commit).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_run_sql_runs_none() {
    let world = world();
    let mut cy = world.bearing("secret-of-cy").await;
    assert_eq!(refused(query(&mut cy, "ALL x").await).0, Code::PermissionDenied);
    assert_eq!(refused(cy.get_catalogs().await).0, Code::PermissionDenied);
    assert_eq!(refused(cy.begin_transaction().await).0, Code::PermissionDenied);
    let mut nobody = world.client().await;
    assert_eq!(refused(query(&mut nobody, "ALL x").await).0, Code::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_see_what_the_tenant_may_know_of() {
    let world = world();
    let mut ann = world.bearing("secret-of-ann").await;
    assert_eq!(query(&mut ann, "KNOWS docs").await.unwrap(), [1]);
    let mut few = world.bearing("secret-of-few").await;
    let hidden = refused(query(&mut few, "KNOWS docs").await);
    let missing = refused(query(&mut few, "KNOWS cats").await);
    assert_eq!(hidden.0, Code::InvalidArgument);
    assert_eq!(hidden.1.replace("docs", "cats"), missing.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_turns_a_password_into_a_token() {
    let world = world();
    let mut client = world.client().await;
    client.handshake("whoever", "secret-of-eve").await.unwrap_err();
    client.handshake("whoever", "secret-of-ann").await.unwrap();
    assert_eq!(client.token().map(String::as_str), Some("secret-of-ann"));
    assert_eq!(query(&mut client, "KNOWS docs").await.unwrap(), [1]);
}
