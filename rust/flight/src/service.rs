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
    action,
    auth::Doorkeeper,
    call::Call,
    catalog::Catalog,
    config::Limits,
    exchange::exchange,
    frames::respond,
    get::get,
    info,
    jobs::Jobs,
    log::Log,
    metrics::Metrics,
    pins::Pins,
    poll::poll,
    put::put,
    quota::Quotas,
    sql::{self, Sql},
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
    pub(crate) pins: Pins,
    pub(crate) jobs: Jobs,
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
        request: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        let call = Call::begin(&self.0, "ListFlights", &request)?;
        let criteria = request.into_inner();
        let answers = call.clone().stream(async move { info::list(&call, &criteria) }).await?;
        Ok(Response::new(answers))
    }

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let call = Call::begin(&self.0, "GetFlightInfo", &request)?;
        let descriptor = request.into_inner();
        if let Some(command) = sql::command(&descriptor.cmd) {
            let told = sql::flight_info(&call, command, descriptor);
            return call.clone().answer(told).await.map(Response::new);
        }
        let told = call.clone().answer(async move { info::info(&call, descriptor) }).await?;
        Ok(Response::new(told))
    }

    async fn poll_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        let call = Call::begin(&self.0, "PollFlightInfo", &request)?;
        let descriptor = request.into_inner();
        if let Some(command) = sql::command(&descriptor.cmd) {
            let told = sql::poll(&call, command, descriptor);
            return call.clone().answer(told).await.map(Response::new);
        }
        let told = call.clone().answer(async move { poll(&call, &descriptor) }).await?;
        Ok(Response::new(told))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let call = Call::begin(&self.0, "GetSchema", &request)?;
        let descriptor = request.into_inner();
        if let Some(command) = sql::command(&descriptor.cmd) {
            return call.clone().answer(sql::schema(&call, command)).await.map(Response::new);
        }
        let told = call.clone().answer(async move { info::schema(&call, &descriptor) }).await?;
        Ok(Response::new(told))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let call = Call::begin(&self.0, "DoGet", &request)?;
        let ticket = request.into_inner();
        if let Some(command) = sql::command(&ticket.ticket) {
            return call.clone().stream(sql::get(&call, command)).await.map(respond);
        }
        let answers = call.clone().stream(async move { get(&call, &ticket.ticket) }).await?;
        Ok(respond(answers))
    }

    async fn do_put(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        let call = Call::begin(&self.0, "DoPut", &request)?;
        let messages = request.into_inner();
        let answers = call.clone().stream(async move { put(&call, messages).await }).await?;
        Ok(Response::new(answers))
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let call = Call::begin(&self.0, "DoAction", &request)?;
        let asked = request.into_inner();
        if sql::is_action(&asked) {
            return call.clone().stream(sql::act(&call, asked)).await.map(Response::new);
        }
        let answers = call.clone().stream(async move { action::act(&call, &asked) }).await?;
        Ok(Response::new(answers))
    }

    async fn list_actions(
        &self,
        request: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        let call = Call::begin(&self.0, "ListActions", &request)?;
        let runs_sql = self.0.sql.is_some();
        let answers = call.stream(async move { Ok(action::types(runs_sql)) }).await?;
        Ok(Response::new(answers))
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        let call = Call::begin(&self.0, "DoExchange", &request)?;
        let messages = request.into_inner();
        let answers = call.clone().stream(async move { exchange(&call, messages).await }).await?;
        Ok(respond(answers))
    }
}
