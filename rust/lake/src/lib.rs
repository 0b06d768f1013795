//! ruLake: a cache of vector indexes before the lakes where vectors live.
//!
//! A [`Backend`] tells the state of its collections and yields their rows as Arrow batches. [`RuLake`] keeps an index of
//! each state it was asked about, within a budget of bytes, asks the backend again when the collection's
//! [`Consistency`] says so, and searches several collections as if they were one.
//!
//! ```
//! use std::sync::Arc;
//! use ruvector_core::{Vectors, ids::Ids};
//! use ruvector_lake::{BackendOptions, Key, RuLake, SearchOptions, backend::LocalBackend};
//!
//! let docs = LocalBackend::new("memory");
//! let vectors = Vectors::from_f32("v", 2, vec![0.0, 0.0, 3.0, 4.0].into())?;
//! docs.upsert("docs", &Ids::Int64(vec![7, 8].into()), &vectors)?;
//! let lake = RuLake::builder().build()?;
//! lake.register_backend(Arc::new(docs), BackendOptions::default())?;
//! let options = SearchOptions { k: 1, ..SearchOptions::default() };
//! let answer = lake.search_one(&Key::new("memory", "docs"), &[3.0, 3.0], &options)?;
//! assert_eq!((answer.hits[0][0].id.as_id().to_string(), answer.hits[0][0].distance), ("8".into(), 1.0));
//! # Ok::<(), ruvector_lake::Error>(())
//! ```

pub mod answer;
pub mod audit;
pub mod backend;
pub mod builder;
pub mod bundle;
mod cache;
mod cancel;
mod coherence;
mod entry;
pub mod error;
mod fan;
mod flight;
mod folder;
mod forgotten;
pub mod generation;
mod hedge;
mod holdings;
mod join;
mod key;
mod known;
pub mod lake;
mod pin;
pub mod policy;
pub mod predicate;
mod rows;
#[cfg(feature = "object-store")]
pub mod runtime;
mod scan;
pub mod search;
pub mod settings;
mod shard;
pub mod share;
pub mod sign;
mod spill;
pub mod stats;
mod view;
mod watch;
pub mod witness;
mod workers;

pub use answer::{Answer, Hit};
pub use backend::Backend;
pub use builder::Builder;
pub use bundle::Bundle;
pub use error::{Error, Result};
pub use generation::Generation;
pub use key::Key;
pub use lake::RuLake;
pub use pin::Pin;
pub use predicate::Predicate;
pub use rows::Limits;
pub use search::{OnError, SearchOptions, Targets};
pub use settings::{BackendOptions, Consistency, Settings};
pub use share::{Published, RefreshResult};
pub use witness::Witness;
