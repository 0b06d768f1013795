//! Which state of an index a running statement sees.
//!
//! The C API tells a scalar function neither when its statement begins nor when it ends. So the macros say with each
//! chunk which statement it belongs to, in SQL's own words: the connection, then what is another for each of its
//! statements. A connection runs one statement at a time: the states of one are let go when the next one asks.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use ruvector_core::{Error, Filter, live::Snapshot};

use crate::{filter::Given, lock::lock, registry::Registry};

/// How many connections are remembered, the ones that asked last. A closed one cannot be told from an idle one.
const CONNECTIONS: usize = 256;
/// How long a statement is remembered that asks nothing more.
const KEEP: Duration = Duration::from_secs(600);

/// One state of an index.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) snapshot: Arc<Snapshot>,
    /// The last filter: every chunk brings the same one.
    filter: Mutex<Option<(Given, Arc<Filter>)>>,
}

impl State {
    /// A state that nobody shares.
    pub(crate) fn new(snapshot: Arc<Snapshot>) -> Self {
        Self { snapshot, filter: Mutex::default() }
    }

    /// The rows that a filter lets pass, found out once.
    pub(crate) fn allowed(&self, given: Given) -> Result<Arc<Filter>, Error> {
        let mut last = lock(&self.filter);
        if let Some((_, filter)) = last.as_ref().filter(|last| last.0 == given) {
            return Ok(Arc::clone(filter));
        }
        let filter = given.of(&self.snapshot)?;
        *last = Some((given, Arc::clone(&filter)));
        Ok(filter)
    }
}

#[derive(Debug)]
struct Statement {
    /// The connection and the statement.
    connection: String,
    name: String,
    asked: Instant,
    states: HashMap<String, Arc<State>>,
}

/// The statement that each connection runs, or ran last. The latest first.
#[derive(Debug, Default)]
pub(crate) struct Statements(Mutex<VecDeque<Statement>>);

impl Statements {
    /// The state of an index that a statement sees: the current one when it first asks, the same from then on.
    ///
    /// # Errors
    /// As [`Registry::find`].
    pub(crate) fn state(
        &self,
        statement: &str,
        index: &str,
        registry: &Registry,
    ) -> Result<Arc<State>, Error> {
        let connection = statement.split(' ').next().unwrap_or_default();
        // Locked until the state is known: threads of one statement must not find two.
        let mut statements = lock(&self.0);
        let known = statements.iter().position(|known| known.connection == connection);
        let mut current = known.and_then(|at| statements.remove(at));
        let before = current.take_if(|current| current.name != statement);
        let mut current = current.unwrap_or_else(|| Statement {
            connection: connection.to_owned(),
            name: statement.to_owned(),
            asked: Instant::now(),
            states: HashMap::new(),
        });
        current.asked = Instant::now();
        let state = match current.states.get(index) {
            Some(state) => Ok(Arc::clone(state)),
            None => registry.find(index).map(|found| {
                let state = Arc::new(State::new(found.snapshot));
                current.states.insert(index.to_owned(), Arc::clone(&state));
                state
            }),
        };
        statements.push_front(current);
        // The latest come first, so the ones that are over are at the end.
        let live =
            statements.iter().take(CONNECTIONS).take_while(|known| known.asked.elapsed() < KEEP).count();
        let over = statements.split_off(live.max(1));
        drop(statements);
        // Unlocked first: these may be the last holds on large tables.
        drop((before, over));
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::tests::save;

    #[test]
    fn a_statement_sees_one_state_and_the_next_one_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docs.rbpx");
        save(&path, 3);
        let (registry, statements) = (Registry::default(), Statements::default());
        let rows = |statement: &str| {
            statements.state(statement, path.to_str().unwrap(), &registry).unwrap().snapshot.len()
        };
        assert_eq!(rows("1 a"), 3);
        save(&path, 5);
        assert_eq!((rows("1 a"), rows("2 a")), (3, 5));
        assert_eq!((rows("1 b"), rows("2 a")), (5, 5));
        assert!(statements.state("1 b", "nope", &registry).is_err());
        assert_eq!(lock(&statements.0).len(), 2);
        (0..2 * CONNECTIONS).for_each(|connection| assert_eq!(rows(&format!("{connection} x")), 5));
        assert_eq!(lock(&statements.0).len(), CONNECTIONS);
    }
}
