//! A process's certificate, key and CA, and where they lie on disk.
//!
//! The private key never leaves the machine it was made on: joining sends a signing request.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::peer::Role;

const CERTIFICATE_FILE: &str = "identity.crt";
const KEY_FILE: &str = "identity.key";
const AUTHORITY_FILE: &str = "authority.crt";
const NAME_FILE: &str = "identity.name";

/// Who a process is, and the means to prove it.
pub struct Identity {
    /// What it is.
    pub role: Role,
    /// Its id.
    pub id: String,
    /// Its region; empty for an orchestrator.
    pub region: String,
    /// Its certificate.
    pub certificate: CertificateDer<'static>,
    /// Its private key.
    pub key: PrivateKeyDer<'static>,
    /// The certificate of Muster's CA.
    pub authority: CertificateDer<'static>,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self {
            role: self.role,
            id: self.id.clone(),
            region: self.region.clone(),
            certificate: self.certificate.clone(),
            key: self.key.clone_key(),
            authority: self.authority.clone(),
        }
    }
}

/// Why an identity cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read or written.
    #[error("{path}: {source}; check that the state directory exists and is ours to write")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path} is damaged; remove the identity.* files beside it and join again with a new token")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

impl Identity {
    /// Reads the identity kept in `dir`; `None` if none was ever kept there.
    ///
    /// # Errors
    /// [`IdentityError`] if there is one that cannot be used.
    pub fn load(dir: &Path) -> Result<Option<Self>, IdentityError> {
        let name_path = dir.join(NAME_FILE);
        let name = match fs::read_to_string(&name_path) {
            Ok(name) => name,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(IdentityError::Io { path: name_path, source }),
        };
        let mut words = name.split_whitespace();
        let (Some(role), Some(id)) = (words.next().and_then(|word| word.parse().ok()), words.next()) else {
            return Err(IdentityError::Damaged { path: name_path });
        };
        Ok(Some(Self {
            role,
            id: id.to_owned(),
            region: words.next().unwrap_or_default().to_owned(),
            certificate: read_pem(&dir.join(CERTIFICATE_FILE))?,
            key: read_pem(&dir.join(KEY_FILE))?,
            authority: read_pem(&dir.join(AUTHORITY_FILE))?,
        }))
    }

    /// Keeps the identity in `dir`, which is made if missing; the key is readable by its owner only.
    ///
    /// # Errors
    /// [`IdentityError::Io`].
    pub fn save(&self, dir: &Path) -> Result<(), IdentityError> {
        fs::create_dir_all(dir).map_err(|source| IdentityError::Io { path: dir.to_owned(), source })?;
        write(&dir.join(AUTHORITY_FILE), &pem("CERTIFICATE", &self.authority))?;
        write(&dir.join(CERTIFICATE_FILE), &pem("CERTIFICATE", &self.certificate))?;
        write(&dir.join(KEY_FILE), &pem("PRIVATE KEY", self.key.secret_der()))?;
        // Last: its presence says that the others are whole.
        write(&dir.join(NAME_FILE), &format!("{} {} {}\n", self.role, self.id, self.region))
    }
}

fn read_pem<T: PemObject>(path: &Path) -> Result<T, IdentityError> {
    let text = fs::read(path).map_err(|source| IdentityError::Io { path: path.to_owned(), source })?;
    T::from_pem_slice(&text).map_err(|_| IdentityError::Damaged { path: path.to_owned() })
}

/// PEM text of `der`.
fn pem(label: &str, der: &[u8]) -> String {
    pem::encode(&pem::Pem::new(label, der))
}

/// Writes `text` to `path` so that a crash leaves the old file or the new one, never half of it.
fn write(path: &Path, text: &str) -> Result<(), IdentityError> {
    let io = |source| IdentityError::Io { path: path.to_owned(), source };
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary).map_err(io)?;
    file.write_all(text.as_bytes()).map_err(io)?;
    file.sync_all().map_err(io)?;
    fs::rename(&temporary, path).map_err(io)
}
