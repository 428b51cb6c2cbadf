//! Logs and metrics of the long-running commands: set up once per process, here and nowhere else.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing_subscriber::EnvFilter;

/// How a process logs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LogConfig {
    /// A level, or directives as `info,muster_agent=debug`.
    pub(crate) level: String,
    /// One JSON object per line instead of text.
    pub(crate) json: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".to_owned(), json: false }
    }
}

/// Where a process shows its metrics.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MetricsConfig {
    /// Address and TCP port for `GET /metrics`; absent: not served.
    pub(crate) listen: Option<SocketAddr>,
}

/// What is logged less than the rest, unless the level's directives say otherwise: rustls warns of every
/// client that names an address instead of a host, which any client can make it do.
const QUIET: &str = "rustls=error";

/// The data plane's histograms are shown in buckets, which can be summed over edges. All of them are times of packets.
const DATA_PLANE: &str = "muster_edge_";
/// Upper ends of their buckets, in seconds.
const PACKET_SECONDS: [f64; 16] = [
    10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3,
    500e-3, 1.0,
];

/// How often what histograms were given is put into their buckets; until then each value is held by itself.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// How often the address of a process that is being replaced is tried.
const METRICS_RETRY: Duration = Duration::from_millis(100);

/// Starts logging to standard error.
pub(crate) fn start_logs(config: &LogConfig) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", config.level))
        .with_context(|| format!("log.level {:?} is no level; try info or debug", config.level))?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        // Of a line that cannot be written, as on a full disk, there is nowhere to tell: trying to panics.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    let started =
        if config.json { subscriber.json().try_init() } else { subscriber.with_target(false).try_init() };
    started.map_err(|error| anyhow::anyhow!("logging cannot start: {error}"))
}

/// Installs the recorder behind the `metrics` facade, and keeps it from growing where nobody asks for the metrics.
pub(crate) fn start_metrics() -> anyhow::Result<PrometheusHandle> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Prefix(DATA_PLANE.to_owned()), &PACKET_SECONDS)
        .context("metrics cannot start")?;
    let handle = builder.install_recorder().context("metrics cannot start")?;
    let recorder = handle.clone();
    std::thread::Builder::new()
        .name("metrics".to_owned())
        .spawn(move || {
            loop {
                std::thread::sleep(METRICS_UPKEEP);
                recorder.run_upkeep();
            }
        })
        .context("metrics cannot start")?;
    Ok(handle)
}

/// `GET /metrics` of an agent or an edge, which have no other place to show them. Ends when it is dropped.
pub(crate) struct MetricsServer {
    listen: Option<SocketAddr>,
    handle: PrometheusHandle,
    before: BeforeShown,
    stop: DropGuard,
}

/// What is done each time before the metrics are shown.
type BeforeShown = Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>;

impl MetricsServer {
    /// One that shows nothing yet.
    pub(crate) fn new(config: &MetricsConfig, handle: PrometheusHandle) -> Self {
        let (before, stop) = (BeforeShown::default(), CancellationToken::new().drop_guard());
        Self { listen: config.listen, handle, before, stop }
    }

    /// Has `sum_up` tell the recorder, each time before the metrics are shown, what it does not count at once. The first that
    /// is given stays.
    pub(crate) fn before_shown(&self, sum_up: impl Fn() + Send + Sync + 'static) {
        self.before.get_or_init(|| Box::new(sum_up));
    }

    /// Shows them, if there is an address to do it on.
    pub(crate) async fn start(&self) -> anyhow::Result<()> {
        let Some(listen) = self.listen else { return Ok(()) };
        let listener = TcpListener::bind(listen).await.with_context(|| {
            format!("metrics.listen {listen} cannot be listened on; choose a free address, or leave it out")
        })?;
        self.serve(listener);
        Ok(())
    }

    /// Shows them once the process before has left the address, which it is about to.
    pub(crate) async fn start_after_another(&self) {
        let Some(listen) = self.listen else { return };
        loop {
            match TcpListener::bind(listen).await {
                Ok(listener) => return self.serve(listener),
                Err(error) => tracing::debug!(%error, "metrics are not shown yet"),
            }
            tokio::time::sleep(METRICS_RETRY).await;
        }
    }

    fn serve(&self, listener: TcpListener) {
        let (handle, before, stop) = (self.handle.clone(), self.before.clone(), self.stop.token().clone());
        let show = move || {
            if let Some(sum_up) = before.get() {
                sum_up();
            }
            std::future::ready(handle.render())
        };
        let app = Router::new().route("/metrics", get(show));
        tokio::spawn(async move {
            let served = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await;
            if let Err(error) = served {
                tracing::error!(%error, "metrics are no longer served");
            }
        });
    }
}
