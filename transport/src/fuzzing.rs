//! The crate's parsers as the fuzz targets have them: each takes any bytes and panics if a promise is broken.
//!
//! For `fuzz/` alone; nothing that runs calls it.

use rustls::pki_types::CertificateDer;

use crate::peer::{from_certificate, from_name, server_name};

/// A peer's certificate, and the name in one.
pub fn peer(bytes: &[u8]) {
    let certificate = CertificateDer::from(bytes);
    let named = std::str::from_utf8(bytes).ok().and_then(from_name);
    for peer in from_certificate(&certificate).into_iter().chain(named) {
        assert_eq!(from_name(&server_name(peer.role, &peer.id)), Some(peer), "names and ids are one to one");
    }
}
