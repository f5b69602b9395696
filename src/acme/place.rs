//! What is kept in the data directory: the account's key, the certificate with its own, and what went wrong last.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::Acme;

/// What somebody elsewhere says of a failure, in characters: enough for any authority's sentence.
const WORDS: usize = 500;

/// What is written to see that writing is possible: more than a key and a long chain.
static PROOF: [u8; 32 * 1_024] = [b'.'; 32 * 1_024];

/// A folder for one authority, and the name a certificate is for.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    folder: PathBuf,
    host: String,
}

impl Place {
    pub(crate) fn of(acme: &Acme, data: &Path) -> Self {
        // A certificate for trying things out must not be taken for one from the real authority: each has its folder.
        let authority = acme.directory.trim_start_matches("https://");
        let plain = |letter: char| match letter {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' => letter,
            _ => '_',
        };
        let name: String = authority.chars().map(plain).take(100).collect();
        Self {
            folder: data.join("acme").join(name),
            host: acme.host.clone(),
        }
    }

    /// Chain and key, in one file, so that there is never half of a new pair.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join(format!("{}.pem", self.host))
    }

    pub(super) fn account(&self) -> PathBuf {
        self.folder.join("account.json")
    }

    fn trouble_file(&self) -> PathBuf {
        self.folder.join(format!("{}.trouble.json", self.host))
    }

    /// What went wrong since the last certificate came.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        serde_json::from_slice(&fs::read(self.trouble_file()).ok()?).ok()
    }

    pub(super) fn note(&self, trouble: &Trouble) -> io::Result<()> {
        self.write(&self.trouble_file(), &serde_json::to_vec(trouble)?, |_| Ok(()))
    }

    pub(super) fn forget_trouble(&self) {
        // If it stays, it says how long to wait after the next failure, and no more.
        let _ = fs::remove_file(self.trouble_file());
    }

    /// Sees whether files can be kept: there may be no right to, or no space.
    pub(super) fn prove(&self) -> io::Result<()> {
        let file = self.folder.join("proof");
        self.write(&file, &PROOF, |_| Ok::<_, io::Error>(()))?;
        fs::remove_file(file)
    }

    /// Puts a file there, for this user alone, whole or not at all. `check` looks at it before it counts.
    pub(super) fn write<E: From<io::Error>>(
        &self,
        file: &Path,
        bytes: &[u8],
        check: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(), E> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let new = self.folder.join("new");
        // One that a kill left behind.
        let _ = fs::remove_file(&new);
        let mut options = OpenOptions::new();
        let mut open = options.create_new(true).write(true).mode(0o600).open(&new)?;
        open.write_all(bytes)?;
        open.sync_all()?;
        check(&new)?;
        fs::rename(&new, file)?;
        Ok(())
    }
}

/// Attempts that failed, one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trouble {
    /// When the last one failed, seconds of Unix time.
    pub(crate) at: i64,
    pub(crate) failures: u32,
    /// Why, as far as is known, on one line.
    pub(crate) what: String,
}

impl Trouble {
    /// One more.
    pub(super) fn new(at: i64, before: Option<Self>, what: &str) -> Self {
        let plain = |letter: char| if letter.is_control() { ' ' } else { letter };
        Self {
            at,
            failures: before.map_or(0, |before| before.failures).saturating_add(1),
            what: what.chars().map(plain).take(WORDS).collect(),
        }
    }
}
