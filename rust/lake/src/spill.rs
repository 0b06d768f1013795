//! Where indexes go that must leave the memory: a folder of this lake's own, so that what a process left behind that was
//! killed is known for what it is.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{
    error::{Error, Result},
    folder,
};

const PREFIX: &str = "ruvector-spill-";
const LOCK: &str = "lock";

/// The folder, which goes with the lake.
#[derive(Debug)]
pub(crate) struct Spill {
    folder: TempDir,
    /// As long as it is locked, the folder is somebody's.
    _lock: File,
}

impl Spill {
    /// A new folder in `root`; those that are nobody's any more are removed.
    pub(crate) fn new(root: &Path) -> Result<Self> {
        let root = folder::make(root)?;
        let _alone = folder::lock(&root)?;
        sweep(&root);
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&root);
        let folder = folder.map_err(|error| Error::io(&root, error))?;
        let path = folder.path().join(LOCK);
        let file = File::create(&path).map_err(|error| Error::io(&path, error))?;
        file.lock().map_err(|error| Error::io(&path, error))?;
        Ok(Self { folder, _lock: file })
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

/// Removes the folders whose owners are gone. What cannot be removed stays, and is in nobody's way.
fn sweep(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else { return };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let path = entry.path();
        if ours && is_folder && is_free(&path.join(LOCK)) {
            drop(fs::remove_dir_all(&path));
        }
    }
}

/// Whether nobody holds a lock. A folder without one was left before it was made.
fn is_free(lock: &Path) -> bool {
    match File::open(lock) {
        Ok(file) => file.try_lock().is_ok(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_the_dead_are_removed_and_those_of_the_living_are_not() {
        let root = tempfile::tempdir().unwrap();
        let living = Spill::new(root.path()).unwrap();
        let dead = root.path().join(format!("{PREFIX}dead"));
        for left in [LOCK, "spill-1.rbpx"] {
            fs::create_dir_all(&dead).unwrap();
            fs::write(dead.join(left), b"x").unwrap();
            let path = Spill::new(root.path()).unwrap().path();
            assert!(!dead.exists() && !path.exists() && living.path().exists(), "{left}");
        }
        fs::create_dir(root.path().join("theirs")).unwrap();
        Spill::new(root.path()).unwrap();
        assert!(root.path().join("theirs").exists());
    }
}
