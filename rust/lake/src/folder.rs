//! Files of others, read with care: names that stay in their folder, no links, no more bytes than expected.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
};

use ruvector_core::replace::replace;

use crate::error::{Error, Result};

/// The longest file name.
const MAX_NAME: usize = 255;

/// Refuses a name that is not that of a file right in a folder.
///
/// # Errors
/// [`Error::UnsafePath`] saying what is wrong with it.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let refuse = |reason: &str| Err(Error::UnsafePath { name: name.into(), reason: reason.into() });
    if name.is_empty() {
        return refuse("is empty, expected the name of a file");
    }
    if name.len() > MAX_NAME {
        return refuse("has more than 255 bytes");
    }
    if name == "." || name == ".." {
        return refuse("is a folder, expected the name of a file");
    }
    match name.chars().find(|&c| c.is_control() || !c.is_ascii() || matches!(c, '/' | '\\' | ':')) {
        Some(c) => refuse(&format!("has {c:?} in it, expected printable ascii without '/', '\\' and ':'")),
        None => Ok(()),
    }
}

/// How the names of index files and of files of forgotten ids begin and end; between them is the beginning of a digest,
/// so that no file is ever written in place of another one.
pub(crate) const INDEX: (&str, &str) = ("index-", ".rbpx");
pub(crate) const FORGOTTEN: (&str, &str) = ("forgotten-", ".json");
/// The digits of it.
pub(crate) const DIGITS: usize = 16;

const LOCK: &str = ".rulake.lock";

fn is_kind(name: &str, (first, last): (&str, &str)) -> bool {
    let digits = name.strip_prefix(first).and_then(|rest| rest.strip_suffix(last));
    digits.is_some_and(|digits| digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Refuses a name that is not one of ours.
///
/// # Errors
/// [`Error::UnsafePath`].
pub(crate) fn check_kind(name: &str, kind: (&str, &str)) -> Result<()> {
    check_name(name)?;
    if is_kind(name, kind) {
        return Ok(());
    }
    let reason = format!("expected {}, {DIGITS} hexadecimal digits and {}", kind.0, kind.1);
    Err(Error::UnsafePath { name: name.into(), reason })
}

/// Waits until nobody else changes a folder. The right to do so ends when it is dropped, or with the process.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(LOCK);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| Error::io(&path, error))?;
    file.lock().map_err(|error| Error::io(&path, error))?;
    Ok(file)
}

/// Removes files of ours that the bundle does not tell of any more. Whoever reads them has them open.
pub(crate) fn tidy(folder: &Path, kept: &[&str]) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if [INDEX, FORGOTTEN].into_iter().any(|kind| is_kind(name, kind)) && !kept.contains(&name) {
            // What cannot be removed is in nobody's way.
            drop(fs::remove_file(entry.path()));
        }
    }
}

/// A folder's own path, without links, made if it is missing.
///
/// # Errors
/// [`Error::Io`] when it cannot be made or is no folder.
pub(crate) fn make(folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
    folder.canonicalize().map_err(|error| Error::io(folder, error))
}

/// Opens a regular file right in `folder`; `None` if there is nothing of that name.
///
/// # Errors
/// [`Error::UnsafePath`] for a link or anything but a regular file, [`Error::Io`] when it cannot be opened.
pub(crate) fn open(folder: &Path, name: &str) -> Result<Option<(File, PathBuf)>> {
    check_name(name)?;
    let path = folder.join(name);
    let found = match fs::symlink_metadata(&path) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(&path, error)),
    };
    let refuse =
        |reason: &str| Err(Error::UnsafePath { name: path.display().to_string(), reason: reason.into() });
    if found.file_type().is_symlink() {
        return refuse("is a symbolic link, expected a regular file");
    }
    if !found.is_file() {
        return refuse("is no regular file");
    }
    let file = File::open(&path).map_err(|error| Error::io(&path, error))?;
    let opened = file.metadata().map_err(|error| Error::io(&path, error))?;
    if !is_same(&found, &opened) {
        return refuse("was replaced while it was opened");
    }
    Ok(Some((file, path)))
}

#[cfg(unix)]
fn is_same(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(not(unix))]
fn is_same(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    a.len() == b.len() && b.is_file()
}

/// The bytes of a small file right in `folder`; `None` if there is nothing of that name.
///
/// # Errors
/// As [`open`]; [`Error::TooLarge`] for more than `most` bytes, of which no more are read.
pub(crate) fn read_small(folder: &Path, name: &str, most: u64) -> Result<Option<Vec<u8>>> {
    let Some((file, path)) = open(folder, name)? else { return Ok(None) };
    let failed = |error| Error::io(&path, error);
    let too_large =
        |actual| Error::TooLarge { what: format!("{}: bytes", path.display()), limit: most, actual };
    let size = file.metadata().map_err(failed)?.len();
    if size > most {
        return Err(too_large(size));
    }
    let mut bytes = Vec::with_capacity(size as usize);
    file.take(most + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > most {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(Some(bytes))
}

/// Writes a file in one step: whoever reads it finds the old one or the new one, whole, also after the power failed.
///
/// # Errors
/// [`Error::UnsafePath`] for a name that leads elsewhere, [`Error::Core`] when the file cannot be written.
pub(crate) fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf> {
    check_name(name)?;
    let path = folder.join(name);
    replace(&path, |file| {
        file.write_all(bytes).map_err(|error| ruvector_core::Error::persist(&path, error))
    })?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_refused() {
        let long = "x".repeat(256);
        for name in [
            "",
            ".",
            "..",
            "../x",
            "a/../b",
            "/etc/passwd",
            "a/b",
            "a\\b",
            "..\\x",
            "a\0b",
            "a\nb",
            "a\u{7f}",
            "C:x",
            "C:\\x",
            "\u{e9}",
            &long,
        ] {
            let error = check_name(name).unwrap_err();
            assert!(matches!(error, Error::UnsafePath { .. }), "{name:?}: {error}");
        }
        for name in ["a", "table.rulake.json", "..a", "a b", &"x".repeat(255)] {
            check_name(name).unwrap();
        }
    }

    #[test]
    fn large_files_are_refused_before_they_are_read() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "f", &[7; 11]).unwrap();
        assert_eq!(read_small(folder.path(), "f", 11).unwrap().unwrap(), [7; 11]);
        assert!(matches!(
            read_small(folder.path(), "f", 10),
            Err(Error::TooLarge { limit: 10, actual: 11, .. })
        ));
        assert!(read_small(folder.path(), "g", 10).unwrap().is_none());
    }

    #[cfg(unix)]
    #[test]
    fn links_are_not_followed() {
        let (outside, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(outside.path(), "secret", b"x").unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret"), folder.path().join("f")).unwrap();
        assert!(matches!(open(folder.path(), "f"), Err(Error::UnsafePath { .. })));
        // What is written takes the link's place; what it led to stays as it is.
        write(folder.path(), "f", b"y").unwrap();
        assert_eq!(fs::read(outside.path().join("secret")).unwrap(), b"x");
        assert_eq!(fs::read(folder.path().join("f")).unwrap(), b"y");
    }
}
