//! How long a server takes from being wanted to being ready, phase by phase, beside the bare container.
//!
//! Both are measured in turn, in the same run, on the same image, which the engine has already:
//! - `docker run IMAGE`, until the game server says that its ports listen;
//! - a fleet that keeps one server warm loses it to a claim, and starts another.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use muster_protocol::api::{AllocateRequest, Server, ServerState};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use super::BenchOptions;
use super::figures::{Figure, Figures};
use crate::harness::docker::docker;
use crate::harness::specs::arena_fleet;
use crate::harness::stack::{FLEET_DEADLINE, REGION, Stack, StackOptions};
use crate::harness::steps::Steps;
use crate::harness::wait::{Look, until};
use crate::latency::median;

const FLEET: &str = "arena";
/// Starts of each kind.
const ROUNDS: usize = 15;
/// How long a bare container may take to listen.
const LISTEN_DEADLINE: Duration = Duration::from_secs(30);
/// The states a start passes, in order.
const PHASES: [ServerState; 5] = [
    ServerState::Pending,
    ServerState::Placing,
    ServerState::Pulling,
    ServerState::Starting,
    ServerState::Ready,
];

/// Runs the benchmark.
pub async fn run(options: &BenchOptions, steps: &mut Steps) -> anyhow::Result<Figures> {
    let stack_options = StackOptions::new(options.muster.clone(), options.out.join("run-start"));
    let stack = Stack::start(stack_options, steps).await?;
    steps.run("push", "push the image", stack.push_image(&options.image, "arena:bench")).await?;
    let spec = arena_fleet(FLEET, "arena:bench", REGION, 1, 3);
    steps.run("fleet", "one warm server", stack.apply_fleet(&spec)).await?;
    let text = format!("{ROUNDS} starts of each, in turn");
    let measured = steps.run("rounds", &text, async {
        let (mut bare, mut starts) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            bare.push(bare_start(&options.image, round).await?);
            starts.push(muster_start(&stack).await?);
        }
        Ok((bare, starts))
    });
    let (bare, starts) = measured.await?;
    steps.run("stop", "stop everything", stack.stop(&[FLEET])).await?;
    Ok(Figures::new(figures(&bare, &starts)))
}

/// What one start took.
struct Start {
    /// By phase but the last, milliseconds.
    phases_ms: Vec<f64>,
    /// From wanted to ready, milliseconds.
    ready_ms: f64,
}

fn figures(bare: &[f64], starts: &[Start]) -> Vec<Figure> {
    let middle = |values: &[f64]| median(values).unwrap_or(f64::NAN);
    let ready: Vec<f64> = starts.iter().map(|start| start.ready_ms).collect();
    let (bare_ms, ready_ms) = (middle(bare), middle(&ready));
    let mut figures = vec![
        Figure::alone("start.ready_ms", ready_ms, "ms").against("docker run until it listens", bare_ms),
        Figure::alone("start.ready_over_docker_run_ms", ready_ms - bare_ms, "ms"),
    ];
    for (index, state) in PHASES[..PHASES.len() - 1].iter().enumerate() {
        let values: Vec<f64> = starts.iter().map(|start| start.phases_ms[index]).collect();
        figures.push(Figure::alone(&format!("start.{}_ms", state.as_str()), middle(&values), "ms"));
    }
    figures
}

/// The phases of `server`, which is or was ready.
fn start_of(server: &Server) -> anyhow::Result<Start> {
    let mut entered = Vec::new();
    for state in PHASES {
        let at = server.entered_ms.get(&state).copied();
        // A phase that was passed too quickly to be seen took no time.
        entered.push(
            at.or(entered.last().copied()).with_context(|| {
                format!("server {} does not say when it was {}", server.id, state.as_str())
            })?,
        );
    }
    let span = |from: u64, to: u64| to.saturating_sub(from) as f64;
    Ok(Start {
        phases_ms: entered.windows(2).map(|pair| span(pair[0], pair[1])).collect(),
        ready_ms: span(entered[0], entered[PHASES.len() - 1]),
    })
}

async fn muster_start(stack: &Stack) -> anyhow::Result<Start> {
    let known: BTreeSet<_> = stack.servers(FLEET).await?.into_iter().map(|server| server.id).collect();
    let request = AllocateRequest { regions: Vec::new(), players: Vec::new(), data: None };
    let claimed = stack.studio.allocate(FLEET, &request).await?;
    let fresh = until("another server to be ready", FLEET_DEADLINE, async || {
        let servers = stack.servers(FLEET).await?;
        let ready = |server: &&Server| server.state == ServerState::Ready && !known.contains(&server.id);
        Ok(match servers.iter().find(ready) {
            Some(server) => Look::Holds(server.clone()),
            None => Look::NotYet("none is".to_owned()),
        })
    })
    .await?;
    // Only now, so that a container's end does not weigh on the other's start.
    stack.studio.stop_server(&claimed.server_id, true).await?;
    until("the claimed server to stop", FLEET_DEADLINE, async || {
        let state = stack.studio.server(&claimed.server_id).await?.state;
        Ok(if state.is_final() { Look::Holds(()) } else { Look::NotYet(format!("it is {}", state.as_str())) })
    })
    .await?;
    start_of(&fresh)
}

/// Milliseconds from `docker run` until the game server says that it listens.
async fn bare_start(image: &str, round: usize) -> anyhow::Result<f64> {
    let name = format!("muster-bench-{}-{round}", std::process::id());
    let began = Instant::now();
    let mut child = Command::new("docker")
        .args(["run", "--rm", "--name", &name, "--label", "muster.bench=start", image])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("cannot run `docker`")?;
    let stdout = child.stdout.take().context("the child's output is not piped")?;
    let listening = async {
        let mut lines = BufReader::new(stdout).lines();
        while let Some(line) = lines.next_line().await? {
            if line.starts_with("listening") {
                return Ok(began.elapsed());
            }
        }
        bail!("`docker run {image}` ended without a word of listening")
    };
    let listened = tokio::time::timeout(LISTEN_DEADLINE, listening).await;
    // Whatever came of it, nothing stays; `--rm` has removed it already if it ended by itself.
    let removed = docker(&["rm", "--force", &name]).await;
    child.wait().await?;
    let took = listened.context("the bare container does not listen")??;
    removed?;
    Ok(took.as_secs_f64() * 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_medians_and_their_difference() {
        let start = |ready_ms| Start { phases_ms: vec![1.0, 2.0, 3.0, ready_ms - 6.0], ready_ms };
        let figures = figures(&[100.0, 300.0, 200.0], &[start(250.0), start(260.0), start(900.0)]);
        let value = |name: &str| {
            figures.iter().find(|figure| figure.name == name).map(|figure| (figure.value, figure.ratio))
        };
        assert_eq!(value("start.ready_ms"), Some((260.0, Some(1.3))));
        assert_eq!(value("start.ready_over_docker_run_ms"), Some((60.0, None)));
        assert_eq!(value("start.pulling_ms"), Some((3.0, None)));
        assert_eq!(figures.len(), 6);
    }
}
