//! Nearest neighbours over Arrow buffers: vectors in, hits out.
//!
//! An [`index::Index`] holds 1-bit RaBitQ codes in inverted lists and finds, for each query, the rows that may be
//! near; their exact distances come from the vectors themselves, which stay where they are. The crate knows no
//! Python, no query engine, no network; every door of ruvector leads here.
//!
//! The way of one query: [`vectors`] checks and lends it, [`rotate`] turns it once, [`ivf::router`] ranks the lists,
//! [`rabitq::Query`] makes its look-up table, [`kernel`] scans blocks of 32 codes, [`rabitq::QueryTerms`] bounds each
//! row's distance, [`distance`] computes the survivors' exactly, [`topk`] keeps the best, [`hits`] leaves as Arrow.
//!
//! ```
//! use ruvector_core::{Index, Pool, Unwatched, Vectors, index::{BuildParams, SearchParams}};
//!
//! let vectors = Vectors::from_f32("embedding", 2, vec![0.0, 0.0, 3.0, 4.0, 6.0, 8.0].into())?;
//! let pool = Pool::new(Some(1))?;
//! let index = Index::build(vectors.clone(), None, &BuildParams::default(), &pool, &Unwatched)?;
//! let hits = index.search(&vectors, &SearchParams { k: 2, ..SearchParams::default() }, &pool, &Unwatched)?;
//! assert_eq!(&hits.distances()[hits.of_query(0)], &[0.0, 25.0]);
//! # Ok::<(), ruvector_core::Error>(())
//! ```

pub mod distance;
pub mod error;
pub mod exact;
pub mod filter;
pub mod format;
pub mod hits;
pub mod ids;
pub mod index;
pub mod ivf;
pub mod kernel;
mod key;
pub mod live;
pub mod maxsim;
pub mod metric;
pub mod monitor;
pub mod pairs;
pub mod pool;
pub mod rabitq;
pub mod random;
pub mod rbpx;
pub mod recall;
mod repack;
pub mod replace;
pub mod rotate;
pub mod row_numbers;
pub mod segment;
pub mod short_floats;
mod steps;
pub mod topk;
pub mod vectors;

pub use error::{Error, PersistError, Result};
pub use filter::Filter;
pub use hits::Hits;
pub use index::Index;
pub use live::Live;
pub use metric::Metric;
pub use monitor::{Monitor, Phase, Unwatched};
pub use pool::Pool;
pub use vectors::Vectors;
