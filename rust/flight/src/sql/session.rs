//! Actions of Flight SQL, and the way of drivers that know names and passwords only.

use std::{collections::HashMap, sync::Arc};

use arrow_flight::{
    Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightInfo, HandshakeResponse,
    sql::{
        ActionBeginTransactionRequest, ActionBeginTransactionResult, ActionCancelQueryRequest,
        ActionCancelQueryResult, ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
        ActionEndTransactionRequest, Command, EndTransaction, ProstMessageExt,
    },
};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use openssl::base64::decode_block;
use prost::Message;
use tonic::{Status, metadata::MetadataMap};

use super::{
    Asker,
    answer::{asked, elsewhere},
    command,
    held::{Thing, Transaction, gone},
    prepared, unpack,
};
use crate::{call::Answers, status::invalid, wire::malformed};

/// A value of an option of a session. The crate has no messages for sessions.
#[derive(Clone, PartialEq, Message)]
struct OptionValue {
    #[prost(string, optional, tag = "1")]
    text: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionOptions {
    #[prost(map = "string, message", tag = "1")]
    options: HashMap<String, OptionValue>,
}

#[derive(Clone, PartialEq, Message)]
struct OptionError {
    #[prost(int32, tag = "1")]
    value: i32,
}

#[derive(Clone, PartialEq, Message)]
struct SetOptionsResult {
    #[prost(map = "string, message", tag = "1")]
    errors: HashMap<String, OptionError>,
}

#[derive(Clone, PartialEq, Message)]
struct CloseSessionResult {
    #[prost(int32, tag = "1")]
    status: i32,
}

const UNKNOWN_OPTION: i32 = 1;
const UNKNOWN_VALUE: i32 = 2;
const CLOSED: i32 = 1;

/// What clients are told of the actions. `CancelFlightInfo`, which is not of SQL alone, is told of by the others.
pub(super) const ACTIONS: [(&str, &str); 8] = [
    ("CreatePreparedStatement", "flight sql: tells of a statement, and gives its handle"),
    ("ClosePreparedStatement", "flight sql: lets go of a prepared statement"),
    ("BeginTransaction", "flight sql: begins a transaction, and gives its handle"),
    ("EndTransaction", "flight sql: commits a transaction or rolls it back"),
    ("CancelQuery", "flight sql: stops a statement; CancelFlightInfo does the same"),
    ("SetSessionOptions", "flight sql: catalog and schema can be set to what they are"),
    ("GetSessionOptions", "flight sql: the catalog and the schema in which names are looked up"),
    ("CloseSession", "flight sql: nothing is held for a session"),
];
const CANCEL: &str = "CancelFlightInfo";

/// Whether an action is one of ours: by its name, or because it cancels what is ours.
pub(super) fn is_action(action: &Action) -> bool {
    if action.r#type == CANCEL {
        let request = CancelFlightInfoRequest::decode(&*action.body).ok();
        return request.and_then(|request| request.info).is_some_and(|info| tickets(&info).next().is_some());
    }
    ACTIONS.iter().any(|(name, _)| *name == action.r#type)
}

/// Does one, and gives the bodies of its results.
pub(super) async fn act(asker: &Asker, action: Action) -> Result<Vec<Vec<u8>>, Status> {
    let body = &*action.body;
    Ok(match action.r#type.as_str() {
        "CreatePreparedStatement" => {
            let request: ActionCreatePreparedStatementRequest = unpack(body)?;
            vec![prepared::create(asker, request).await?.as_any().encode_to_vec()]
        }
        "ClosePreparedStatement" => {
            let request: ActionClosePreparedStatementRequest = unpack(body)?;
            prepared::close(asker, &request);
            Vec::new()
        }
        "BeginTransaction" => {
            let _request: ActionBeginTransactionRequest = unpack(body)?;
            vec![begin(asker).await?.as_any().encode_to_vec()]
        }
        "EndTransaction" => {
            end(asker, &unpack(body)?).await?;
            Vec::new()
        }
        "CancelQuery" => {
            let request: ActionCancelQueryRequest = unpack(body)?;
            let info = FlightInfo::decode(&*request.info).map_err(malformed)?;
            cancel(asker, &info)?;
            let result = ActionCancelQueryResult { result: CancelStatus::Cancelled as i32 };
            vec![result.as_any().encode_to_vec()]
        }
        CANCEL => {
            let request = CancelFlightInfoRequest::decode(body).map_err(malformed)?;
            cancel(asker, &request.info.ok_or_else(|| malformed("no info"))?)?;
            vec![CancelFlightInfoResult { status: CancelStatus::Cancelled as i32 }.encode_to_vec()]
        }
        "SetSessionOptions" => {
            let set = SessionOptions::decode(body).map_err(malformed)?;
            vec![refused(asker, set).await?.encode_to_vec()]
        }
        "GetSessionOptions" => vec![there(asker).await?.encode_to_vec()],
        "CloseSession" => vec![CloseSessionResult { status: CLOSED }.encode_to_vec()],
        other => return Err(invalid("action", "one of flight sql", format!("{other:?}"))),
    })
}

async fn begin(asker: &Asker) -> Result<ActionBeginTransactionResult, Status> {
    let connection = asker.connect().await?;
    asked(&connection, |connection| connection.begin()).await?;
    let transaction = Thing::Transaction(Arc::new(Transaction::new(connection)));
    Ok(ActionBeginTransactionResult { transaction_id: asker.sql.held.put(asker.tenant.key(), transaction)? })
}

async fn end(asker: &Asker, request: &ActionEndTransactionRequest) -> Result<(), Status> {
    let commit = match request.action() {
        EndTransaction::Commit => true,
        EndTransaction::Rollback => false,
        EndTransaction::Unspecified => return Err(invalid("action", "commit or rollback", "neither")),
    };
    let (held, tenant, handle) = (&asker.sql.held, asker.tenant.key(), &request.transaction_id);
    let transaction = held.transaction(tenant, handle)?;
    let turn = transaction.turn().await?;
    // Of two that end it at once, the second one finds none.
    if held.take(tenant, handle).is_none() {
        return Err(gone("transaction"));
    }
    asked(&turn.connection, move |connection| connection.end(commit)).await
}

/// The handles of answers in an info.
fn tickets(info: &FlightInfo) -> impl Iterator<Item = bytes::Bytes> + '_ {
    let tickets = info.endpoint.iter().filter_map(|endpoint| endpoint.ticket.as_ref());
    tickets.filter_map(|ticket| match command(&ticket.ticket) {
        Some(Command::TicketStatementQuery(ticket)) => Some(ticket.statement_handle),
        _ => None,
    })
}

/// Stops statements whose answers are waited for, or are being read.
fn cancel(asker: &Asker, info: &FlightInfo) -> Result<(), Status> {
    let mut found = false;
    for handle in tickets(info) {
        let answer = match asker.sql.held.find(asker.tenant.key(), &handle) {
            Some(Thing::Answer(answer)) => Some(answer),
            Some(Thing::Reading(answer)) => answer.upgrade(),
            _ => continue,
        };
        found = true;
        let entry = asker.sql.held.take(asker.tenant.key(), &handle);
        elsewhere(move || {
            if let Some(answer) = answer {
                answer.connection.interrupt();
            }
            drop(entry);
        });
    }
    if found { Ok(()) } else { Err(gone("query")) }
}

/// The options of every session: the catalog and the schema in which names are looked up.
async fn there(asker: &Asker) -> Result<SessionOptions, Status> {
    let connection = asker.connect().await?;
    let there = asked(&Arc::clone(&connection), |connection| connection.tables(false)).await?;
    let named = |name: &str, value: &str| (name.to_owned(), OptionValue { text: Some(value.to_owned()) });
    let place = there.first();
    let options =
        place.into_iter().flat_map(|place| [named("catalog", &place.catalog), named("schema", &place.name)]);
    Ok(SessionOptions { options: options.collect() })
}

/// Which options cannot be set. Those there are can be set to what they are.
async fn refused(asker: &Asker, set: SessionOptions) -> Result<SetOptionsResult, Status> {
    let there = there(asker).await?;
    let wrong = |(name, value): (String, OptionValue)| match there.options.get(&name) {
        Some(is) if *is == value => None,
        Some(_) => Some((name, OptionError { value: UNKNOWN_VALUE })),
        None => Some((name, OptionError { value: UNKNOWN_OPTION })),
    };
    Ok(SetOptionsResult { errors: set.options.into_iter().filter_map(wrong).collect() })
}

/// What drivers send that know names and passwords only: the password is a token, which they are given back to bear.
fn basic(headers: &HeaderMap) -> Option<HeaderValue> {
    let said = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, coded) = said.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    // Go's driver leaves the padding out.
    let bare = coded.trim().trim_end_matches('=');
    let padded = format!("{bare:=<width$}", width = bare.len().next_multiple_of(4));
    let plain = String::from_utf8(decode_block(&padded).ok()?).ok()?;
    let (_name, password) = plain.split_once(':')?;
    let mut value = HeaderValue::try_from(format!("Bearer {password}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Makes a caller with a name and a password one who bears a token.
pub(crate) fn bearing(headers: &mut HeaderMap) {
    if let Some(bearer) = basic(headers) {
        headers.insert(AUTHORIZATION, bearer);
    }
}

/// Answers a handshake whose caller was admitted: the driver is told what to bear from now on.
pub(crate) fn handshake(headers: &MetadataMap) -> tonic::Response<Answers<HandshakeResponse>> {
    let answer = HandshakeResponse { protocol_version: 0, payload: bytes::Bytes::new() };
    let stream: Answers<HandshakeResponse> = Box::pin(futures::stream::iter([Ok(answer)]));
    let mut response = tonic::Response::new(stream);
    if let Some(value) = headers.get("authorization") {
        response.metadata_mut().insert("authorization", value.clone());
    }
    response
}
