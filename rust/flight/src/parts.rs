//! Parts of one whole that can be read at the same time.

use std::ops::Range;

use ruvector_core::live::Snapshot;
use tonic::Status;

use crate::status::invalid;

/// Bytes of vectors in one batch of rows.
const BATCH_BYTES: usize = 4 << 20;
/// Fewer bytes than this are not worth a stream of their own.
const PART_BYTES: usize = 64 << 20;
/// Parts at most.
const MOST: usize = 8;

/// Parts that a client may ask for.
const ASKED_AT_MOST: usize = 1024;

/// How many parts there are: so many as the client asks for, or `usual`.
pub(crate) fn asked(parts: Option<usize>, usual: usize) -> Result<usize, Status> {
    match parts {
        None => Ok(usual),
        Some(parts @ 1..=ASKED_AT_MOST) => Ok(parts),
        Some(parts) => Err(invalid("parts", &format!("1 to {ASKED_AT_MOST}"), parts)),
    }
}

/// Into how many parts something of so many bytes, in so many pieces, is cut.
pub(crate) fn parts_for(bytes: usize, pieces: usize) -> usize {
    (bytes / PART_BYTES).clamp(1, MOST).min(pieces.max(1))
}

/// The pieces of one part: consecutive ones, of about as many bytes as those of any other.
pub(crate) fn part_of(sizes: &[usize], part: usize, parts: usize) -> Result<Range<usize>, Status> {
    if part >= parts {
        return Err(invalid("part", &format!("below {parts}"), part));
    }
    let all: u128 = sizes.iter().map(|&size| size as u128).sum();
    // A piece belongs to the part in which its middle lies.
    let first_of = |wanted: usize| {
        let limit = all * wanted as u128;
        let mut before: u128 = 0;
        sizes.iter().position(|&size| {
            let middle = (2 * before + size as u128) * parts as u128;
            before += size as u128;
            middle >= 2 * limit
        })
    };
    let start = first_of(part).unwrap_or(sizes.len());
    let end = if part + 1 == parts { sizes.len() } else { first_of(part + 1).unwrap_or(sizes.len()) };
    Ok(start..end.max(start))
}

/// The blocks of rows of one part.
pub(crate) fn blocks_of(snapshot: &Snapshot, part: usize, parts: usize) -> Result<Range<usize>, Status> {
    if part >= parts {
        return Err(invalid("part", &format!("below {parts}"), part));
    }
    let blocks = snapshot.blocks() as u128;
    let edge = |part: usize| (blocks * part as u128 / parts as u128) as usize;
    Ok(edge(part)..edge(part + 1))
}

/// Bytes of one block of rows.
pub(crate) fn block_bytes(snapshot: &Snapshot) -> usize {
    let element = snapshot.element().map_or(4, ruvector_core::vectors::Element::bytes);
    32 * (snapshot.index().dim() * element + 8)
}

/// How many blocks of rows make up a batch.
pub(crate) fn blocks_at_once(snapshot: &Snapshot) -> usize {
    (BATCH_BYTES / block_bytes(snapshot)).max(1)
}
