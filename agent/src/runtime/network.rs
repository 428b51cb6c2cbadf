//! The Docker network of this node's containers: a bridge of its own on which they cannot reach each other.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use bollard::Docker;
use bollard::models::{NetworkCreateRequest, NetworkInspect};
use bollard::query_parameters::ListNetworksOptionsBuilder;

use super::EngineError;

const OPTION_ICC: &str = "com.docker.network.bridge.enable_icc";
/// Label of networks that an agent made.
const LABEL_NETWORK: &str = "muster.network";

/// The network, as containers and the SDK endpoint need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Network {
    /// Docker's id: names can be ambiguous.
    pub(super) id: String,
    /// The host's end of the bridge.
    pub(super) gateway: Gateway,
}

/// The host's address on the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gateway {
    /// The address.
    pub(crate) address: IpAddr,
    /// Whether it is an address of this machine: so on Linux; not where the engine sits in a virtual
    /// machine or a network namespace of its own.
    pub(crate) is_local: bool,
}

/// Finds the network called `name`, or makes it.
pub(super) async fn ensure(docker: &Docker, name: &str) -> Result<Network, EngineError> {
    if let Some(found) = oldest(docker, name).await? {
        return describe(docker, name, found).await;
    }
    let request = NetworkCreateRequest {
        name: name.to_owned(),
        driver: Some("bridge".to_owned()),
        options: Some(HashMap::from([(OPTION_ICC.to_owned(), "false".to_owned())])),
        labels: Some(HashMap::from([(LABEL_NETWORK.to_owned(), name.to_owned())])),
        ..Default::default()
    };
    let made = docker.create_network(request).await.map_err(EngineError::from)?.id;
    // Docker lets two networks have one name; of two agents that start together, the first one's stays.
    let kept = oldest(docker, name).await?.unwrap_or_else(|| made.clone());
    if kept != made {
        docker.remove_network(&made).await.map_err(EngineError::from)?;
    }
    describe(docker, name, kept).await
}

async fn oldest(docker: &Docker, name: &str) -> Result<Option<String>, EngineError> {
    let filters = HashMap::from([("name".to_owned(), vec![name.to_owned()])]);
    let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
    let networks = docker.list_networks(Some(options)).await.map_err(EngineError::from)?;
    // The filter also finds names that merely contain this one.
    Ok(networks
        .into_iter()
        .filter(|network| network.name.as_deref() == Some(name))
        .min_by(|a, b| a.created.cmp(&b.created))
        .and_then(|network| network.id))
}

async fn describe(docker: &Docker, name: &str, id: String) -> Result<Network, EngineError> {
    let network = docker.inspect_network(&id, None).await.map_err(EngineError::from)?;
    let isolated = network.options.as_ref().and_then(|options| options.get(OPTION_ICC));
    if isolated.map(String::as_str) != Some("false") {
        tracing::warn!(
            network = name,
            "servers on this network can reach each other; remove it while no server runs and restart the agent"
        );
    }
    let address = gateway(&network).ok_or_else(|| bollard::errors::Error::DockerStreamError {
        error: format!(
            "Docker network {name} has no gateway; remove it (`docker network rm {name}`) and the agent makes it anew"
        ),
    })?;
    Ok(Network { id, gateway: Gateway { address, is_local: is_local(address) } })
}

fn gateway(network: &NetworkInspect) -> Option<IpAddr> {
    let configs = network.ipam.as_ref()?.config.as_ref()?;
    configs.iter().filter_map(|config| config.gateway.as_ref()).find_map(|gateway| gateway.parse().ok())
}

/// Found out by trying: only a machine's own addresses can be bound.
fn is_local(address: IpAddr) -> bool {
    std::net::TcpListener::bind(SocketAddr::new(address, 0)).is_ok()
}
