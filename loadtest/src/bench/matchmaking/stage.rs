//! An orchestrator in this process, on an embedded store, with stand-ins for its machines.
//!
//! In this process, because tickets are to enter below HTTP; otherwise it is what `muster orchestrator` runs.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use muster_client::Client;
use muster_orchestrator::{Config, Database, Orchestrator};
use muster_protocol::api::Role;

use super::population::REGIONS;
use crate::bench::stand_in::{self, StandIn};
use crate::harness::ports;
use crate::harness::stack::{NAMESPACE, client_of};
use crate::harness::steps::Steps;
use crate::harness::wait::{Look, until};

/// How long all servers may take to be warm.
const WARM_DEADLINE: Duration = Duration::from_mins(5);

/// Nodes of each region: one takes no more than so many servers.
const NODES: u32 = 4;

/// The orchestrator and its machines.
pub(super) struct Stage {
    orchestrator: Orchestrator,
    machines: Vec<StandIn>,
    /// With a token that may deploy.
    pub(super) studio: Client,
    /// With a token as game clients carry it.
    pub(super) player: Client,
}

impl Stage {
    /// Starts all of it on an empty store in `dir`.
    pub(super) async fn start(dir: &Path, steps: &mut Steps) -> anyhow::Result<Self> {
        steps.run("orchestrator", "start an orchestrator and stand-ins", Self::bring_up(dir)).await
    }

    async fn bring_up(dir: &Path) -> anyhow::Result<Self> {
        if dir.exists() {
            std::fs::remove_dir_all(dir).with_context(|| format!("cannot empty {}", dir.display()))?;
        }
        let (api, link) = (ports::free_tcp()?, ports::free_udp()?);
        let config: Config = toml::from_str(&format!(
            "data_dir = \"{}\"\n[api]\nlisten = \"127.0.0.1:{api}\"\n\
             tickets_per_s_per_address = 0\ntickets_per_s_per_token = 0\n\
             ticket_calls_per_s_per_address = 0\nticket_calls_per_s_per_token = 0\n[link]\nlisten = \"127.0.0.1:{link}\"\n",
            dir.join("state").display()
        ))?;
        let orchestrator = muster_orchestrator::start(config, None).await?;
        let token = std::fs::read_to_string(dir.join("state").join("admin-token"))?;
        let url = orchestrator.api_url();
        let admin = Client::new(&url, Some(token.trim()), Some(NAMESPACE), None)?;
        let (game, environment) = NAMESPACE.split_once('/').expect("a constant with a slash");
        admin.create_namespace(game, environment).await?;
        let address = format!("127.0.0.1:{link}");
        let mut machines = Vec::new();
        for region in REGIONS {
            machines.push(stand_in::edge(&admin, &address, region, &format!("edge-{region}")).await?);
            for node in 1..=NODES {
                machines
                    .push(stand_in::agent(&admin, &address, region, &format!("node-{region}-{node}")).await?);
            }
        }
        let studio = client_of(&admin, &url, Role::Deploy).await?;
        let player = client_of(&admin, &url, Role::Client).await?;
        studio.create_build(&stand_in::build()).await?;
        Ok(Self { orchestrator, machines, studio, player })
    }

    /// The store.
    pub(super) fn db(&self) -> &Database {
        self.orchestrator.db()
    }

    /// Makes a fleet of `each` warm servers in every region, and as many in all as `max`: those that are claimed are
    /// replaced.
    pub(super) async fn warm(&mut self, fleet: &str, each: u32, max: u32) -> anyhow::Result<()> {
        self.studio.apply_fleet(&stand_in::fleet(fleet, &REGIONS, each, max)).await?;
        let (machines, studio) = (&mut self.machines, &self.studio);
        until("all servers to be ready", WARM_DEADLINE, async || {
            for machine in &mut *machines {
                machine.check_alive().await?;
            }
            let status = studio.fleet(fleet).await?;
            let ready: u32 = status.regions.values().map(|region| region.ready).sum();
            let wanted = each * REGIONS.len() as u32;
            let seen = || format!("{ready} of {wanted} are; {:?}", status.waiting_for);
            Ok(if ready == wanted { Look::Holds(()) } else { Look::NotYet(seen()) })
        })
        .await
    }

    /// Stops the orchestrator.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        drop(self.machines);
        self.orchestrator.shutdown().await;
        Ok(())
    }
}
