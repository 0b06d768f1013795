//! What a fuzzer calls: the way of a descriptor and of a stream of Arrow IPC, without the network around it.
//!
//! An input is a descriptor and messages, each of them after its length: see [`pack`].

use arrow_flight::FlightData;
use bytes::Bytes;
use tonic::Code;

use crate::{
    ask::{ExchangeAsk, ids_of, parse},
    config::Limits,
    decode::{Decoded, Decoder},
    quota::Quotas,
    wire::{vector_column, vectors},
};

/// Neighbours that are asked for at most.
const MOST: usize = 10_000;

/// Reads an input as the server would. The number of batches that it held.
///
/// # Errors
/// What the server would answer in place of hits.
pub fn read(input: &[u8]) -> Result<usize, String> {
    let mut rest = input;
    let descriptor = piece(&mut rest);
    let (ExchangeAsk::Search(ask) | ExchangeAsk::Within(ask)) =
        parse("descriptor", descriptor).map_err(|error| error.to_string())?;
    ask.params(MOST).map_err(|error| error.to_string())?;
    if let Some(ids) = &ask.ids {
        ids_of(ids).map_err(|error| error.to_string())?;
    }
    let quota = Quotas::new(&Limits::default()).of("fuzzer");
    let (mut decoder, mut columns, mut batches) = (Decoder::default(), None, 0);
    while !rest.is_empty() {
        let data_header = Bytes::copy_from_slice(piece(&mut rest));
        let data_body = Bytes::copy_from_slice(piece(&mut rest));
        let message = FlightData { data_header, data_body, ..FlightData::default() };
        let decoded = decoder.message(&message, |bytes| quota.keep(bytes));
        match decoded.map_err(|status| format!("{:?} {}", status.code(), status.message()))? {
            Decoded::Schema(schema) => {
                let at = vector_column(&schema, ask.column.as_deref()).map_err(|error| error.to_string())?;
                columns = Some(at);
            }
            Decoded::Batch(batch) => {
                let at = columns.ok_or_else(|| format!("{:?}", Code::InvalidArgument))?;
                vectors(&batch, at, None).map_err(|error| error.to_string())?;
                batches += 1;
            }
            Decoded::Nothing => {}
        }
    }
    Ok(batches)
}

/// Makes an input.
pub fn pack(descriptor: &[u8], messages: &[FlightData]) -> Vec<u8> {
    let mut packed = Vec::new();
    let pieces = messages.iter().flat_map(|message| [&message.data_header[..], &message.data_body[..]]);
    for piece in std::iter::once(descriptor).chain(pieces) {
        packed.extend_from_slice(&(piece.len() as u32).to_le_bytes());
        packed.extend_from_slice(piece);
    }
    packed
}

/// The next piece, or as much of it as there is.
fn piece<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let Some((length, after)) = rest.split_first_chunk::<4>() else {
        return std::mem::take(rest);
    };
    let length = (u32::from_le_bytes(*length) as usize).min(after.len());
    let (piece, after) = after.split_at(length);
    *rest = after;
    piece
}
