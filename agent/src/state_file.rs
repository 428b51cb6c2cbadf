//! What an agent must not forget over a restart while no orchestrator is there to tell it again.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use muster_protocol::agent::{AgentWelcome, ServerReport, ServerSpec};
use prost::Message;

const SERVERS_FILE: &str = "servers.bin";
const WELCOME_FILE: &str = "welcome.bin";
const SDK_PORT_FILE: &str = "sdk-port";
const IMAGES_DIR: &str = "images";

/// Servers as they were, on disk.
#[derive(Clone, PartialEq, Message)]
struct SavedServers {
    #[prost(message, repeated, tag = "1")]
    servers: Vec<SavedServer>,
}

#[derive(Clone, PartialEq, Message)]
struct SavedServer {
    #[prost(message, optional, tag = "1")]
    spec: Option<ServerSpec>,
    #[prost(message, optional, tag = "2")]
    report: Option<ServerReport>,
}

/// The agent's state directory.
#[derive(Clone, Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// Uses `path`, which is made if missing.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        Ok(Self { path: path.to_owned() })
    }

    /// Where image transfers lie.
    pub(crate) fn images(&self) -> PathBuf {
        self.path.join(IMAGES_DIR)
    }

    /// Where the SDK endpoint keeps its port.
    pub(crate) fn sdk_port(&self) -> PathBuf {
        self.path.join(SDK_PORT_FILE)
    }

    /// Servers as the last run left them; none if there was none, or its file is damaged: containers
    /// tell by their labels what they are.
    pub(crate) fn load_servers(&self) -> Vec<(ServerSpec, ServerReport)> {
        let saved: SavedServers = self.load(SERVERS_FILE).unwrap_or_default();
        saved.servers.into_iter().filter_map(|server| Some((server.spec?, server.report?))).collect()
    }

    /// Keeps servers for the next run.
    pub(crate) fn save_servers(&self, servers: Vec<(ServerSpec, ServerReport)>) -> io::Result<()> {
        let servers = servers
            .into_iter()
            .map(|(spec, report)| SavedServer { spec: Some(spec), report: Some(report) })
            .collect();
        self.save(SERVERS_FILE, &SavedServers { servers })
    }

    /// What an orchestrator last said in welcome.
    pub(crate) fn load_welcome(&self) -> AgentWelcome {
        self.load(WELCOME_FILE).unwrap_or_default()
    }

    /// Keeps it.
    pub(crate) fn save_welcome(&self, welcome: &AgentWelcome) -> io::Result<()> {
        self.save(WELCOME_FILE, welcome)
    }

    fn load<M: Message + Default>(&self, name: &str) -> Option<M> {
        let path = self.path.join(name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "state cannot be read; going on without it");
                return None;
            }
        };
        M::decode(bytes.as_slice())
            .inspect_err(|error| {
                tracing::warn!(path = %path.display(), %error, "state is damaged; going on without it");
            })
            .ok()
    }

    /// A crash leaves the old file or the new one, never half of one.
    fn save(&self, name: &str, message: &impl Message) -> io::Result<()> {
        let path = self.path.join(name);
        let temporary = self.path.join(format!("{name}.new"));
        let mut file = fs::File::create(&temporary)?;
        file.write_all(&message.encode_to_vec())?;
        file.sync_data()?;
        fs::rename(temporary, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_come_back_and_damage_is_survived() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = StateDir::open(&dir.path().join("made")).expect("opens");
        assert_eq!(state.load_servers(), []);
        let servers = vec![(
            ServerSpec { server_id: "srv_1".into(), ..Default::default() },
            ServerReport { server_id: "srv_1".into(), generation: 4, ..Default::default() },
        )];
        state.save_servers(servers.clone()).expect("writes");
        assert_eq!(state.load_servers(), servers);
        fs::write(state.path.join(SERVERS_FILE), [0xff; 7]).expect("writes");
        assert_eq!(state.load_servers(), []);
    }
}
