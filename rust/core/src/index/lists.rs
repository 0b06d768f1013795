//! Which blocks belong to which list, over all segments.

use std::ops::Range;

use crate::segment::Segment;

/// The blocks of one list in one segment.
#[derive(Clone, Debug)]
pub(super) struct Run {
    segment: u32,
    blocks: Range<u32>,
}

impl Run {
    pub(super) fn segment(&self) -> usize {
        self.segment as usize
    }

    pub(super) fn blocks(&self) -> Range<usize> {
        self.blocks.start as usize..self.blocks.end as usize
    }
}

/// For each list its runs, in the order of the segments.
#[derive(Clone, Debug)]
pub(super) struct Lists {
    starts: Vec<u32>,
    runs: Vec<Run>,
}

impl Lists {
    /// Reads the sorted list column of every segment once.
    pub(super) fn new(nlist: usize, segments: &[Segment]) -> Self {
        let mut runs: Vec<(u32, Run)> = (0..)
            .zip(segments)
            .flat_map(|(segment, table)| {
                table.list_id.chunk_by(|a, b| a == b).scan(0, move |start, same| {
                    let blocks = *start..*start + same.len() as u32;
                    *start = blocks.end;
                    Some((same[0], Run { segment, blocks }))
                })
            })
            .collect();
        runs.sort_by_key(|(list, run)| (*list, run.segment()));
        let starts =
            (0..=nlist).map(|list| runs.partition_point(|(of, _)| (*of as usize) < list) as u32).collect();
        Self { starts, runs: runs.into_iter().map(|(_, run)| run).collect() }
    }

    pub(super) fn runs(&self, list: usize) -> &[Run] {
        &self.runs[self.starts[list] as usize..self.starts[list + 1] as usize]
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.starts[..]) + size_of_val(&self.runs[..])
    }
}
