//! Which index a name means: one that was registered in this database, or a file.

use std::{
    collections::{HashMap, VecDeque},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::SystemTime,
};

use ruvector_core::{Error, Index, Live, live::Snapshot};

use crate::lock::lock;

/// How many of the files opened last stay mapped without being registered.
const KEPT: usize = 16;

/// An index as a statement found it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// What it was asked for by.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) snapshot: Arc<Snapshot>,
}

/// What tells one content of a file from another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    written: Option<SystemTime>,
    /// A file that was replaced is another one, however soon that was.
    file: u64,
}

impl Stamp {
    fn of(path: &Path) -> std::io::Result<Self> {
        let data = fs::metadata(path)?;
        if !data.is_file() {
            return Err(std::io::ErrorKind::InvalidInput.into());
        }
        #[cfg(unix)]
        let file = std::os::unix::fs::MetadataExt::ino(&data);
        #[cfg(not(unix))]
        let file = 0;
        Ok(Self { bytes: data.len(), written: data.modified().ok(), file })
    }
}

#[derive(Clone, Debug)]
struct Opened {
    path: PathBuf,
    stamp: Stamp,
    snapshot: Arc<Snapshot>,
}

/// The names of a database.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    names: Mutex<HashMap<String, Opened>>,
    /// The files opened last, latest first.
    files: Mutex<VecDeque<Opened>>,
}

impl Registry {
    /// The index of a name, or in a file. A file that was replaced is opened anew.
    pub(crate) fn find(&self, name: &str) -> Result<Found, Error> {
        let known = lock(&self.names).get(name).cloned();
        let (path, held) = match known {
            Some(opened) => (opened.path.clone(), Some(opened)),
            None => (PathBuf::from(name), None),
        };
        let opened = match (Stamp::of(&path), held) {
            (Ok(stamp), Some(opened)) if opened.stamp == stamp => opened,
            (Ok(stamp), held) => {
                let opened = self.open(&path, stamp)?;
                if held.is_some()
                    && let Some(entry) = lock(&self.names).get_mut(name).filter(|entry| entry.path == path)
                {
                    *entry = opened.clone();
                }
                opened
            }
            // The file is gone, its mapping is not.
            (Err(_), Some(opened)) => opened,
            (Err(_), None) => {
                let expected = "the name of a registered index or the path of a saved one";
                return Err(Error::invalid_parameter("index", expected, format!("{name:?}")));
            }
        };
        Ok(Found { name: name.to_owned(), path: opened.path, snapshot: opened.snapshot })
    }

    /// Gives a saved index a name.
    pub(crate) fn register(&self, name: &str, path: &str) -> Result<Found, Error> {
        let path = Path::new(path);
        let stamp = Stamp::of(path).map_err(|error| Error::persist(path, error))?;
        let opened = self.open(path, stamp)?;
        let found = Found {
            name: name.to_owned(),
            path: opened.path.clone(),
            snapshot: Arc::clone(&opened.snapshot),
        };
        let before = lock(&self.names).insert(name.to_owned(), opened);
        drop(before);
        Ok(found)
    }

    /// Takes a name away.
    pub(crate) fn unregister(&self, name: &str) -> Result<(), Error> {
        let before = lock(&self.names).remove(name);
        before.map(drop).ok_or_else(|| {
            Error::invalid_parameter("name", "the name of a registered index", format!("{name:?}"))
        })
    }

    fn open(&self, path: &Path, stamp: Stamp) -> Result<Opened, Error> {
        // Locked meanwhile: mapping a file is quick, and two threads would map it twice.
        let mut files = lock(&self.files);
        let known = files.iter().position(|opened| opened.path == path && opened.stamp == stamp);
        let opened = if let Some(opened) = known.and_then(|at| files.remove(at)) {
            opened
        } else {
            let snapshot = Live::new(Index::open(path, false)?).snapshot();
            Opened { path: path.to_owned(), stamp, snapshot }
        };
        files.retain(|other| other.path != path);
        files.push_front(opened.clone());
        files.truncate(KEPT);
        Ok(opened)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use ruvector_core::{Pool, Unwatched, Vectors, format::Keep, index::BuildParams};

    use super::*;

    /// Saves an index of so many rows, all alike.
    pub(crate) fn save(path: &Path, rows: usize) {
        let vectors = Vectors::from_f32("v", 2, vec![0.5; rows * 2].into()).unwrap();
        let built = Index::build(vectors, None, &BuildParams::default(), &Pool::Inline, &Unwatched).unwrap();
        built.save(path, Keep::F32).unwrap();
    }

    #[test]
    fn names_come_before_files_and_files_may_change() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one.rbpx"), folder.path().join("two.rbpx"));
        save(&one, 3);
        save(&two, 5);
        let registry = Registry::default();
        let rows = |name: &str| registry.find(name).unwrap().snapshot.len();
        let (one_name, two_name) = (one.to_str().unwrap(), two.to_str().unwrap());
        assert_eq!(rows(one_name), 3);
        registry.register("docs", one_name).unwrap();
        assert_eq!(rows("docs"), 3);
        let before = registry.find("docs").unwrap().snapshot;
        assert!(Arc::ptr_eq(&before, &registry.find(one_name).unwrap().snapshot), "opened once");
        registry.register("docs", two_name).unwrap();
        assert_eq!(rows("docs"), 5);
        save(&two, 7);
        assert_eq!((rows("docs"), rows(two_name), before.len()), (7, 7, 3));
        fs::remove_file(&two).unwrap();
        assert_eq!(rows("docs"), 7, "the mapping outlives its file");
        registry.unregister("docs").unwrap();
        let missing = registry.find("docs").unwrap_err().to_string();
        let expected =
            "index: expected the name of a registered index or the path of a saved one, got \"docs\"";
        assert_eq!(missing, expected);
        assert!(registry.unregister("docs").is_err());
    }

    #[test]
    fn only_so_many_files_stay_mapped() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::default();
        for at in 0..KEPT + 5 {
            let path = folder.path().join(at.to_string());
            save(&path, 2);
            registry.find(path.to_str().unwrap()).unwrap();
        }
        assert_eq!(lock(&registry.files).len(), KEPT);
    }
}
