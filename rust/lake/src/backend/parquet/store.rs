//! Where files lie: listed, and read in ranges.

use std::{
    fs,
    io::{Read, Seek, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use bytes::Bytes;

use crate::{
    error::{Error, Result},
    folder,
};

/// How the names of files end that are read.
pub(super) const PARQUET: &str = ".parquet";

/// One state of one file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Stored {
    pub(super) path: String,
    pub(super) bytes: u64,
    /// What tells this state from others: an `ETag`, or what the file system knows.
    pub(super) version: String,
}

/// Where files lie.
pub(super) trait Store: std::fmt::Debug + Send + Sync {
    /// What others call the place.
    fn url(&self) -> String;

    /// The paths right under the place that may be tables: Parquet files, and folders.
    fn paths(&self) -> Result<Vec<String>>;

    /// The file of this path, or the Parquet files of the folder of this path, by name; none if there is neither.
    fn list(&self, path: &str) -> Result<Vec<Stored>>;

    /// Bytes of a file, as it was when it was listed.
    fn read(&self, file: &Stored, ranges: &[Range<u64>]) -> Result<Vec<Bytes>>;
}

/// Refuses a path that could lead out of the place.
pub(super) fn check_path(path: &str) -> Result<()> {
    path.split('/').try_for_each(folder::check_name)
}

/// Whether a file of a folder is part of the table: what begins with a dot or an underscore is about it.
pub(super) fn is_part(name: &str) -> bool {
    name.ends_with(PARQUET) && !is_hidden(name)
}

/// Whether a file or a folder is about tables and none itself.
pub(super) fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

/// The error for a file that is not as it was.
pub(super) fn replaced(path: &str) -> Error {
    let detail = "was replaced while it was read".into();
    Error::Backend { backend: path.into(), detail, retryable: true, source: None }
}

/// A folder of a disk.
#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
}

impl Disk {
    pub(super) fn new(root: &Path) -> Result<Self> {
        Ok(Self { root: root.canonicalize().map_err(|error| Error::io(root, error))? })
    }

    /// The folder and the name of a path, of which no part is a link.
    fn place(&self, path: &str) -> Result<(PathBuf, String)> {
        check_path(path)?;
        let mut folder = self.root.clone();
        let mut parts: Vec<&str> = path.split('/').collect();
        let name = parts.pop().unwrap_or_default();
        for part in parts {
            folder.push(part);
            refuse_link(&folder)?;
        }
        Ok((folder, name.to_owned()))
    }

    fn open(&self, path: &str) -> Result<Option<(fs::File, Stored)>> {
        let (folder, name) = self.place(path)?;
        let Some((file, full)) = folder::open(&folder, &name)? else { return Ok(None) };
        let meta = file.metadata().map_err(|error| Error::io(&full, error))?;
        let nanos = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let version = format!("{}-{}", nanos.map_or(0, |since| since.as_nanos()), number_of(&meta));
        Ok(Some((file, Stored { path: path.into(), bytes: meta.len(), version })))
    }
}

fn refuse_link(path: &Path) -> Result<()> {
    if path.is_symlink() {
        let reason = "is a symbolic link, expected a folder".into();
        return Err(Error::UnsafePath { name: path.display().to_string(), reason });
    }
    Ok(())
}

#[cfg(unix)]
fn number_of(meta: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(meta)
}

#[cfg(not(unix))]
fn number_of(_: &fs::Metadata) -> u64 {
    0
}

impl Store for Disk {
    fn url(&self) -> String {
        format!("file://{}", self.root.display())
    }

    fn paths(&self) -> Result<Vec<String>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(|error| Error::io(&self.root, error))? {
            let entry = entry.map_err(|error| Error::io(&self.root, error))?;
            let kind = entry.file_type().map_err(|error| Error::io(&entry.path(), error))?;
            // A link is neither.
            if let Ok(name) = entry.file_name().into_string()
                && (kind.is_dir() && !is_hidden(&name) || kind.is_file() && is_part(&name))
            {
                paths.push(name);
            }
        }
        Ok(paths)
    }

    fn list(&self, path: &str) -> Result<Vec<Stored>> {
        let (folder, name) = self.place(path)?;
        let full = folder.join(&name);
        refuse_link(&full)?;
        if !full.is_dir() {
            return Ok(self.open(path)?.map(|(_, stored)| stored).into_iter().collect());
        }
        let mut files = Vec::new();
        for entry in fs::read_dir(&full).map_err(|error| Error::io(&full, error))? {
            let entry = entry.map_err(|error| Error::io(&full, error))?;
            let name = entry.file_name();
            if let Some(name) = name.to_str().filter(|name| is_part(name)) {
                files.extend(self.open(&format!("{path}/{name}"))?.map(|(_, stored)| stored));
            }
        }
        files.sort();
        Ok(files)
    }

    fn read(&self, file: &Stored, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (mut handle, now) = self.open(&file.path)?.ok_or_else(|| replaced(&file.path))?;
        if now != *file {
            return Err(replaced(&file.path));
        }
        let path = self.root.join(&file.path);
        let mut read = |range: &Range<u64>| {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            handle.seek(SeekFrom::Start(range.start)).and_then(|_| handle.read_exact(&mut bytes))?;
            Ok(Bytes::from(bytes))
        };
        ranges.iter().map(&mut read).collect::<std::io::Result<_>>().map_err(|error| Error::io(&path, error))
    }
}
