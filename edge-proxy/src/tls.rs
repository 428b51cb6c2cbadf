//! The TLS that players see: the operator's certificate, or the edge's own.
//!
//! The operator's files are looked at every two seconds, and taken up when they have changed and fit together;
//! otherwise what was good before goes on. Connections that stand are not touched.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use muster_transport::{Identity, provider};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use crate::config::Config;
use crate::routes::Protocol;

/// How often the operator's files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Why players' TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds no such PEM.
    #[error("{path}: {source}; {key} in the edge's configuration must name a PEM file")]
    File {
        /// The file.
        path: PathBuf,
        /// The configuration's key.
        key: &'static str,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// Certificate and key are not usable together.
    #[error("certificate or key of TLS ports is not usable: {0}; check that the key is the certificate's")]
    Unusable(#[from] rustls::Error),
}

/// What TLS ports speak at the time.
#[derive(Clone)]
pub(crate) struct PlayerTls {
    now: Arc<ArcSwap<Spoken>>,
    /// The operator's files, as they were looked at first.
    seen: [Option<u64>; 2],
}

/// One certificate, as each kind of port shows it.
struct Spoken {
    websocket: TlsAcceptor,
    tcp: TlsAcceptor,
}

impl PlayerTls {
    /// The certificate of the configuration, or the edge's own.
    ///
    /// # Errors
    /// [`TlsError`], naming the file and the key.
    pub(crate) fn new(config: &Config, identity: &Identity) -> Result<Self, TlsError> {
        // Before they are read, so that no change between the two is missed.
        let seen = files(config).map_or([None; 2], |(certificate, key)| versions(certificate, key));
        let spoken = match files(config) {
            Some((certificate, key)) => Spoken::read(certificate, key)?,
            // Muster's CA goes along, so that a client can be shown whom it would have to trust.
            None => {
                Spoken::new(vec![identity.certificate.clone(), identity.authority.clone()], &identity.key)?
            }
        };
        Ok(Self { now: Arc::new(ArcSwap::from_pointee(spoken)), seen })
    }

    /// What a port of `protocol` answers a TLS client with.
    pub(crate) fn acceptor(&self, protocol: Protocol) -> TlsAcceptor {
        let now = self.now.load();
        if protocol == Protocol::WebSocket { now.websocket.clone() } else { now.tcp.clone() }
    }

    /// Takes up the operator's files whenever they change, until dropped. Ends at once if there are none.
    pub(crate) async fn follow_files(self, config: Config) {
        let Some((certificate, key)) = files(&config) else { return };
        let mut seen = self.seen;
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let found = versions(certificate, key);
            if found != seen {
                self.take_up(certificate, key);
                seen = found;
            }
        }
    }

    /// Shows the certificate in these files from now on, if it can be.
    fn take_up(&self, certificate: &Path, key: &Path) {
        match Spoken::read(certificate, key) {
            Ok(spoken) => {
                self.now.store(Arc::new(spoken));
                info!(certificate = %certificate.display(), "TLS ports show the certificate that was changed");
            }
            // One of the two may not be written yet: its change is seen when it is.
            Err(error) => warn!(%error, "TLS ports go on showing the certificate they had"),
        }
    }
}

impl Spoken {
    fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        Self::new(read_chain(certificate)?, &read_key(key)?)
    }

    fn new(chain: Vec<CertificateDer<'static>>, key: &PrivateKeyDer<'static>) -> Result<Self, TlsError> {
        let tcp = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth()
            .with_single_cert(chain, key.clone_key())?;
        let mut websocket = tcp.clone();
        websocket.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { websocket: TlsAcceptor::from(Arc::new(websocket)), tcp: TlsAcceptor::from(Arc::new(tcp)) })
    }
}

/// The operator's certificate and key, if they are given.
fn files(config: &Config) -> Option<(&Path, &Path)> {
    config.tls_certificate.as_deref().zip(config.tls_key.as_deref())
}

/// What changes when one of the files does. Made of what is in them: a file's time has a grain, and two certificates can
/// be as long as each other.
fn versions(certificate: &Path, key: &Path) -> [Option<u64>; 2] {
    [certificate, key].map(|path| {
        let mut hasher = DefaultHasher::new();
        fs::read(path).ok()?.hash(&mut hasher);
        Some(hasher.finish())
    })
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |source| TlsError::File { path: path.to_owned(), key: "tls_certificate", source };
    let chain =
        CertificateDer::pem_file_iter(path).map_err(wrong)?.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    if chain.is_empty() { Err(wrong(pem::Error::NoItemsFound)) } else { Ok(chain) }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|source| TlsError::File {
        path: path.to_owned(),
        key: "tls_key",
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_whatever_its_length_and_time() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = (dir.path().join("chain.pem"), dir.path().join("key.pem"));
        fs::write(&key, "key").unwrap();
        let written = |text: &str| {
            fs::write(&certificate, text).unwrap();
            let file = fs::File::options().write(true).open(&certificate).unwrap();
            file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
            versions(&certificate, &key)
        };
        let first = written("one");
        assert_eq!(written("one"), first);
        assert_ne!(written("two"), first);
        fs::remove_file(&certificate).unwrap();
        assert_eq!(versions(&certificate, &key)[0], None);
    }
}
