//! `ruvector_macros`: the statements that make the macros, for a client that cannot read a file.

use std::ffi::CStr;

use crate::{
    capi::{Arguments, Columns, Kind, Named, Rows, TableFunction, Type},
    refusal::Result,
};

/// The statements, each ended by a semicolon at the end of a line.
const SQL: &str = include_str!("../../../../sql/duckdb/extension.sql");

pub(super) struct Macros;

fn statements() -> impl Iterator<Item = &'static str> {
    SQL.split_inclusive(";\n").map(str::trim).filter(|statement| statement.ends_with(';'))
}

impl TableFunction for Macros {
    type Bound = ();
    type Run = bool;

    fn name(&self) -> &'static CStr {
        c"ruvector_macros"
    }

    fn parameters(&self) -> Vec<Type> {
        Vec::new()
    }

    fn named(&self) -> Vec<Named> {
        Vec::new()
    }

    fn bind(&self, _: &Arguments<'_>) -> Result<((), Columns)> {
        let rows = Some(statements().count());
        Ok(((), Columns { columns: vec![(c"sql", Kind::Varchar)], rows }))
    }

    fn start(&self, (): &()) -> Result<bool> {
        Ok(false)
    }

    fn next(&self, (): &(), told: &mut bool, rows: &mut Rows<'_>) -> Result<usize> {
        if std::mem::replace(told, true) {
            return Ok(0);
        }
        let count = statements().count();
        rows.write(0, count, |column| {
            statements().enumerate().for_each(|(row, sql)| column.set_bytes(row, sql.as_bytes()));
            Ok(())
        })?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_statement_makes_one_macro() {
        let all: Vec<&str> = statements().collect();
        assert_eq!(all.len(), 7);
        for sql in all {
            assert_eq!(sql.matches("CREATE OR REPLACE TEMP MACRO ").count(), 1, "{sql}");
        }
    }
}
