//! `muster orchestrator`: one orchestrator, until it is told to stop.

use anyhow::Context as _;
use muster_orchestrator::Config;

use super::{Key, Kind, Loaded, Options, block_on, key, until_stopped};
use crate::telemetry;

/// Keys of the orchestrator's configuration.
pub(crate) struct Keys;

impl super::Keys for Keys {
    const KEYS: &'static [Key] = &[
        key("data_dir", Kind::Text, "Directory of the store, the builds and the first admin token"),
        key("store", Kind::Text, "Where the state is: embedded, or fdb:CLUSTER_FILE"),
        key(
            "node_loss_timeout_s",
            Kind::Number,
            "Seconds a node's link may be down before its servers are replaced",
        ),
        key("session_token_ttl_s", Kind::Number, "Seconds a session token is valid"),
        key(
            "retention_s",
            Kind::Number,
            "Seconds that servers, tickets and matches are kept after their end",
        ),
        key("api.listen", Kind::Text, "Address and TCP port of the HTTP API"),
        key(
            "api.tls",
            Kind::Text,
            "TLS of the API: own for a certificate of Muster's CA; files are set in the configuration file",
        ),
        key("api.insecure", Kind::Switch, "Allow plain HTTP on an address that other machines reach"),
        key("api.names", Kind::List, "With api.tls own: further names and addresses for the certificate"),
        key(
            "api.tickets_per_s_per_address",
            Kind::Number,
            "Matches that game clients of one address may ask for in a second; 0 for no limit",
        ),
        key(
            "api.tickets_per_s_per_token",
            Kind::Number,
            "Matches that game clients with one token may ask for in a second; 0 for no limit",
        ),
        key(
            "api.ticket_calls_per_s_per_address",
            Kind::Number,
            "Calls about tickets that game clients of one address may make in a second; 0 for no limit",
        ),
        key(
            "api.ticket_calls_per_s_per_token",
            Kind::Number,
            "Calls about tickets that game clients with one token may make in a second; 0 for no limit",
        ),
        key(
            "api.explains_per_s_per_address",
            Kind::Number,
            "Explanations of tickets that game clients of one address may ask for in a second; 0 for no limit",
        ),
        key(
            "api.explains_per_s_per_token",
            Kind::Number,
            "Explanations of tickets that game clients with one token may ask for in a second; 0 for no limit",
        ),
        key("link.listen", Kind::Text, "Address and UDP port that agents and edges dial"),
        key("link.advertise", Kind::Text, "host:port under which they, and other orchestrators, reach it"),
    ];
}

pub(crate) fn run(options: &Options<Keys>) -> anyhow::Result<()> {
    let Loaded { own, log, .. } = options.load::<Config>()?;
    telemetry::start_logs(&log)?;
    let metrics = telemetry::start_metrics()?;
    block_on(async move {
        let orchestrator =
            muster_orchestrator::start(own, Some(metrics)).await.context("the orchestrator cannot start")?;
        until_stopped().await?;
        tracing::info!("stopping; games go on");
        orchestrator.shutdown().await;
        Ok(())
    })
}
