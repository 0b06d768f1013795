//! `ruvector_register` and `ruvector_unregister`: names for saved indexes.

use std::{ffi::CStr, sync::Arc};

use ruvector_core::Error;

use super::{
    Shared,
    info::{COLUMNS, write_once},
};
use crate::{
    capi::{Arguments, Columns, Kind, Named, Rows, TableFunction, Type},
    refusal::Result,
    registry::Found,
};

pub(super) struct Register(pub(super) Arc<Shared>);

pub(super) struct Unregister(pub(super) Arc<Shared>);

fn text(arguments: &Arguments<'_>, place: u64, name: &str, expected: &str) -> Result<String> {
    let given = arguments.at(place).and_then(|value| value.text());
    Ok(given.ok_or_else(|| Error::invalid_parameter(name, expected, "NULL"))?)
}

impl TableFunction for Register {
    type Bound = (String, String);
    type Run = Option<Found>;

    fn name(&self) -> &'static CStr {
        c"ruvector_register"
    }

    fn parameters(&self) -> Vec<Type> {
        vec![Type::plain(Kind::Varchar), Type::plain(Kind::Varchar)]
    }

    fn named(&self) -> Vec<Named> {
        Vec::new()
    }

    fn bind(&self, arguments: &Arguments<'_>) -> Result<(Self::Bound, Columns)> {
        let name = text(arguments, 0, "name", "a name")?;
        let path = text(arguments, 1, "path", "a path")?;
        Ok(((name, path), Columns { columns: COLUMNS.to_vec(), rows: Some(1) }))
    }

    fn start(&self, (name, path): &Self::Bound) -> Result<Option<Found>> {
        Ok(Some(self.0.registry.register(name, path)?))
    }

    fn next(&self, _: &Self::Bound, found: &mut Option<Found>, rows: &mut Rows<'_>) -> Result<usize> {
        write_once(found, rows)
    }
}

impl TableFunction for Unregister {
    type Bound = String;
    type Run = bool;

    fn name(&self) -> &'static CStr {
        c"ruvector_unregister"
    }

    fn parameters(&self) -> Vec<Type> {
        vec![Type::plain(Kind::Varchar)]
    }

    fn named(&self) -> Vec<Named> {
        Vec::new()
    }

    fn bind(&self, arguments: &Arguments<'_>) -> Result<(String, Columns)> {
        let name = text(arguments, 0, "name", "a name")?;
        Ok((name, Columns { columns: vec![(c"name", Kind::Varchar)], rows: Some(1) }))
    }

    fn start(&self, name: &String) -> Result<bool> {
        self.0.registry.unregister(name)?;
        Ok(true)
    }

    fn next(&self, name: &String, told: &mut bool, rows: &mut Rows<'_>) -> Result<usize> {
        if !std::mem::take(told) {
            return Ok(0);
        }
        rows.write(0, 1, |column| {
            column.set_bytes(0, name.as_bytes());
            Ok(())
        })?;
        Ok(1)
    }
}
