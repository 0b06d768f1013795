//! A table on its way into an index: vectors wait in a nameless file beside the index, ids in memory.
//!
//! A build reads its table twice, to draw the rows it learns from and to code all of them, and takes long in between.
//! DuckDB gives each row once, and wants its thread back.

use std::{fs::File, io, path::Path, sync::Arc};

use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field};
use ruvector_core::{
    Error, Vectors,
    ids::{IdType, Ids},
    index::Chunk,
};

use crate::refusal::{Refusal, Result};

/// Vectors coded at once, in bytes: small enough to be held beside an index, large enough to fill its blocks.
const CHUNK_BYTES: usize = 1 << 27;

/// What has been gathered.
#[derive(Debug)]
pub(crate) struct Spool {
    file: Arc<File>,
    dim: Option<usize>,
    /// First row, number of rows, ids.
    pieces: Vec<(usize, usize, Option<Ids>)>,
    nulls: Vec<usize>,
}

/// Everything, in order.
#[derive(Debug)]
pub(crate) struct Gathered {
    file: Arc<File>,
    dim: usize,
    rows: usize,
    nulls: Vec<usize>,
    ids: Option<Ids>,
}

impl Spool {
    /// An empty one in the folder of the file that an index will be written to.
    pub(crate) fn beside(path: &Path) -> Result<Self, Error> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let file = tempfile::tempfile_in(folder.unwrap_or_else(|| Path::new(".")));
        let file = Arc::new(file.map_err(|error| Error::persist(path, error))?);
        Ok(Self { file, dim: None, pieces: Vec::new(), nulls: Vec::new() })
    }

    /// The elements of every vector, once one is known.
    pub(crate) fn dim(&self) -> Option<usize> {
        self.dim
    }

    /// Adds rows from `first` on: vectors, unless all of them are null, and ids, if the table has any.
    pub(crate) fn add(
        &mut self,
        first: usize,
        rows: usize,
        vectors: Option<&Vectors>,
        ids: Option<&ArrayRef>,
    ) -> Result<()> {
        match vectors {
            Some(vectors) => {
                self.dim = Some(vectors.dim());
                let mut values = vec![0.0; rows * vectors.dim()];
                vectors.copy_rows(0..rows, &mut values);
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                write_at(&self.file, &bytes, (first * vectors.dim() * 4) as u64)?;
                self.nulls.extend((0..rows).filter(|&row| vectors.is_null(row)).map(|row| first + row));
            }
            None => self.nulls.extend(first..first + rows),
        }
        let ids = ids.map(|ids| {
            Ids::from_list("id", std::slice::from_ref(ids)).map_err(|error| match error {
                Error::InvalidVector { column, row, reason } => {
                    Error::InvalidVector { column, row: first + row, reason }
                }
                other => other,
            })
        });
        self.pieces.push((first, rows, ids.transpose()?));
        Ok(())
    }

    /// Puts everything in order.
    pub(crate) fn finish(&mut self, column: &str) -> Result<Gathered> {
        let (mut pieces, mut nulls) = (std::mem::take(&mut self.pieces), std::mem::take(&mut self.nulls));
        pieces.sort_unstable_by_key(|piece| piece.0);
        let mut rows = 0;
        for (first, count, _) in &pieces {
            if *first != rows {
                return Err(Refusal(format!("{column}: row {rows} did not come, but row {first} did")));
            }
            rows += count;
        }
        nulls.sort_unstable();
        let Some(dim) = self.dim else {
            return Err(Error::EmptyIndex(format!("{column} has no vector that is not null")).into());
        };
        let kind = pieces.iter().find_map(|piece| piece.2.as_ref()).map(Ids::id_type);
        let ids = kind.map(|kind| join(kind, &pieces));
        Ok(Gathered { file: Arc::clone(&self.file), dim, rows, nulls, ids })
    }
}

fn join(kind: IdType, pieces: &[(usize, usize, Option<Ids>)]) -> Ids {
    let each = pieces.iter().filter_map(|piece| piece.2.as_ref());
    Ids::collect(kind, each.flat_map(|ids| (0..ids.len()).map(|at| ids.get(at))))
}

impl Gathered {
    /// Rows, null ones included.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The table from its first row on, in parts.
    pub(crate) fn chunks(&self, column: &str) -> impl Iterator<Item = Result<Chunk, Error>> {
        let each = (CHUNK_BYTES / (self.dim * 4)).max(1);
        (0..self.rows).step_by(each).map(move |first| {
            let rows = each.min(self.rows - first);
            self.chunk(column, first, rows)
        })
    }

    fn chunk(&self, column: &str, first: usize, rows: usize) -> Result<Chunk, Error> {
        let mut bytes = vec![0; rows * self.dim * 4];
        let read = read_at(&self.file, &mut bytes, (first * self.dim * 4) as u64);
        read.map_err(|error| Error::persist("the gathered vectors", error))?;
        let values: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|raw| f32::from_le_bytes(*raw)).collect();
        let from = self.nulls.partition_point(|&row| row < first);
        let to = self.nulls.partition_point(|&row| row < first + rows);
        let vectors = if from == to {
            Vectors::from_f32(column, self.dim, values.into())?
        } else {
            let mut valid = vec![true; rows];
            self.nulls[from..to].iter().for_each(|row| valid[row - first] = false);
            let item = Arc::new(Field::new("item", DataType::Float32, true));
            let (dim, elements) = (self.dim as i32, Arc::new(Float32Array::from(values)));
            let lists = FixedSizeListArray::try_new(item, dim, elements, Some(NullBuffer::from(valid)))?;
            Vectors::from_arrays(column, &[Arc::new(lists) as ArrayRef], Some(self.dim))?
        };
        let ids = self
            .ids
            .as_ref()
            .map(|ids| Ids::collect(ids.id_type(), (first..first + rows).map(|at| ids.get(at))));
        Ok(Chunk { vectors, ids })
    }
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

/// Zeros where nothing was written: null rows at the end.
#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    let there = file.metadata()?.len().saturating_sub(at);
    let length = bytes.len().min(usize::try_from(there).unwrap_or(usize::MAX));
    file.read_exact_at(&mut bytes[..length], at)
}

#[cfg(windows)]
fn write_at(file: &File, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = std::os::windows::fs::FileExt::seek_write(file, bytes, at)?;
        (bytes, at) = (&bytes[written..], at + written as u64);
    }
    Ok(())
}

/// Zeros where nothing was written: null rows at the end.
#[cfg(windows)]
fn read_at(file: &File, mut bytes: &mut [u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, bytes, at)?;
        if read == 0 {
            break;
        }
        (bytes, at) = (&mut bytes[read..], at + read as u64);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use arrow_array::Int64Array;
    use ruvector_core::ids::Id;

    use super::*;

    fn vectors(values: &[f32]) -> Vectors {
        Vectors::from_f32("v", 2, values.to_vec().into()).unwrap()
    }

    fn ids(values: &[i64]) -> ArrayRef {
        Arc::new(Int64Array::from(values.to_vec()))
    }

    #[test]
    fn pieces_may_come_in_any_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::beside(&folder.path().join("index")).unwrap();
        spool.add(3, 2, None, Some(&ids(&[13, 14]))).unwrap();
        spool.add(0, 3, Some(&vectors(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0])), Some(&ids(&[10, 11, 12]))).unwrap();
        let gathered = spool.finish("v").unwrap();
        let chunks: Vec<Chunk> = gathered.chunks("v").collect::<Result<_, _>>().unwrap();
        assert_eq!((gathered.rows(), chunks.len(), chunks[0].vectors.null_count()), (5, 1, 2));
        assert_eq!(chunks[0].vectors.row(2, &mut []), [4.0, 5.0]);
        assert_eq!(chunks[0].ids.as_ref().unwrap().get(4), Id::Int64(14));
    }

    #[test]
    fn rows_that_did_not_come_and_tables_of_nothing_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::beside(&folder.path().join("index")).unwrap();
        spool.add(1, 1, Some(&vectors(&[0.0, 1.0])), None).unwrap();
        assert_eq!(spool.finish("v").unwrap_err().0, "v: row 0 did not come, but row 1 did");
        let mut spool = Spool::beside(&folder.path().join("index")).unwrap();
        spool.add(0, 1, None, None).unwrap();
        assert_eq!(spool.finish("v").unwrap_err().0, "empty index: v has no vector that is not null");
        let null_id: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        let error = spool.add(7, 2, None, Some(&null_id)).unwrap_err().0;
        assert_eq!(error, "id, row 8: is null, expected an id");
    }
}
