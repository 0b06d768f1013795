use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_flight::sql::{
    CommandGetCrossReference, CommandGetPrimaryKeys, CommandGetTables, CommandStatementIngest,
    EndTransaction, SqlInfo, TableDefinitionOptions, TableExistsOption, TableNotExistOption,
};
use futures::{StreamExt, TryStreamExt, stream};
use tonic::Code;

use crate::{
    engine::{batch, numbers},
    setup::{Client, World, query, read, refused},
};

fn into(table: &str, if_exists: TableExistsOption) -> CommandStatementIngest {
    CommandStatementIngest {
        table_definition_options: Some(TableDefinitionOptions {
            if_not_exist: TableNotExistOption::Create.into(),
            if_exists: if_exists.into(),
        }),
        table: table.into(),
        ..CommandStatementIngest::default()
    }
}

async fn ingest(client: &mut Client, command: CommandStatementIngest, values: Vec<i64>) -> i64 {
    client.execute_ingest(command, stream::iter([Ok(batch("x", values))])).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_statement_runs_once_for_each_row() {
    let world = World::of(Vec::new());
    let mut client = world.client().await;
    let mut echo = client.prepare("ECHO ?".into(), None).await.unwrap();
    assert_eq!(echo.parameter_schema().unwrap(), &*numbers("1"));
    assert_eq!(echo.dataset_schema().unwrap(), &*numbers("x"));
    let (code, message) = refused(echo.execute().await);
    assert_eq!((code, &*message), (Code::InvalidArgument, "expected a value, got none"));
    echo.set_parameters(batch("1", vec![3, 1, 2])).unwrap();
    for _ in 0..2 {
        let info = echo.execute().await.unwrap();
        assert_eq!(read(&mut client, info).await.unwrap(), [3, 1, 2]);
    }
    echo.close().await.unwrap();
    let mut add = client.prepare("ADD kept".into(), None).await.unwrap();
    add.set_parameters(batch("1", vec![4, 5])).unwrap();
    assert_eq!(add.execute_update().await.unwrap(), 2);
    assert_eq!(query(&mut client, "ALL kept").await.unwrap(), [4, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_rows_all_are_changed_or_none() {
    let world = World::of(Vec::new());
    let mut client = world.client().await;
    ingest(&mut client, into("kept", TableExistsOption::Fail), vec![1]).await;
    let mut add = client.prepare("ADD kept".into(), None).await.unwrap();
    add.set_parameters(batch("1", vec![2, -1, 3])).unwrap();
    assert_eq!(refused(add.execute_update().await).0, Code::InvalidArgument);
    assert_eq!(query(&mut client, "ALL kept").await.unwrap(), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_written_in_bulk() {
    let world = World::of(Vec::new());
    let mut client = world.client().await;
    assert_eq!(ingest(&mut client, into("t", TableExistsOption::Fail), vec![1, 2]).await, 2);
    assert_eq!(ingest(&mut client, into("t", TableExistsOption::Append), vec![3]).await, 1);
    assert_eq!(query(&mut client, "ALL t").await.unwrap(), [1, 2, 3]);
    assert_eq!(ingest(&mut client, into("t", TableExistsOption::Replace), vec![4]).await, 1);
    assert_eq!(query(&mut client, "ALL t").await.unwrap(), [4]);
    let again =
        client.execute_ingest(into("t", TableExistsOption::Fail), stream::iter([Ok(batch("x", vec![5]))]));
    assert_eq!(refused(again.await), (Code::InvalidArgument, "table t: there is 1".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_committed_or_rolled_back() {
    let world = World::of(Vec::new());
    let mut client = world.client().await;
    ingest(&mut client, into("kept", TableExistsOption::Fail), vec![1]).await;
    for (action, left) in [(EndTransaction::Rollback, vec![1]), (EndTransaction::Commit, vec![1, 2])] {
        let transaction = client.begin_transaction().await.unwrap();
        let mut add = client.prepare("ADD kept".into(), Some(transaction.clone())).await.unwrap();
        add.set_parameters(batch("1", vec![2])).unwrap();
        add.execute_update().await.unwrap();
        let info = client.execute("ALL kept".into(), Some(transaction.clone())).await.unwrap();
        // The answer is kept although the transaction ends before it is read.
        client.end_transaction(transaction.clone(), action).await.unwrap();
        assert_eq!(read(&mut client, info).await.unwrap(), [1, 2]);
        assert_eq!(query(&mut client, "ALL kept").await.unwrap(), left);
        assert_eq!(refused(client.execute("ALL kept".into(), Some(transaction)).await).0, Code::NotFound);
        assert_eq!(refused(add.execute_update().await).0, Code::FailedPrecondition);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_has_its_code() {
    let world = World::of(Vec::new());
    let mut client = world.client().await;
    for (sql, code, message) in [
        ("DENIED", Code::PermissionDenied, "not here"),
        ("MUCH", Code::ResourceExhausted, "too much"),
        ("BROKEN", Code::Internal, "it broke"),
        ("PANIC", Code::Internal, "internal: the engine panicked, please report it"),
        ("?", Code::InvalidArgument, r#"expected a statement, got "?""#),
    ] {
        assert_eq!(refused(client.execute(sql.into(), None).await), (code, message.into()), "{sql}");
    }
    assert_eq!(refused(client.prepare("?".into(), None).await.map(drop)).0, Code::InvalidArgument);
    let transaction = client.begin_transaction().await.unwrap();
    let unsaid = client.end_transaction(transaction, EndTransaction::Unspecified).await;
    assert_eq!(refused(unsaid).0, Code::InvalidArgument);
}

/// Waits until so many statements were stopped.
async fn stopped(world: &World, count: usize) {
    for _ in 0..1_000 {
        if *world.engine.stopped.lock().unwrap() == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("expected {count} statements to be stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_whose_client_goes_away_is_stopped() {
    let world = World::of(Vec::new());
    let mut client = world.client().await;
    let asked = client.execute("SLOWLY".into(), None);
    assert!(tokio::time::timeout(Duration::from_millis(300), asked).await.is_err());
    stopped(&world, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_made_as_they_are_read() {
    let world = World::of(Vec::new());
    let mut client = world.client().await;
    let info = client.execute("FOREVER".into(), None).await.unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let some: Vec<_> = client.do_get(ticket.clone()).await.unwrap().take(100).try_collect().await.unwrap();
    assert_eq!(some.len(), 100);
    assert_eq!(refused(client.do_get(ticket).await.map(drop)).0, Code::NotFound, "read once");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_tells_what_there_is() {
    let world = World::of(Vec::new());
    let mut client = world.client().await;
    ingest(&mut client, into("kept", TableExistsOption::Fail), vec![1]).await;
    ingest(&mut client, into("other", TableExistsOption::Fail), vec![1]).await;
    let asked =
        CommandGetTables { table_name_filter_pattern: Some("k%".into()), ..CommandGetTables::default() };
    let tables = client.get_tables(asked).await.unwrap();
    assert_eq!(texts(&mut client, tables, "table_name").await, ["kept"]);
    let catalogs = client.get_catalogs().await.unwrap();
    assert_eq!(texts(&mut client, catalogs, "catalog_name").await, ["numbers"]);
    let asked = CommandGetPrimaryKeys { table: "kept".into(), ..CommandGetPrimaryKeys::default() };
    let keys = client.get_primary_keys(asked).await.unwrap();
    assert_eq!(texts(&mut client, keys, "column_name").await, ["x"]);
    let asked = CommandGetCrossReference {
        pk_table: "kept".into(),
        fk_table: "other".into(),
        ..CommandGetCrossReference::default()
    };
    let keys = client.get_cross_reference(asked).await.unwrap();
    assert_eq!(texts(&mut client, keys, "fk_key_name").await, ["points"]);
    let info = client.get_sql_info(vec![SqlInfo::FlightSqlServerName]).await.unwrap();
    let batches: Vec<_> =
        client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap().try_collect().await.unwrap();
    let told = batches[0].column(1).as_union().value(0);
    assert_eq!(told.as_string::<i32>().value(0), "ruvector (Numbers 7)");
}

async fn texts(client: &mut Client, info: arrow_flight::FlightInfo, column: &str) -> Vec<String> {
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let batches: Vec<_> = client.do_get(ticket).await.unwrap().try_collect().await.unwrap();
    let batch = &batches[0];
    assert_eq!(batch.schema(), info.try_decode_schema().unwrap().into());
    batch.column_by_name(column).unwrap().as_string::<i32>().iter().flatten().map(String::from).collect()
}
