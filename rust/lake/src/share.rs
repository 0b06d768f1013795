//! Bundles and indexes in folders: published, followed, saved and warmed.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use ruvector_core::{Index, format::Keep, ids::Ids};

use crate::{
    backend::State,
    bundle::{self, Bundle, Coding, IndexFile, Opened, Source},
    entry::{Entry, Held},
    error::{Error, Result},
    folder,
    forgotten::Forgotten,
    key::Key,
    lake::RuLake,
    policy::Action,
    rows::Digester,
    stats::Event,
    witness::Witness,
};

/// How often a folder is read whose files are replaced before they were opened.
const ATTEMPTS: u32 = 10;

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
        let root = folder::make(folder)?;
        let _alone = folder::lock(&root)?;
        if let Ok(Some(before)) = Bundle::read(&root)
            && before.bundle.address() == bundle.address()
            && (bundle.content.is_none() || before.bundle.content == bundle.content)
        {
            bundle.content = before.bundle.content;
            bundle.index = before.bundle.index;
            bundle.source = before.bundle.source;
        }
        self.write(key, bundle, &root)
    }

    /// Writes a bundle, with what was forgotten here and what the folder's bundle tells to be, and removes files that it
    /// does not tell of. The folder is locked.
    pub(crate) fn write(&self, key: &Key, mut bundle: Bundle, root: &Path) -> Result<Published> {
        let here = self.shared.forgotten.get(key).unwrap_or_default();
        let there = match Bundle::read(root) {
            Ok(Some(before)) if before.bundle.data_ref == bundle.data_ref => {
                forgotten_of(&before.bundle, root)?
            }
            // A bundle that nobody would believe tells nothing.
            _ => None,
        };
        let all = here.with(&there.unwrap_or_default());
        bundle.forgotten = if all.is_empty() { None } else { Some(all.write(root, &bundle.data_ref)?) };
        let path = bundle.write(root, self.shared.signer.as_ref())?;
        let kept: Vec<&str> =
            bundle.index.iter().chain(&bundle.forgotten).map(|file| file.file.as_str()).collect();
        folder::tidy(root, &kept);
        Ok(Published { path, witness: bundle.witness(), content_witness: bundle.content_witness() })
    }

    /// Deletes rows for the lake: nobody finds or reads them here any more, whatever the backend still has. With a folder
    /// its bundle tells so, and whoever follows it or is warmed from it forgets them, too; the index beside it stays as it
    /// is. Views that have begun a session keep what they see. Returns how many ids are new here.
    ///
    /// # Errors
    /// [`Error::InvalidBundle`], [`Error::WitnessMismatch`] and their like for a folder whose bundle cannot be believed;
    /// without one there, what [`RuLake::publish_bundle`] says; [`Error::Io`] and [`Error::Core`] when nothing can be
    /// written. The rows are forgotten here even so.
    pub fn forget(&self, key: &Key, ids: &Ids, folder: Option<&Path>) -> Result<usize> {
        let new = self.hide(key, &Forgotten::of(ids));
        if let Some(folder) = folder {
            self.tell_forgotten(key, folder)?;
        }
        Ok(new)
    }

    fn tell_forgotten(&self, key: &Key, folder: &Path) -> Result<()> {
        let root = folder::make(folder)?;
        let alone = folder::lock(&root)?;
        let Some(opened) = Bundle::read(&root)? else {
            drop(alone);
            return self.publish_bundle(key, folder).map(drop);
        };
        self.trust(opened.signer, &root)?;
        if let Some(entry) = self.shared.cache.peek(key)
            && entry.bundle.data_ref != opened.bundle.data_ref
        {
            let reason = format!("is of {:?}, expected {:?}", opened.bundle.data_ref, entry.bundle.data_ref);
            return Err(Error::InvalidBundle { path: root.join(bundle::FILE), reason });
        }
        self.write(key, opened.bundle, &root).map(drop)
    }

    /// Hides rows of a collection from now on.
    fn hide(&self, key: &Key, more: &Forgotten) -> usize {
        let new = self.shared.forgotten.add(key, more);
        if new > 0 {
            self.show(key);
        }
        new
    }

    /// Shows what a collection's index has without what was forgotten of it.
    pub(crate) fn show(&self, key: &Key) {
        if self.shared.forgotten.get(key).is_some()
            && let Some(entry) = self.shared.cache.peek(key)
        {
            let Held { entry, shown } = self.held(key, entry);
            self.shared.cache.show(key, entry.address, shown);
        }
    }

    /// Compares the cache with the bundle in a folder and forgets what is not of its state. No backend is asked.
    ///
    /// # Errors
    /// [`Error::InvalidBundle`], [`Error::WitnessMismatch`], [`Error::TooLarge`] and [`Error::UnsafePath`] for a file
    /// that cannot be believed; nothing is forgotten then.
    pub fn refresh_from_bundle_dir(&self, key: &Key, folder: &Path) -> Result<RefreshResult> {
        let Some((opened, forgotten)) = self.read_folder(folder)? else {
            return Ok(RefreshResult::BundleMissing);
        };
        self.hide(key, &forgotten);
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
        let _alone = folder::lock(&root)?;
        let index = Some(save_index(&index, &root)?);
        let source = Source::of(&entry.state);
        let bundle = Bundle { index, source, tags: self.settings(key).tags, ..entry.bundle.clone() };
        self.write(key, bundle, &root)
    }

    /// Lets the index in a folder answer for a collection, mapped and not built anew, with the ids it was saved with.
    /// Returns its number of rows. The backend need not be registered, and doing so twice changes nothing.
    ///
    /// # Errors
    /// [`Error::InvalidBundle`], [`Error::WitnessMismatch`], [`Error::TooLarge`] and [`Error::UnsafePath`] for files that
    /// cannot be believed or are not of one another; [`Error::InvalidParameter`] for an index that is coded otherwise than
    /// the collection's settings say.
    pub fn warm_from_dir(&self, key: &Key, folder: &Path) -> Result<usize> {
        let missing =
            |reason: &str| Error::InvalidBundle { path: folder.join(bundle::FILE), reason: reason.into() };
        let mut attempt = 1;
        let (bundle, forgotten, content, index) = loop {
            let (opened, forgotten) =
                self.read_folder(folder)?.ok_or_else(|| missing("there is none in the folder"))?;
            let bundle = opened.bundle;
            let (Some(file), Some(content)) = (&bundle.index, &bundle.content) else {
                return Err(missing("it tells of no index file"));
            };
            self.check_settings(key, &bundle)?;
            match open_index(folder, file) {
                // A writer may just have put another bundle and another index in their place.
                Err(Error::InvalidFile { .. }) if attempt < ATTEMPTS && has_moved(folder, &bundle) => {
                    attempt += 1;
                }
                index => break (bundle.clone(), forgotten, content.clone(), index?),
            }
        };
        self.hide(key, &forgotten);
        let told = (bundle.dim as usize, bundle.rotation_seed, &bundle.coding, content.rows);
        let coding = Coding::new(index.metric(), index.bits());
        let found = (index.dim(), index.router().rotation().seed(), &coding, index.len() as u64);
        if told != found {
            return Err(Error::WitnessMismatch {
                what: folder.display().to_string(),
                expected: format!("{told:?}"),
                actual: format!("{found:?}"),
            });
        }
        let rows = index.len();
        // The mapped file may be replaced by the next save, and goes on to be what it was.
        let Source { vector, id, pieces } = bundle.source.clone().unwrap_or_default();
        let (data_ref, generation) = (bundle.data_ref.clone(), bundle.generation.clone());
        let state = State { data_ref, dim: index.dim(), generation, vector, id, pieces };
        let known = self.shared.cache.peek(key).is_some_and(|entry| entry.address == bundle.address());
        if !known {
            let entry = Entry::of_index(
                Bundle { index: None, forgotten: None, source: None, ..bundle },
                state,
                index,
                None::<Digester>,
                0,
                None,
            );
            self.install(key, &Arc::new(entry), Instant::now());
            self.shared.known.count(key, Event::Warmed);
        }
        Ok(rows)
    }

    /// The bundle of a folder and the rows that it says are forgotten, both found to be as they were written.
    fn read_folder(&self, folder: &Path) -> Result<Option<(Opened, Forgotten)>> {
        for attempt in 1.. {
            let Some(opened) = Bundle::read(folder)? else { return Ok(None) };
            self.trust(opened.signer, folder)?;
            if let Some(forgotten) = forgotten_of(&opened.bundle, folder)? {
                return Ok(Some((opened, forgotten)));
            }
            if attempt == ATTEMPTS || !has_moved(folder, &opened.bundle) {
                break;
            }
        }
        let reason = "its file of forgotten ids is missing".into();
        Err(Error::InvalidBundle { path: folder.join(bundle::FILE), reason })
    }

    fn check_settings(&self, key: &Key, bundle: &Bundle) -> Result<()> {
        let settings = self.settings(key);
        let coding = Coding::new(settings.metric, settings.bits);
        let selection = self.shared.known.configured(key).selection.clone();
        let wanted = (settings.rotation_seed, settings.rerank_factor, coding, selection);
        let found =
            (bundle.rotation_seed, bundle.rerank_factor, bundle.coding.clone(), bundle.selection.clone());
        if wanted == found {
            return Ok(());
        }
        let name = format!("{key}: seed, rerank factor, coding, rows");
        Err(Error::invalid_parameter(name, format!("{wanted:?}"), format!("{found:?}")))
    }
}

/// The rows that a folder's bundle says are forgotten; `None` if the file is not there (any more).
fn forgotten_of(bundle: &Bundle, folder: &Path) -> Result<Option<Forgotten>> {
    let Some(file) = &bundle.forgotten else { return Ok(Some(Forgotten::default())) };
    Forgotten::read(folder, file, &bundle.data_ref)
}

/// Whether a folder has another bundle by now.
fn has_moved(folder: &Path, before: &Bundle) -> bool {
    !matches!(Bundle::read(folder), Ok(Some(now)) if now.bundle == *before)
}

/// Writes an index under a name that no other index has.
fn save_index(index: &Index, root: &Path) -> Result<IndexFile> {
    let place = tempfile::Builder::new().prefix(".index-").suffix(".tmp").tempfile_in(root);
    let place = place.map_err(|error| Error::io(root, error))?.into_temp_path();
    index.save(&place, Keep::AsIs)?;
    let saved = Index::open(&place, false)?;
    let (bytes, digest) = (saved.mapped_bytes() as u64, saved.file_digest().unwrap_or_default());
    let digits = digest.get(..folder::DIGITS).unwrap_or_default();
    let file = format!("{}{digits}{}", folder::INDEX.0, folder::INDEX.1);
    let path = root.join(&file);
    place.persist(&path).map_err(|error| Error::io(&path, error.error))?;
    Ok(IndexFile { file, bytes, digest })
}

/// Opens the index file that a bundle tells of: every byte of it is compared with the bundle's digest.
fn open_index(folder: &Path, told: &IndexFile) -> Result<Index> {
    folder::check_kind(&told.file, folder::INDEX)?;
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
