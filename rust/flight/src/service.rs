//! The service: which verb goes where.

use std::{
    pin::Pin,
    sync::{Arc, atomic::AtomicBool},
};

use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest,
    HandshakeResponse, PollInfo, PutResult, Result as ActionResult, SchemaResult, Ticket,
    flight_service_server::FlightService,
};
use futures::Stream;
use ruvector_core::Pool;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    auth::Doorkeeper,
    call::Call,
    catalog::Catalog,
    config::Limits,
    exchange::exchange,
    log::Log,
    metrics::Metrics,
    quota::Quotas,
    sql::{self, Sql},
    wire::malformed,
};

/// What all calls share.
pub(crate) struct Shared {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) sql: Option<Arc<Sql>>,
    pub(crate) doorkeeper: Doorkeeper,
    pub(crate) limits: Limits,
    pub(crate) quotas: Quotas,
    pub(crate) metrics: Metrics,
    pub(crate) log: Log,
    pub(crate) pool: Pool,
    /// No more calls are taken.
    pub(crate) stopping: AtomicBool,
    /// Calls that are under way end now.
    pub(crate) cut: AtomicBool,
}

/// The service.
#[derive(Clone)]
pub(crate) struct Service(pub(crate) Arc<Shared>);

type Stream_<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl FlightService for Service {
    type HandshakeStream = Stream_<HandshakeResponse>;
    type ListFlightsStream = Stream_<FlightInfo>;
    type DoGetStream = Stream_<FlightData>;
    type DoPutStream = Stream_<PutResult>;
    type DoActionStream = Stream_<ActionResult>;
    type ListActionsStream = Stream_<ActionType>;
    type DoExchangeStream = Stream_<FlightData>;

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        let call = Call::begin(&self.0, "Handshake", &request)?;
        call.answer(async { Ok(sql::handshake(request.metadata())) }).await
    }

    async fn list_flights(
        &self,
        _request: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        Err(Status::unimplemented("list_flights"))
    }

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        if let Some(command) = sql::command(&request.get_ref().cmd) {
            let call = Call::begin(&self.0, "GetFlightInfo", &request)?;
            let info = sql::flight_info(&call, command, request.into_inner());
            return call.clone().answer(info).await.map(Response::new);
        }
        Err(Status::unimplemented("get_flight_info"))
    }

    async fn poll_flight_info(
        &self,
        _request: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        Err(Status::unimplemented("poll_flight_info"))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        if let Some(command) = sql::command(&request.get_ref().cmd) {
            let call = Call::begin(&self.0, "GetSchema", &request)?;
            return call.clone().answer(sql::schema(&call, command)).await.map(Response::new);
        }
        Err(Status::unimplemented("get_schema"))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        if let Some(command) = sql::command(&request.get_ref().ticket) {
            let call = Call::begin(&self.0, "DoGet", &request)?;
            return call.clone().stream(sql::get(&call, command)).await.map(Response::new);
        }
        Err(Status::unimplemented("do_get"))
    }

    async fn do_put(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        let call = Call::begin(&self.0, "DoPut", &request)?;
        let mut messages = request.into_inner();
        let first = messages.message().await?.ok_or_else(|| malformed("the stream is empty"))?;
        let said = first.flight_descriptor.as_ref().map_or(&[][..], |descriptor| &descriptor.cmd);
        if let Some(command) = sql::command(said) {
            return call.clone().stream(sql::put(&call, command, first, messages)).await.map(Response::new);
        }
        Err(Status::unimplemented("do_put"))
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        if sql::is_action(request.get_ref()) {
            let call = Call::begin(&self.0, "DoAction", &request)?;
            return call.clone().stream(sql::act(&call, request.into_inner())).await.map(Response::new);
        }
        Err(Status::unimplemented("do_action"))
    }

    async fn list_actions(
        &self,
        _request: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        Err(Status::unimplemented("list_actions"))
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        let call = Call::begin(&self.0, "DoExchange", &request)?;
        let messages = request.into_inner();
        let answers = call.clone().stream(async move { exchange(&call, messages).await }).await?;
        Ok(Response::new(answers))
    }
}
