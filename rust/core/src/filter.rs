//! Which rows may be returned: a set of row numbers, asked for 32 at a time by the scan.
//!
//! The set is a dense bitmap. Made at once it lies in one piece, where a kernel can look up many rows at a time. Changed
//! row by row it becomes pages of 4 KiB: copies share them, and a change copies the one page that it touches, which is
//! what makes a snapshot of an index with deleted rows cheap (see [`crate::live`]). A search asks a copy of them in one piece.

use std::sync::{Arc, OnceLock};

use arrow_array::{Array, ArrayRef, BooleanArray, cast::AsArray};
use arrow_schema::DataType;
use roaring::{RoaringBitmap, RoaringTreemap};

use crate::{
    error::{Error, Result},
    kernel::Kernels,
    rabitq::BLOCK,
    row_numbers::RowNumbers,
};

const PAGE_WORDS: usize = 512;
const PAGE_ROWS: u64 = 64 * PAGE_WORDS as u64;

/// Up to so many pages, 8 MiB, are copied into one piece for a search.
const PAGES_IN_ONE_PIECE: usize = 2048;

type Page = [u64; PAGE_WORDS];

/// A set of row numbers.
///
/// ```
/// use ruvector_core::filter::Filter;
///
/// let filter = Filter::from_rows([3, 5, 8], 8);
/// assert!(filter.contains(3) && !filter.contains(4));
/// assert_eq!(filter.count(), 2, "row 8 is beyond a table of 8 rows");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Filter {
    words: Words,
    count: usize,
}

/// Bit `j` of word `i` stands for row `64 i + j`.
#[derive(Clone, Debug)]
enum Words {
    Whole(Arc<Vec<u64>>),
    Paged(Pages),
}

#[derive(Clone, Debug, Default)]
struct Pages {
    pages: Vec<Arc<Page>>,
    /// All of them in one piece, which is made when a search first asks for blocks.
    whole: OnceLock<Arc<[u64]>>,
}

impl Filter {
    /// No row of a table of `rows` rows.
    pub fn none(rows: u64) -> Self {
        Self::from_rows([], rows)
    }

    /// The given rows of a table of `rows` rows; those beyond its end are ignored.
    pub fn from_rows(allowed: impl IntoIterator<Item = u64>, rows: u64) -> Self {
        let (mut words, mut count) = (vec![0_u64; rows.div_ceil(64) as usize], 0);
        for row in allowed.into_iter().filter(|&row| row < rows) {
            let (word, bit) = (&mut words[(row / 64) as usize], 1 << (row % 64));
            count += usize::from(*word & bit == 0);
            *word |= bit;
        }
        Self { words: Words::Whole(Arc::new(words)), count }
    }

    /// The rows at which a boolean column is true; null counts as false.
    ///
    /// # Errors
    /// [`Error::InvalidType`] for a column that is not boolean, [`Error::InvalidParameter`] when it does not have
    /// `rows` rows.
    pub fn from_mask(kernels: Kernels, column: &str, arrays: &[ArrayRef], rows: u64) -> Result<Self> {
        let len: usize = arrays.iter().map(Array::len).sum();
        if let Some(array) = arrays.iter().find(|array| array.data_type() != &DataType::Boolean) {
            let (expected, actual) = ("booleans".into(), array.data_type().to_string());
            return Err(Error::InvalidType { column: column.into(), expected, actual });
        }
        if len as u64 != rows {
            let expected = format!("one boolean per row ({rows})");
            return Err(Error::invalid_parameter(column, expected, format!("{len} booleans")));
        }
        let mut words = Vec::with_capacity(len.div_ceil(64) + 1);
        let mut start = 0;
        for array in arrays {
            append(&mut words, start, array.as_boolean());
            start += array.len();
        }
        let count = kernels.ones(&words);
        Ok(Self { words: Words::Whole(Arc::new(words)), count })
    }

    /// The rows whose numbers a serialized Roaring bitmap holds (see [`roaring_values`]).
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] when the bytes are not a Roaring bitmap.
    pub fn from_roaring(bytes: &[u8], rows: u64) -> Result<Self> {
        Ok(Self::from_rows(roaring_values(bytes)?, rows))
    }

    /// How many rows are in the set.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether a row is in the set.
    pub fn contains(&self, row: u64) -> bool {
        let (page, word, bit) = place(row);
        self.words.page(page).get(word).is_some_and(|word| word & bit != 0)
    }

    /// A bit for each of the rows of block `block` that is in the set. `rows` count from `first_row`.
    pub fn mask(&self, kernels: Kernels, first_row: u64, rows: &RowNumbers, block: usize) -> u32 {
        match self.words.whole() {
            Some(whole) => kernels.rows_in(rows.packed_block(block), rows.bits(), first_row, whole),
            None => self.mask_by_pages(first_row, &rows.block(block)),
        }
    }

    /// Rows of a block are mostly in order: their page is looked up only when it changes.
    fn mask_by_pages(&self, first_row: u64, rows: &[u32; BLOCK]) -> u32 {
        let (mut mask, mut number, mut page) = (0, usize::MAX, &[][..]);
        for (lane, &row) in rows.iter().enumerate() {
            let (of_row, word, bit) = place(first_row + u64::from(row));
            if of_row != number {
                (number, page) = (of_row, self.words.page(of_row));
            }
            mask |= u32::from(page.get(word).is_some_and(|word| word & bit != 0)) << lane;
        }
        mask
    }

    /// Adds a row; tells whether it is new.
    pub fn insert(&mut self, row: u64) -> bool {
        if self.contains(row) {
            return false;
        }
        let (page, word, bit) = place(row);
        self.words.page_mut(page)[word] |= bit;
        self.count += 1;
        true
    }

    /// Takes a row out; tells whether it was there.
    pub fn remove(&mut self, row: u64) -> bool {
        if !self.contains(row) {
            return false;
        }
        let (page, word, bit) = place(row);
        self.words.page_mut(page)[word] &= !bit;
        self.count -= 1;
        true
    }

    /// The rows that are in both sets.
    #[must_use]
    pub fn and(&self, kernels: Kernels, other: &Self) -> Self {
        let mut words = Vec::new();
        for (one, two) in self.words.pages().zip(other.words.pages()) {
            words.extend(one.iter().zip(two).map(|(one, two)| one & two));
        }
        let count = kernels.ones(&words);
        Self { words: Words::Whole(Arc::new(words)), count }
    }

    /// The rows in the set, ascending.
    pub fn rows(&self) -> impl Iterator<Item = u64> + '_ {
        (0_u64..)
            .zip(self.words.pages().flatten())
            .filter(|(_, word)| **word != 0)
            .flat_map(|(at, &word)| Bits(word).map(move |bit| at * 64 + u64::from(bit)))
    }
}

impl Default for Words {
    fn default() -> Self {
        Self::Paged(Pages::default())
    }
}

impl Words {
    fn page(&self, number: usize) -> &[u64] {
        match self {
            Self::Whole(words) => {
                let end = words.len().min((number + 1) * PAGE_WORDS);
                words.get(number * PAGE_WORDS..end).unwrap_or(&[])
            }
            Self::Paged(paged) => paged.pages.get(number).map_or(&[], |page| &page[..]),
        }
    }

    fn pages(&self) -> impl Iterator<Item = &[u64]> {
        (0..).map(|number| self.page(number)).take_while(|page| !page.is_empty())
    }

    /// In one piece; `None` for very many pages.
    fn whole(&self) -> Option<&[u64]> {
        match self {
            Self::Whole(words) => Some(words),
            Self::Paged(paged) if paged.pages.len() > PAGES_IN_ONE_PIECE => None,
            Self::Paged(paged) => Some(paged.whole.get_or_init(|| {
                let mut whole = Vec::with_capacity(paged.pages.len() * PAGE_WORDS);
                paged.pages.iter().for_each(|page| whole.extend_from_slice(&page[..]));
                whole.into()
            })),
        }
    }

    /// A page that may be changed, made if it was not there.
    fn page_mut(&mut self, number: usize) -> &mut Page {
        if let Self::Whole(words) = self {
            let page = |words: &[u64]| {
                let mut page = [0; PAGE_WORDS];
                page[..words.len()].copy_from_slice(words);
                Arc::new(page)
            };
            let pages = words.chunks(PAGE_WORDS).map(page).collect();
            *self = Self::Paged(Pages { pages, whole: OnceLock::new() });
        }
        let Self::Paged(paged) = self else { unreachable!("it was just made of pages") };
        paged.whole.take();
        while paged.pages.len() <= number {
            paged.pages.push(Arc::new([0; PAGE_WORDS]));
        }
        Arc::make_mut(&mut paged.pages[number])
    }
}

/// Adds a bit for each place of `array`, whether it is true there, behind the `start` bits that `words` holds.
fn append(words: &mut Vec<u64>, start: usize, array: &BooleanArray) {
    let flags = match array.nulls() {
        Some(nulls) => array.values() & nulls.inner(),
        None => array.values().clone(),
    };
    // Copied as bytes: arrow-buffer's chunks of bits come one by one.
    let bytes = flags.sliced();
    let (eights, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let eights = eights.iter().chain([&last]).map(|eight| u64::from_le_bytes(*eight));
    let shift = start as u32 % 64;
    if shift == 0 {
        words.extend(eights);
    } else {
        for word in eights {
            if let Some(last) = words.last_mut() {
                *last |= word << shift;
            }
            words.push(word >> (64 - shift));
        }
    }
    let end = start + array.len();
    words.truncate(end.div_ceil(64));
    if let Some(last) = words.last_mut().filter(|_| !end.is_multiple_of(64)) {
        *last &= (1 << (end % 64)) - 1;
    }
}

/// The numbers of the bits that are set, ascending.
struct Bits(u64);

impl Iterator for Bits {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let bit = (self.0 != 0).then(|| self.0.trailing_zeros())?;
        self.0 &= self.0 - 1;
        Some(bit)
    }
}

fn place(row: u64) -> (usize, usize, u64) {
    ((row / PAGE_ROWS) as usize, (row % PAGE_ROWS / 64) as usize, 1 << (row % 64))
}

/// The numbers in a serialized Roaring bitmap, ascending: the portable format of 32 or of 64 bits.
///
/// The two formats are told apart by their first bytes: that of 32 bits starts with one of two cookies, that of 64 with
/// the number of 32-bit bitmaps that follow.
///
/// # Errors
/// [`Error::InvalidParameter`] when the bytes are neither.
pub fn roaring_values(bytes: &[u8]) -> Result<Vec<u64>> {
    let refuse = || {
        let expected = "a serialized roaring bitmap (portable format, 32 or 64 bits)";
        Error::invalid_parameter("filter", expected, format!("{} other bytes", bytes.len()))
    };
    let (mut narrow, mut wide) = (bytes, bytes);
    if let Ok(bitmap) = RoaringBitmap::deserialize_from(&mut narrow)
        && narrow.is_empty()
    {
        return Ok(bitmap.iter().map(u64::from).collect());
    }
    // The count is not believed: as many bitmaps need at least as many bytes.
    let count = bytes.first_chunk::<8>().map_or(u64::MAX, |count| u64::from_le_bytes(*count));
    if count > bytes.len() as u64 {
        return Err(refuse());
    }
    match RoaringTreemap::deserialize_from(&mut wide) {
        Ok(bitmap) if wide.is_empty() => Ok(bitmap.iter().collect()),
        _ => Err(refuse()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn kernels() -> Kernels {
        Kernels::detect().unwrap()
    }

    proptest! {
        #[test]
        fn is_a_set(steps in prop::collection::vec((any::<bool>(), 0_u64..100_000), 0..200), other in prop::collection::btree_set(0_u64..100_000, 0..200)) {
            let (mut filter, mut model) = (Filter::default(), BTreeSet::new());
            for (add, row) in steps {
                if add {
                    prop_assert_eq!(filter.insert(row), model.insert(row));
                } else {
                    prop_assert_eq!(filter.remove(row), model.remove(&row));
                }
            }
            prop_assert_eq!(filter.count(), model.len());
            prop_assert_eq!(filter.rows().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            let twice = Filter::from_rows(other.iter().rev().chain(&other).copied(), 100_000);
            prop_assert_eq!(twice.rows().collect::<Vec<_>>(), other.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(twice.count(), other.len());
            let expected: Vec<_> = model.intersection(&other).copied().collect();
            for both in [filter.and(kernels(), &twice), twice.and(kernels(), &filter)] {
                prop_assert_eq!(both.count(), expected.len());
                prop_assert_eq!(both.rows().collect::<Vec<_>>(), expected.clone());
            }
        }

        #[test]
        fn a_mask_means_its_true_rows(chunks in prop::collection::vec(prop::collection::vec(any::<Option<bool>>(), 0..200), 0..4), skip in 0_usize..9) {
            let arrays: Vec<ArrayRef> = chunks
                .iter()
                .map(|chunk| {
                    let array = BooleanArray::from(chunk.clone());
                    Arc::new(array.slice(skip.min(array.len()), array.len().saturating_sub(skip))) as ArrayRef
                })
                .collect();
            let flat: Vec<_> = chunks.iter().flat_map(|chunk| chunk.iter().skip(skip).copied()).collect();
            let filter = Filter::from_mask(kernels(), "keep", &arrays, flat.len() as u64).unwrap();
            let expected: Vec<u64> = (0..).zip(&flat).filter(|(_, flag)| **flag == Some(true)).map(|(row, _)| row).collect();
            prop_assert_eq!(filter.rows().collect::<Vec<_>>(), expected);
            prop_assert_eq!(filter.count(), filter.rows().count());
        }

        #[test]
        fn roaring_bitmaps_of_both_widths_are_read(rows in prop::collection::btree_set(0_u64..200_000, 0..300)) {
            let (mut narrow, mut wide) = (Vec::new(), Vec::new());
            rows.iter().map(|&row| row as u32).collect::<RoaringBitmap>().serialize_into(&mut narrow).unwrap();
            rows.iter().copied().collect::<RoaringTreemap>().serialize_into(&mut wide).unwrap();
            for bytes in [&narrow, &wide] {
                prop_assert_eq!(roaring_values(bytes).unwrap(), rows.iter().copied().collect::<Vec<_>>());
                prop_assert!(roaring_values(&bytes[..bytes.len() - 1]).is_err());
            }
        }

        #[test]
        fn arbitrary_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = roaring_values(&bytes);
        }
    }

    #[test]
    fn a_block_is_asked_at_once() {
        let mut rows = [3_u32; BLOCK];
        (rows[0], rows[31]) = (0, 7);
        let rows = RowNumbers::pack(&rows);
        for kernels in Kernels::available() {
            for first in [0, 1 << 27] {
                let mut filter = Filter::from_rows([first, first + 7], first + 100);
                assert_eq!(filter.mask(kernels, first, &rows, 0), 1 | 1 << 31);
                filter.insert(first + 3);
                assert_eq!(filter.mask(kernels, first, &rows, 0), u32::MAX);
                filter.remove(first + 7);
                assert_eq!(filter.mask(kernels, first, &rows, 0), u32::MAX >> 1);
                filter.insert(first + 7);
                assert_eq!(filter.mask(kernels, first, &rows, 0), u32::MAX);
                assert_eq!(filter.mask(kernels, first + (1 << 30), &rows, 0), 0);
            }
        }
    }

    #[test]
    fn a_mask_may_end_anywhere_in_any_page() {
        let rows = 3 * PAGE_ROWS as usize;
        let truth = |row: usize| row % 5 == 2 || row == rows - 1;
        for cut in [0, 64, PAGE_ROWS as usize - 64, PAGE_ROWS as usize, PAGE_ROWS as usize + 1, rows] {
            let parts = [0..cut, cut..rows]
                .map(|part| Arc::new(part.map(|row| Some(truth(row))).collect::<BooleanArray>()) as ArrayRef);
            let filter = Filter::from_mask(kernels(), "keep", &parts, rows as u64).unwrap();
            assert!(filter.rows().eq((0..rows).filter(|&row| truth(row)).map(|row| row as u64)), "{cut}");
            assert_eq!(filter.count(), filter.rows().count());
        }
    }

    #[test]
    fn what_is_no_mask_is_refused() {
        let short: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
        let numbers: ArrayRef = Arc::new(arrow_array::Int64Array::from(vec![1]));
        let message = |array: &ArrayRef| {
            Filter::from_mask(kernels(), "keep", std::slice::from_ref(array), 2).unwrap_err().to_string()
        };
        assert_eq!(message(&short), "keep: expected one boolean per row (2), got 1 booleans");
        assert_eq!(message(&numbers), "keep: expected booleans, got Int64");
    }
}
