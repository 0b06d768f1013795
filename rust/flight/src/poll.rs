//! `PollFlightInfo`: how far a build is. A descriptor that asks for one begins it; the descriptor that comes back asks
//! about it.

use std::sync::Arc;

use arrow_flight::{FlightDescriptor, FlightInfo, PollInfo, flight_descriptor::DescriptorType};
use serde::{Deserialize, Serialize};
use tonic::Status;

use crate::{
    ask::{BuildAsk, parse},
    builds,
    call::Call,
    info::info,
    jobs::{Job, KEPT},
    pins::in_time,
    status::refuse,
    wire::malformed,
};

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum PollAsk {
    /// Begins a build.
    Build(BuildAsk),
    /// Asks about one, by its number.
    Job(String),
}

/// Begins a build, or tells how far it is.
pub(crate) fn poll(call: &Call, descriptor: &FlightDescriptor) -> Result<PollInfo, Status> {
    let job = match asked(descriptor)? {
        PollAsk::Build(ask) => builds::begin(call, &ask)?,
        PollAsk::Job(id) => call.shared().jobs.find(call, &id)?,
    };
    let cmd = serde_json::json!({"job": job.id}).to_string();
    let again = FlightDescriptor::new_cmd(cmd);
    let until = in_time(KEPT);
    let progress = Some(job.progress());
    match job.outcome() {
        None => Ok(PollInfo {
            info: Some(FlightInfo::new().with_descriptor(again.clone())),
            flight_descriptor: Some(again),
            progress,
            expiration_time: Some(until),
        }),
        Some(Err(status)) => Err(status),
        Some(Ok(_)) => {
            // Whoever has built an index may be one who must not read it.
            let path = FlightDescriptor::new_path(vec![job.collection.clone()]);
            let info = info(call, path.clone()).unwrap_or_else(|_| FlightInfo::new().with_descriptor(path));
            Ok(PollInfo { info: Some(info), flight_descriptor: None, progress, expiration_time: Some(until) })
        }
    }
}

/// The job that a descriptor is about.
pub(crate) fn job_of(call: &Call, descriptor: &FlightDescriptor) -> Result<Arc<Job>, Status> {
    match asked(descriptor)? {
        PollAsk::Job(id) => call.shared().jobs.find(call, &id),
        PollAsk::Build(_) => Err(malformed("a descriptor that is not one of a build under way")),
    }
}

fn asked(descriptor: &FlightDescriptor) -> Result<PollAsk, Status> {
    if descriptor.r#type() != DescriptorType::Cmd {
        return Err(malformed("a descriptor without a command: polled is a build"));
    }
    parse("descriptor", &descriptor.cmd).map_err(refuse)
}
