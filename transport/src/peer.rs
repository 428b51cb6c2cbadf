//! Who a certificate speaks of: roles, and the DNS names that carry them.

use std::any::Any;
use std::fmt;
use std::str::FromStr;

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

const DOMAIN: &str = "muster";

/// What a process of Muster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Keeps the state and decides.
    Orchestrator,
    /// Runs containers on a node.
    Agent,
    /// Terminates players' traffic.
    Edge,
}

impl Role {
    /// `orchestrator`, `agent` or `edge`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Orchestrator => "orchestrator",
            Self::Agent => "agent",
            Self::Edge => "edge",
        }
    }

    /// Prefix of the ids of this role; the orchestrator has none, its replicas share a name.
    fn id_prefix(self) -> Option<&'static str> {
        match self {
            Self::Orchestrator => None,
            Self::Agent => Some("node"),
            Self::Edge => Some("edge"),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no role; it is orchestrator, agent or edge")]
pub struct RoleError(String);

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        [Self::Orchestrator, Self::Agent, Self::Edge]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| RoleError(text.to_owned()))
    }
}

/// Who is at the other end of a connection, by their verified certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// What they are.
    pub role: Role,
    /// Their id: `node_…`, `edge_…`, or `orchestrator`.
    pub id: String,
}

/// The DNS name in the certificate of `id`: what a dialler pins.
///
/// An id's underscore is no letter of a host name, so the prefix becomes the role's label:
/// `node_01h…` is `01h….agent.muster`.
pub fn server_name(role: Role, id: &str) -> String {
    match role.id_prefix() {
        None => format!("{role}.{DOMAIN}"),
        Some(prefix) => {
            let suffix = id.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_')).unwrap_or(id);
            format!("{suffix}.{role}.{DOMAIN}")
        }
    }
}

/// Who is at the other end of `connection`; `None` if they showed no certificate of Muster's form.
///
/// The TLS handshake has already checked that Muster's CA signed it.
pub fn peer_identity(connection: &quinn::Connection) -> Option<PeerIdentity> {
    from_chain(connection.peer_identity()?)
}

/// By what a handshake knows of its peer.
pub(crate) fn from_chain(chain: Box<dyn Any>) -> Option<PeerIdentity> {
    from_certificate(chain.downcast::<Vec<CertificateDer<'static>>>().ok()?.first()?)
}

pub(crate) fn from_certificate(certificate: &CertificateDer<'_>) -> Option<PeerIdentity> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::DNSName(name) => from_name(name),
        _ => None,
    })
}

pub(crate) fn from_name(name: &str) -> Option<PeerIdentity> {
    let labels: Vec<_> = name.split('.').collect();
    let (role, suffix) = match labels.as_slice() {
        [role, DOMAIN] => (Role::from_str(role).ok()?, None),
        [suffix, role, DOMAIN] => (Role::from_str(role).ok()?, Some(*suffix)),
        _ => return None,
    };
    match (role.id_prefix(), suffix) {
        (None, None) => Some(PeerIdentity { role, id: role.as_str().to_owned() }),
        (Some(prefix), Some(suffix)) => Some(PeerIdentity { role, id: format!("{prefix}_{suffix}") }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ids_are_one_to_one() {
        for (role, id) in
            [(Role::Agent, "node_01h455"), (Role::Edge, "edge_01h455"), (Role::Orchestrator, "orchestrator")]
        {
            let back = from_name(&server_name(role, id)).expect("a name of ours");
            assert_eq!(back, PeerIdentity { role, id: id.to_owned() });
        }
    }

    #[test]
    fn foreign_names_are_nobody() {
        for name in ["muster", "agent.muster", "a.b.agent.muster", "x.admin.muster", "x.agent.example"] {
            assert_eq!(from_name(name), None, "{name}");
        }
    }
}
