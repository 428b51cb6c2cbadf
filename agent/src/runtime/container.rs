//! A server's container, as Docker is asked for it. Pure: a specification in, a request out.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig, PortBinding};
use muster_protocol::agent::{PortProtocol, ServerLimits, ServerPort, ServerSpec};
use prost::Message;

use super::image::image_of;

/// Label: the server's id.
pub(super) const LABEL_SERVER: &str = "muster.server";
/// Label: the node's id. What carries another node's is not ours.
pub(super) const LABEL_NODE: &str = "muster.node";
const LABEL_GENERATION: &str = "muster.generation";
const LABEL_NAMESPACE: &str = "muster.namespace";
/// Label: the whole specification, base64 of the message, so that an agent that has lost its state
/// can still adopt the container.
const LABEL_SPEC: &str = "muster.spec";

/// Environment variable that carries the server's SDK token.
pub(super) const ENV_TOKEN: &str = "MUSTER_SERVER_TOKEN";

/// Processes of a server whose specification names no limit.
const DEFAULT_PIDS: i64 = 512;
/// Log kept per container: two files of ten megabytes.
const LOG_OPTIONS: [(&str, &str); 2] = [("max-size", "10m"), ("max-file", "2")];
/// Scratch space of a server with a read-only root; counts as its memory.
const SCRATCH: (&str, &str) = ("/tmp", "rw,nosuid,nodev,noexec,size=64m");

/// How containers reach the SDK endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SdkAccess {
    /// URL without a path.
    pub(crate) url: String,
    /// A host name the container has to be told, as Docker's `name:address`.
    pub(crate) extra_host: Option<String>,
}

/// The container's name.
pub(super) fn name(server_id: &str) -> String {
    format!("muster-{server_id}")
}

/// What Docker is asked to create.
pub(super) fn body(
    spec: &ServerSpec,
    node: &str,
    network_id: &str,
    published: bool,
    sdk: &SdkAccess,
    token: &str,
) -> ContainerCreateBody {
    let limits = spec.limits.unwrap_or_default();
    let bindings = published.then(|| port_bindings(&spec.ports));
    ContainerCreateBody {
        image: Some(image_of(spec.build.as_ref())),
        cmd: (!spec.args.is_empty()).then(|| spec.args.clone()),
        env: Some(environment(spec, sdk, token)),
        labels: Some(labels(spec, node)),
        // Not the image's choice: stop promises SIGTERM.
        stop_signal: Some("SIGTERM".to_owned()),
        exposed_ports: bindings.as_ref().map(|bindings| bindings.keys().cloned().collect()),
        host_config: Some(HostConfig {
            port_bindings: bindings,
            extra_hosts: sdk.extra_host.clone().map(|host| vec![host]),
            ..host_config(&limits, network_id)
        }),
        ..Default::default()
    }
}

fn host_config(limits: &ServerLimits, network_id: &str) -> HostConfig {
    // The same for memory and for memory with swap: a game that swaps is a game that stutters.
    let memory = i64::try_from(limits.memory_bytes).ok().filter(|&bytes| bytes > 0);
    HostConfig {
        nano_cpus: Some(i64::from(limits.cpu_millis) * 1_000_000).filter(|&cpus| cpus > 0),
        memory,
        memory_swap: memory,
        pids_limit: Some(if limits.pids == 0 { DEFAULT_PIDS } else { i64::from(limits.pids) }),
        network_mode: Some(network_id.to_owned()),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        // The kernel spares process 1 every signal it has no handler for: a game without a handler of
        // its own would sit out SIGTERM until SIGKILL.
        init: Some(true),
        readonly_rootfs: Some(limits.read_only_root),
        tmpfs: limits.read_only_root.then(|| HashMap::from([(SCRATCH.0.to_owned(), SCRATCH.1.to_owned())])),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(LOG_OPTIONS.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
        }),
        ..Default::default()
    }
}

fn environment(spec: &ServerSpec, sdk: &SdkAccess, token: &str) -> Vec<String> {
    let own = |key: &str| key.starts_with("MUSTER_");
    let mut environment: Vec<_> =
        spec.env.iter().filter(|(key, _)| !own(key)).map(|(key, value)| format!("{key}={value}")).collect();
    environment.sort();
    environment.extend([
        format!("MUSTER_SDK_URL={}", sdk.url),
        format!("{ENV_TOKEN}={token}"),
        format!("MUSTER_SERVER_ID={}", spec.server_id),
        format!("MUSTER_REGION={}", spec.region),
        format!("MUSTER_NAMESPACE={}", spec.namespace),
    ]);
    environment.extend(spec.ports.iter().map(|port| {
        format!("MUSTER_PORT_{}={}", port.name.to_uppercase().replace('-', "_"), port.container_port)
    }));
    environment
}

fn labels(spec: &ServerSpec, node: &str) -> HashMap<String, String> {
    HashMap::from([
        (LABEL_SERVER.to_owned(), spec.server_id.clone()),
        (LABEL_NODE.to_owned(), node.to_owned()),
        (LABEL_GENERATION.to_owned(), spec.generation.to_string()),
        (LABEL_NAMESPACE.to_owned(), spec.namespace.clone()),
        (LABEL_SPEC.to_owned(), STANDARD.encode(spec.encode_to_vec())),
    ])
}

/// The specification a container's labels carry.
pub(super) fn spec_of(labels: &HashMap<String, String>) -> Option<ServerSpec> {
    let bytes = STANDARD.decode(labels.get(LABEL_SPEC)?).ok()?;
    let spec = ServerSpec::decode(bytes.as_slice()).ok()?;
    (labels.get(LABEL_SERVER) == Some(&spec.server_id)).then_some(spec)
}

/// Docker's name of a port, `7777/udp`.
pub(super) fn docker_port(port: &ServerPort) -> String {
    let protocol = match port.protocol() {
        PortProtocol::Udp => "udp",
        PortProtocol::Unspecified | PortProtocol::Tcp | PortProtocol::Ws => "tcp",
    };
    format!("{}/{protocol}", port.container_port)
}

fn port_bindings(ports: &[ServerPort]) -> HashMap<String, Option<Vec<PortBinding>>> {
    // An empty host port lets Docker choose a free one.
    let binding = || PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some(String::new()) };
    ports.iter().map(|port| (docker_port(port), Some(vec![binding()]))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_protocol::agent::BuildRef;

    fn spec() -> ServerSpec {
        ServerSpec {
            server_id: "srv_01h455vb4pex5vsknk084sn02q".into(),
            generation: 3,
            namespace: "arena/prod".into(),
            region: "eu-central".into(),
            build: Some(BuildRef { reference: "example/arena:1".into(), ..Default::default() }),
            ports: vec![ServerPort {
                name: "game-main".into(),
                protocol: PortProtocol::Udp.into(),
                container_port: 7777,
            }],
            env: [("MAP", "dust"), ("MUSTER_SERVER_TOKEN", "forged")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            limits: Some(ServerLimits {
                cpu_millis: 1500,
                memory_bytes: 256 << 20,
                pids: 64,
                read_only_root: true,
            }),
            ..Default::default()
        }
    }

    fn access() -> SdkAccess {
        SdkAccess { url: "http://172.18.0.1:4000".into(), extra_host: None }
    }

    #[test]
    fn limits_and_locks_are_asked_for() {
        let host = body(&spec(), "node_a", "net", false, &access(), "secret").host_config.expect("set");
        assert_eq!(host.nano_cpus, Some(1_500_000_000));
        assert_eq!((host.memory, host.memory_swap), (Some(256 << 20), Some(256 << 20)));
        assert_eq!(host.pids_limit, Some(64));
        assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
        assert_eq!(host.security_opt, Some(vec!["no-new-privileges".to_owned()]));
        assert_eq!(host.readonly_rootfs, Some(true));
        assert_eq!(host.init, Some(true));
        assert_eq!(host.port_bindings, None);
    }

    #[test]
    fn the_environment_is_the_fleets_and_ours_cannot_be_forged() {
        let environment = body(&spec(), "node_a", "net", false, &access(), "secret").env.expect("set");
        for entry in [
            "MAP=dust",
            "MUSTER_SERVER_TOKEN=secret",
            "MUSTER_SDK_URL=http://172.18.0.1:4000",
            "MUSTER_REGION=eu-central",
            "MUSTER_NAMESPACE=arena/prod",
            "MUSTER_PORT_GAME_MAIN=7777",
        ] {
            assert!(environment.iter().any(|have| have == entry), "{entry} in {environment:?}");
        }
        assert!(!environment.iter().any(|entry| entry.contains("forged")));
    }

    #[test]
    fn the_specification_comes_back_from_the_labels() {
        let labels = body(&spec(), "node_a", "net", false, &access(), "secret").labels.expect("set");
        assert_eq!(spec_of(&labels), Some(spec()));
        let mut other = labels.clone();
        other.insert(LABEL_SERVER.to_owned(), "srv_other".to_owned());
        assert_eq!(spec_of(&other), None);
        other.insert(LABEL_SPEC.to_owned(), "not base64!".to_owned());
        assert_eq!(spec_of(&other), None);
    }

    #[test]
    fn ports_are_published_on_loopback_only_and_only_if_they_must() {
        let host = body(&spec(), "node_a", "net", true, &access(), "secret").host_config.expect("set");
        let bindings = host.port_bindings.expect("set");
        let binding = bindings["7777/udp"].as_ref().expect("set");
        assert_eq!(binding[0].host_ip.as_deref(), Some("127.0.0.1"));
    }
}
