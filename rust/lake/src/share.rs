//! Bundles and indexes in folders: published, followed, saved and warmed.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use ruvector_core::{Index, format::Keep};

use crate::{
    backend::State,
    bundle::{self, Bundle, Coding, IndexFile},
    entry::Entry,
    error::{Error, Result},
    folder,
    key::Key,
    lake::RuLake,
    policy::Action,
    rows::Digester,
    stats::Event,
    witness::Witness,
};

/// The name of an index file in a bundle's folder.
pub const INDEX_FILE: &str = "index.rbpx";

/// A bundle that was published.
#[derive(Clone, Debug)]
pub struct Published {
    /// Its file.
    pub path: PathBuf,
    /// Its witness of version 1.
    pub witness: Witness,
    /// Its witness of version 2.
    pub content_witness: Witness,
}

/// What following a folder's bundle came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshResult {
    /// The cache has what the bundle says, or nothing.
    UpToDate,
    /// The cache had something else. It is forgotten; the next search fetches the rows.
    Invalidated,
    /// The folder has no bundle.
    BundleMissing,
}

impl RuLake {
    /// Writes the bundle of a collection's present state into a folder. Nothing is pulled; what the rows are is told if
    /// the cache has them.
    ///
    /// # Errors
    /// [`Error::UnknownBackend`], [`Error::UnknownCollection`], whatever the backend says, and [`Error::Io`].
    pub fn publish_bundle(&self, key: &Key, folder: &Path) -> Result<Published> {
        self.decide(key, Action::Publish)?;
        let member = self.member(&key.backend)?;
        let state = member.backend.state(&key.collection)?;
        let mut bundle = Self::describe(&self.shared.known.configured(key), &state);
        if let Some(entry) = self.shared.cache.find(bundle.address()) {
            bundle.content.clone_from(&entry.bundle.content);
        }
        self.write(&bundle, folder)
    }

    fn write(&self, bundle: &Bundle, folder: &Path) -> Result<Published> {
        let path = bundle.write(folder, self.shared.signer.as_ref())?;
        Ok(Published { path, witness: bundle.witness(), content_witness: bundle.content_witness() })
    }

    /// Compares the cache with the bundle in a folder and forgets what is not of its state. No backend is asked.
    ///
    /// # Errors
    /// [`Error::InvalidBundle`], [`Error::WitnessMismatch`], [`Error::TooLarge`] and [`Error::UnsafePath`] for a file
    /// that cannot be believed; nothing is forgotten then.
    pub fn refresh_from_bundle_dir(&self, key: &Key, folder: &Path) -> Result<RefreshResult> {
        let Some(opened) = Bundle::read(folder)? else { return Ok(RefreshResult::BundleMissing) };
        self.trust(opened.signer, folder)?;
        let Some(entry) = self.shared.cache.peek(key) else { return Ok(RefreshResult::UpToDate) };
        let (told, ours) = (&opened.bundle, &entry.bundle);
        let same_rows = match (&told.content, &ours.content) {
            (Some(told), Some(ours)) => told == ours,
            _ => true,
        };
        if told.witness() == ours.witness() && same_rows && (!opened.complete || told.coding == ours.coding) {
            return Ok(RefreshResult::UpToDate);
        }
        self.invalidate_cache(key);
        Ok(RefreshResult::Invalidated)
    }

    /// Writes the index that answers for a collection into a folder, with the bundle of the state that its rows are of,
    /// which need not be the backend's present one.
    ///
    /// # Errors
    /// [`Error::CacheMiss`] when no index answers for it, [`Error::InvalidParameter`] for a collection without rows,
    /// [`Error::Io`] and [`Error::Core`] when it cannot be written.
    pub fn save_cache_to_dir(&self, key: &Key, folder: &Path) -> Result<Published> {
        self.decide(key, Action::Save)?;
        let entry = self.shared.cache.peek(key).ok_or_else(|| Error::CacheMiss {
            backend: key.backend.clone(),
            collection: key.collection.clone(),
        })?;
        let Some(index) = entry.sealed(&self.shared.pool)? else {
            let expected = "a collection that has rows";
            return Err(Error::invalid_parameter("key", expected, format!("{key}: no rows")));
        };
        let root = folder::make(folder)?;
        let path = root.join(INDEX_FILE);
        index.save(&path, Keep::AsIs)?;
        let index = index_file(&root)?;
        let bundle = Bundle { index: Some(index), tags: self.settings(key).tags, ..entry.bundle.clone() };
        self.write(&bundle, &root)
    }

    /// Lets the index in a folder answer for a collection, mapped and not built anew, with the ids it was saved with.
    /// Returns its number of rows. The backend need not be registered, and doing so twice changes nothing.
    ///
    /// # Errors
    /// [`Error::InvalidBundle`], [`Error::WitnessMismatch`], [`Error::TooLarge`] and [`Error::UnsafePath`] for files that
    /// cannot be believed or are not of one another; [`Error::InvalidParameter`] for an index that is coded otherwise than
    /// the collection's settings say.
    pub fn warm_from_dir(&self, key: &Key, folder: &Path) -> Result<usize> {
        let path = folder.join(bundle::FILE);
        let missing = |reason: &str| Error::InvalidBundle { path: path.clone(), reason: reason.into() };
        let opened = Bundle::read(folder)?.ok_or_else(|| missing("there is none in the folder"))?;
        self.trust(opened.signer, folder)?;
        let bundle = opened.bundle;
        let (Some(file), Some(content)) = (&bundle.index, &bundle.content) else {
            return Err(missing("it tells of no index file"));
        };
        if file.file != INDEX_FILE {
            let reason = format!("expected {INDEX_FILE:?} as its index");
            return Err(Error::UnsafePath { name: file.file.clone(), reason });
        }
        self.check_settings(key, &bundle)?;
        let index = open_index(folder, file)?;
        let told = (bundle.dim as usize, bundle.rotation_seed, &bundle.coding, content.rows);
        let coding = Coding::new(index.metric(), index.bits());
        let found = (index.dim(), index.router().rotation().seed(), &coding, index.len() as u64);
        if told != found {
            return Err(Error::WitnessMismatch {
                what: folder.join(INDEX_FILE).display().to_string(),
                expected: format!("{told:?}"),
                actual: format!("{found:?}"),
            });
        }
        let rows = index.len();
        // The mapped file may be replaced by the next save, and goes on to be what it was.
        let state = State {
            data_ref: bundle.data_ref.clone(),
            dim: index.dim(),
            generation: bundle.generation.clone(),
            vector: String::new(),
            id: None,
            pieces: Vec::new(),
        };
        let known =
            self.shared.cache.peek(key).is_some_and(|entry| entry.bundle.address() == bundle.address());
        if !known {
            let entry =
                Entry::of_index(Bundle { index: None, ..bundle }, state, index, None::<Digester>, 0, None);
            self.install(key, &Arc::new(entry), Instant::now());
            self.shared.known.count(key, Event::Warmed);
        }
        Ok(rows)
    }

    fn check_settings(&self, key: &Key, bundle: &Bundle) -> Result<()> {
        let settings = self.settings(key);
        let wanted =
            (settings.rotation_seed, settings.rerank_factor, Coding::new(settings.metric, settings.bits));
        let found = (bundle.rotation_seed, bundle.rerank_factor, bundle.coding.clone());
        if wanted == found {
            return Ok(());
        }
        let name = format!("{key}: seed, rerank factor, coding");
        Err(Error::invalid_parameter(name, format!("{wanted:?}"), format!("{found:?}")))
    }
}

/// What an index file says of itself.
fn index_file(folder: &Path) -> Result<IndexFile> {
    let path = folder.join(INDEX_FILE);
    let index = Index::open(&path, false)?;
    Ok(IndexFile {
        file: INDEX_FILE.into(),
        bytes: index.mapped_bytes() as u64,
        digest: index.file_digest().unwrap_or_default(),
    })
}

/// Opens the index file that a bundle tells of: every byte of it is compared with the bundle's digest.
fn open_index(folder: &Path, told: &IndexFile) -> Result<Index> {
    let Some((_, path)) = folder::open(folder, &told.file)? else {
        let path = folder.join(&told.file);
        return Err(Error::InvalidFile { path, reason: "is missing, and the bundle tells of it".into() });
    };
    let mismatch = |actual: String| Error::WitnessMismatch {
        what: path.display().to_string(),
        expected: format!("{} bytes, {}", told.bytes, told.digest),
        actual,
    };
    // Looked at before anything is read for it.
    let bytes = path.metadata().map_err(|error| Error::io(&path, error))?.len();
    if bytes != told.bytes {
        return Err(mismatch(format!("{bytes} bytes")));
    }
    let index = Index::open(&path, true).map_err(|error| mismatch(error.to_string()))?;
    let digest = index.file_digest().unwrap_or_default();
    if digest != told.digest {
        return Err(mismatch(format!("{bytes} bytes, {digest}")));
    }
    Ok(index)
}
