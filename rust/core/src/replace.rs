//! Writing a file in one step: whoever reads it finds the old one or the new one, whole.

use std::{
    fs::File,
    io::{self, BufWriter},
    path::Path,
};

use crate::error::{Error, Result};

/// Writes a file under another name first, then, whole and safe on the disk, in place of what was there.
///
/// # Errors
/// [`Error::Persist`] naming the file, and whatever `write` returns; what was there before stays then.
pub fn replace(path: &Path, write: impl FnOnce(&mut BufWriter<&File>) -> Result<()>) -> Result<()> {
    let failed = |error: io::Error| Error::persist(path, error);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".ruvector-").suffix(".tmp");
    // Like any file the user creates; without it, nobody else could read what was written.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let file = builder.tempfile_in(folder).map_err(|error| {
        // The error of the library names the temporary file, which nobody asked for.
        let kind = error.kind();
        failed(io::Error::new(kind, format!("cannot write into {}: {kind}", folder.display())))
    })?;
    let mut buffered = BufWriter::new(file.as_file());
    write(&mut buffered)?;
    buffered.into_inner().map_err(|error| failed(error.into_error()))?.sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    // A name is only safe on the disk once its folder is; elsewhere than on Unix a folder cannot be opened.
    if cfg!(unix) { File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed) } else { Ok(()) }
}
