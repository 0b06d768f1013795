//! `DoAction`: what is done besides streaming. Bodies and results are JSON, but for the actions that Arrow Flight names.

use std::sync::Arc;

use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightEndpoint,
    RenewFlightEndpointRequest, Result as ActionResult,
};
use futures::{StreamExt, stream};
use prost::Message;
use ruvector_core::{
    Error as CoreError, Monitor, Vectors,
    format::Keep,
    index::{Effort, SearchParams, VectorsKept},
    live::Retrain,
    recall::recall_at_k,
};
use ruvector_lake::{Error, Key};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tonic::Status;

use crate::{
    ask::{BuildAsk, GetAsk, Queries, SearchAsk, parse},
    auth::Verb,
    builds,
    call::{Answers, Call},
    catalog::{Source, State},
    info,
    pins::pinned,
    poll, sql,
    status::{invalid, refuse},
    wire::malformed,
};

/// What can be done, and what the body says.
const ACTIONS: [(&str, &str); 10] = [
    (
        "build",
        r#"{"collection": name, "from": name, "metric", "bits", "nlist", "seed", "keep", "replace"}: builds an index of the rows of another collection, as a job. Answers {"job": id} at once, and what came of it at the end"#,
    ),
    (
        "compact",
        r#"{"collection": name, "retrain": true, false or null, "save": false}: makes one segment of all rows, and saves the index to its file"#,
    ),
    ("drop", r#"{"collection": name}: takes a name out, and its file if a client has built it"#),
    (
        "stats",
        r#"{"collection": name or null}: rows, dim, bits, metric, bytes and generation of one collection, or of all; the counters of the lake"#,
    ),
    (
        "recall",
        r#"{"collection": name, "k": 10, "recall" or "nprobe", "epsilon", "n": 100, "seed": 0, "queries": null}: the share of the true neighbours that a search finds, of n rows or of these queries"#,
    ),
    ("health", "{}: whether the server answers"),
    ("list", r#"{"prefix": ""}: the names of collections"#),
    ("job", r#"{"job": id, "stop": false}: how far a job is"#),
    (
        "CancelFlightInfo",
        "stops the build that PollFlightInfo told of, or the statement that GetFlightInfo ran",
    ),
    ("RenewFlightEndpoint", "holds the state of a ticket for longer"),
];

/// All actions, those of SQL where it is run.
pub(crate) fn types(runs_sql: bool) -> Answers<ActionType> {
    let sql = sql::ACTIONS.into_iter().filter(move |_| runs_sql);
    let types = ACTIONS
        .into_iter()
        .chain(sql)
        .map(|(name, description)| Ok(ActionType { r#type: name.into(), description: description.into() }));
    stream::iter(types).boxed()
}

/// Does one.
pub(crate) fn act(call: &Call, action: &Action) -> Result<Answers<ActionResult>, Status> {
    let body = &action.body;
    let one = match action.r#type.as_str() {
        "build" => return build(call, body),
        "compact" => compact(call, &read(body)?)?,
        "drop" => discard(call, &read::<Named>(body)?)?,
        "stats" => stats(call, &read(body)?)?,
        "recall" => recall(call, &read(body)?)?,
        "health" => health(call, &read(body)?),
        "list" => list(call, &read(body)?)?,
        "job" => job(call, &read(body)?)?,
        "CancelFlightInfo" => return cancel(call, body),
        "RenewFlightEndpoint" => return renew(call, body),
        other => {
            let known: Vec<&str> = ACTIONS.iter().map(|(name, _)| *name).collect();
            return Err(invalid("action", &format!("one of {known:?}"), format!("{other:?}")));
        }
    };
    Ok(stream::iter([Ok(result(&one))]).boxed())
}

fn result(what: &Value) -> ActionResult {
    ActionResult::new(what.to_string())
}

/// A body; none at all is one that says nothing.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Status> {
    parse("body", if body.is_empty() { b"{}" } else { body }).map_err(refuse)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    collection: String,
}

fn build(call: &Call, body: &[u8]) -> Result<Answers<ActionResult>, Status> {
    let job = builds::begin(call, &read::<BuildAsk>(body)?)?;
    let begun = result(&json!({"job": job.id}));
    let end = stream::once(async move { Ok(result(&job.wait().await?)) });
    Ok(stream::iter([Ok(begun)]).chain(end).boxed())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JobAsk {
    job: String,
    #[serde(default)]
    stop: bool,
}

fn job(call: &Call, ask: &JobAsk) -> Result<Value, Status> {
    let job = call.shared().jobs.find(call, &ask.job)?;
    if ask.stop {
        job.stop();
    }
    let (state, outcome) = match job.outcome() {
        None => ("running", Value::Null),
        Some(Ok(outcome)) => ("done", outcome),
        Some(Err(status)) => {
            ("failed", json!({"code": format!("{:?}", status.code()), "message": status.message()}))
        }
    };
    Ok(
        json!({"job": job.id, "collection": job.collection, "state": state, "progress": job.progress(), "outcome": outcome}),
    )
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CompactAsk {
    collection: String,
    #[serde(default)]
    retrain: Option<bool>,
    #[serde(default)]
    save: bool,
}

fn compact(call: &Call, ask: &CompactAsk) -> Result<Value, Status> {
    let served = call.find(Verb::Write, &ask.collection)?;
    let Source::Index(live) = &served.source else { return Err(not_an_index(&ask.collection)) };
    let path = match (&served.path, ask.save) {
        (None, true) => return Err(invalid("save", "an index that has a file", "one in memory")),
        (path, save) => path.as_ref().filter(|_| save),
    };
    let retrain = match ask.retrain {
        None => Retrain::Auto,
        Some(true) => Retrain::Always,
        Some(false) => Retrain::Never,
    };
    let pool = &call.shared().pool;
    call.compute(|monitor| {
        let done = live.compact(retrain, pool, monitor)?;
        if let Some(path) = path {
            live.sealed(pool, monitor)?.save(path, Keep::AsIs)?;
        }
        Ok::<_, CoreError>(json!({
            "rows": done.rows,
            "dropped": done.dropped,
            "segments": done.segments,
            "drift": done.drift,
            "retrained": done.retrained,
            "saved": path.is_some(),
        }))
    })
}

fn not_an_index(name: &str) -> Status {
    let expected = "an index: the rows of a lake's collections belong to their backends";
    invalid("collection", expected, format!("{name:?}"))
}

fn discard(call: &Call, ask: &Named) -> Result<Value, Status> {
    let served = call.find(Verb::Build, &ask.collection)?;
    let catalog = &call.shared().catalog;
    if matches!(served.source, Source::Collection { .. }) {
        return Err(not_an_index(&ask.collection));
    }
    call.compute(|_| {
        let dropped = catalog.discard(&ask.collection)?;
        Ok::<_, Error>(json!({"dropped": dropped}))
    })
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct StatsAsk {
    collection: Option<String>,
}

fn stats(call: &Call, ask: &StatsAsk) -> Result<Value, Status> {
    if let Some(name) = &ask.collection {
        let served = call.find(Verb::Read, name)?;
        return one(call, name, &served.source);
    }
    call.caller().may(Verb::Read)?;
    let catalog = &call.shared().catalog;
    let mut all = serde_json::Map::new();
    for name in catalog.names().into_iter().filter(|name| call.caller().knows(name)) {
        if let Some(served) = catalog.find(&name)
            && let Source::Index(_) = &served.source
        {
            all.insert(name.clone(), one(call, &name, &served.source)?);
        }
    }
    let mut told = json!({"collections": all});
    // What the cache did tells of collections that not everybody may know of.
    if call.caller().knows_all()
        && let Some(lake) = catalog.lake()
    {
        let stats = lake.cache_stats();
        told["lake"] = json!({
            "entries": stats.entries,
            "bytes": stats.bytes,
            "hits": stats.counters.hits,
            "misses": stats.counters.misses,
            "primes": stats.counters.primes,
            "evictions": stats.counters.evictions,
            "failures": stats.counters.failures,
        });
    }
    Ok(told)
}

fn one(call: &Call, name: &str, source: &Source) -> Result<Value, Status> {
    let pinned = pinned(call, Verb::Read, name, None)?;
    let state = &pinned.state;
    let mut told = json!({
        "rows": state.len(),
        "dim": state.dim(),
        "metric": state.metric().name(),
        "id_type": state.id_type().name(),
        "generation": state.generation(),
    });
    match (source, state) {
        (Source::Index(_), State::Index { snapshot, .. }) => {
            let index = snapshot.index();
            told["bits"] = index.bits().into();
            told["nlist"] = index.router().nlist().into();
            told["bytes"] = snapshot.memory_bytes().into();
            told["mapped_bytes"] = index.mapped_bytes().into();
            told["vectors"] = (index.vectors_kept() != VectorsKept::None).into();
        }
        (Source::Collection { lake, key, .. }, State::Lake(pin)) => {
            told["bits"] = pin.bundle().coding.bits.into();
            if let Some(snapshot) = pin.snapshot() {
                told["bytes"] = snapshot.memory_bytes().into();
            }
            if let Some(counters) = lake.cache_stats_by_collection().get(&Key::clone(key)) {
                told["cache"] = json!({"hits": counters.hits, "misses": counters.misses});
            }
        }
        _ => {}
    }
    Ok(told)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecallAsk {
    collection: String,
    #[serde(default = "ten")]
    k: usize,
    #[serde(default)]
    recall: Option<f64>,
    #[serde(default)]
    nprobe: Option<usize>,
    #[serde(default)]
    epsilon: Option<f32>,
    #[serde(default = "hundred")]
    n: usize,
    #[serde(default)]
    seed: u64,
    #[serde(default)]
    queries: Option<Queries>,
}

fn ten() -> usize {
    10
}

fn hundred() -> usize {
    100
}

/// Rows that recall is measured on at most: each is compared with all.
const MEASURED: usize = 10_000;

fn recall(call: &Call, ask: &RecallAsk) -> Result<Value, Status> {
    let pinned = pinned(call, Verb::Search, &ask.collection, None)?;
    if !(1..=MEASURED).contains(&ask.n) {
        return Err(invalid("n", &format!("1 to {MEASURED}"), ask.n));
    }
    let search = SearchAsk {
        k: ask.k,
        recall: ask.recall,
        nprobe: ask.nprobe,
        epsilon: ask.epsilon,
        ..SearchAsk::default()
    };
    let params = search.params(call.shared().limits.k).map_err(refuse)?;
    let pool = &call.shared().pool;
    call.compute(|monitor| {
        let queries = match &ask.queries {
            Some(queries) => {
                let values = queries.values()?;
                if values.len() / queries.dim > MEASURED {
                    let expected = format!("at most {MEASURED}");
                    let found = (values.len() / queries.dim).to_string();
                    return Err(CoreError::invalid_parameter("queries", expected, found).into());
                }
                Vectors::from_f32("queries", queries.dim, values.into())?
            }
            None => sample(&*pinned.snapshot()?, ask.n, ask.seed, monitor)?,
        };
        let state = &pinned.state;
        let exact = SearchParams { effort: Effort::Exact, ..params.clone() };
        let truth = state.search(&queries, &exact, pool, monitor)?;
        let found = state.search(&queries, &params, pool, monitor)?;
        let recall = recall_at_k(&found, &truth)?;
        Ok::<_, Error>(json!({"recall": recall, "k": ask.k, "queries": queries.len()}))
    })
}

/// Rows from all over the index: one each of blocks at equal distances.
fn sample(
    snapshot: &ruvector_core::live::Snapshot,
    wanted: usize,
    seed: u64,
    monitor: &dyn Monitor,
) -> Result<Vectors, CoreError> {
    let (blocks, dim) = (snapshot.blocks().max(1), snapshot.index().dim());
    let mut values = Vec::new();
    let mut scratch = vec![0.0; dim];
    let mut step = blocks as f64 / wanted as f64;
    if wanted > blocks {
        step = 1.0;
    }
    let each = wanted.div_ceil(blocks);
    let mut at = 0.0;
    while (at as usize) < blocks && values.len() < wanted * dim {
        if monitor.interrupted() {
            return Err(CoreError::Interrupted);
        }
        let block = (at as usize + (seed % blocks as u64) as usize) % blocks;
        let (_, vectors) = snapshot.rows_of(block..block + 1)?;
        let vectors = Vectors::from_arrays("vector", &[Arc::new(vectors)], Some(dim))?;
        for row in (0..vectors.len()).take(each) {
            values.extend_from_slice(vectors.row(row, &mut scratch));
        }
        at += step;
    }
    values.truncate(wanted * dim);
    Vectors::from_f32("rows", dim, values.into())
}

fn health(call: &Call, _: &Nothing) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    json!({"status": "ok", "version": version, "indexes": call.shared().catalog.names().into_iter().filter(|name| call.caller().knows(name)).count()})
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct ListAsk {
    prefix: String,
}

fn list(call: &Call, ask: &ListAsk) -> Result<Value, Status> {
    call.caller().may(Verb::Read)?;
    let mut names = info::known(call)?;
    names.retain(|name| name.starts_with(&ask.prefix));
    Ok(json!({"collections": names}))
}

fn cancel(call: &Call, body: &[u8]) -> Result<Answers<ActionResult>, Status> {
    let request = CancelFlightInfoRequest::decode(body).map_err(malformed)?;
    let descriptor = request.info.and_then(|info| info.flight_descriptor);
    let descriptor = descriptor.ok_or_else(|| malformed("a flight info without a descriptor"))?;
    let job = poll::job_of(call, &descriptor)?;
    let status = if job.stop() { CancelStatus::Cancelling } else { CancelStatus::NotCancellable };
    let told = CancelFlightInfoResult::new(status).encode_to_vec();
    Ok(stream::iter([Ok(ActionResult::new(told))]).boxed())
}

/// Holds the state of a ticket for longer, if it is still held.
fn renew(call: &Call, body: &[u8]) -> Result<Answers<ActionResult>, Status> {
    let request = RenewFlightEndpointRequest::decode(body).map_err(malformed)?;
    let endpoint = request.endpoint.ok_or_else(|| malformed("no endpoint"))?;
    let ticket = endpoint.ticket.as_ref().ok_or_else(|| malformed("an endpoint without a ticket"))?;
    let ask: GetAsk = parse("ticket", &ticket.ticket).map_err(refuse)?;
    let generation = ask.generation().ok_or_else(|| invalid("generation", "the one of a ticket", "none"))?;
    let verb = if matches!(ask, GetAsk::Index(_) | GetAsk::Scan(_)) { Verb::Read } else { Verb::Search };
    let pinned = pinned(call, verb, ask.collection(), Some(generation))?;
    let until = call.shared().pins.hold(call, ask.collection(), &pinned);
    let renewed = FlightEndpoint { expiration_time: Some(until), ..endpoint };
    Ok(stream::iter([Ok(ActionResult::new(renewed.encode_to_vec()))]).boxed())
}
