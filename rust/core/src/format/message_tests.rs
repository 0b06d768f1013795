//! Files in pieces.

use arrow_array::{Array, RecordBatch};

use super::{
    tests::{build_with_bits, ids, vectors},
    *,
};
use crate::{Metric, vectors::Element};

fn some(kind: &str, bits: u32) -> Index {
    build_with_bits(vectors(1), ids(kind).as_ref(), Metric::L2Sq, 3, bits)
}

#[test]
fn the_messages_of_an_opened_file_lie_in_it() {
    for keep in [Keep::AsIs, Keep::None, Keep::F16] {
        let bytes = Buffer::from(some("str", 3).to_bytes(keep).unwrap());
        let within = bytes.as_ptr_range();
        let opened = Index::from_bytes(bytes.clone(), true).unwrap();
        let messages = opened.messages(Keep::AsIs).unwrap();
        assert_eq!(messages.file_bytes, bytes.len());
        assert_eq!(Some(&messages.digest), opened.file_digest().as_ref());
        let blocks: usize = opened.segments().iter().map(crate::segment::Segment::blocks).sum();
        assert_eq!(messages.batches.iter().map(|message| message.blocks).sum::<usize>(), blocks);
        let parts = messages.batches.iter().flat_map(|message| [&message.header, &message.body]);
        for part in parts.chain([&messages.schema]) {
            assert!(within.contains(&part.as_ptr()), "copied");
        }
        // With other vectors it is another file.
        if keep != Keep::None {
            let without = opened.messages(Keep::None).unwrap();
            assert!(without.file_bytes < messages.file_bytes);
        }
    }
}

#[test]
fn batches_become_the_index_they_were_of() {
    for (kind, bits) in [("row", 1), ("int64", 1), ("uint64", 4), ("str", 9)] {
        for keep in [Keep::AsIs, Keep::None, Keep::F16] {
            let bytes = some(kind, bits).to_bytes(keep).unwrap();
            let opened = Index::from_bytes(bytes.clone(), true).unwrap();
            let read = Index::from_batches(&opened.to_batches().unwrap()).unwrap();
            assert_eq!(read.digest(), opened.digest());
            assert_eq!(read.to_bytes(Keep::AsIs).unwrap(), bytes, "{kind} {bits} {keep:?}");
        }
    }
}

#[test]
fn batches_that_are_not_as_they_were_written_are_refused() {
    let opened = Index::from_bytes(some("int64", 2).to_bytes(Keep::AsIs).unwrap(), true).unwrap();
    let batches = opened.to_batches().unwrap();
    let whole = batches[0].num_rows();
    let refused = |batches: &[RecordBatch]| Index::from_batches(batches).unwrap_err().to_string();
    assert!(refused(&[]).contains("no batches"));
    // Rows that are missing, rows that come twice, columns that are missing or have changed places, no header.
    assert!(refused(&[batches[0].slice(0, whole - 1)]).contains("digest"));
    assert!(refused(&[batches[0].clone(), batches[0].clone()]).contains("centroids"));
    let columns: Vec<usize> = (1..batches[0].num_columns()).collect();
    assert!(refused(&[batches[0].project(&columns).unwrap()]).contains("columns"));
    let bare = RecordBatch::try_new(
        arrow_schema::Schema::new(batches[0].schema().fields().clone()).into(),
        batches[0].columns().to_vec(),
    );
    assert!(refused(&[bare.unwrap()]).contains("metadata"));
    // One column of another index of the same shape.
    let other = Index::from_bytes(
        build_with_bits(vectors(2), ids("int64").as_ref(), Metric::L2Sq, 3, 2).to_bytes(Keep::AsIs).unwrap(),
        true,
    );
    let other = other.unwrap().to_batches().unwrap();
    if other[0].num_rows() == whole {
        for at in 0..batches[0].num_columns() {
            let mut columns = batches[0].columns().to_vec();
            if columns[at].to_data() == other[0].columns()[at].to_data() {
                continue;
            }
            columns[at] = other[0].columns()[at].clone();
            let mixed = RecordBatch::try_new(batches[0].schema(), columns).unwrap();
            assert!(Index::from_batches(&[mixed]).is_err(), "column {at}");
        }
    }
}

#[test]
fn batches_fit_into_a_message_with_and_without_vectors() {
    for (kind, bits) in [("row", 1), ("str", 8)] {
        let index = some(kind, bits);
        let centroids = index.router().centroids().stored().len();
        for kept in [None, Some(Element::F16), Some(Element::F32)] {
            for most in [1, 10_000, 50_000, usize::MAX] {
                let plan = write::plan_within(&index, kept, most);
                let mut next = 0;
                for (segment, blocks) in &plan {
                    assert_eq!(blocks.start, next);
                    next = blocks.end;
                    let bytes: usize = blocks.clone().map(|block| write::block_bytes(segment, block)).sum();
                    let vectors = kept.map_or(0, |kept| blocks.len() * 32 * index.dim() * kept.bytes());
                    let first = if blocks.start == 0 { centroids } else { 0 };
                    assert!(blocks.len() == 1 || bytes + vectors + first <= most, "{kind} {most}");
                }
                assert_eq!(next, index.segments()[0].blocks());
                assert!(most != 1 || plan.len() == next);
                assert!(most != usize::MAX || plan.len() == 1);
            }
        }
    }
}
