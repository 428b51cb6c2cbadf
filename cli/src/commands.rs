//! The commands, one file each; this one only dispatches.

pub(crate) mod backup;
pub(crate) mod build;
pub(crate) mod completion;
pub(crate) mod doctor;
pub(crate) mod edges;
pub(crate) mod fleet;
pub(crate) mod lobby;
pub(crate) mod namespace;
pub(crate) mod node;
pub(crate) mod queue;
pub(crate) mod server;
pub(crate) mod spec;
pub(crate) mod status;
pub(crate) mod store;
pub(crate) mod ticket;
pub(crate) mod token;
pub(crate) mod workflow;

use std::future::Future;

use anyhow::Context as _;
use muster_client::Client;

use crate::args::{Cli, Command, Edge, EdgeInstead, Global};
use crate::{context, process};

/// What a command that talks to an orchestrator needs.
pub(crate) struct Ops {
    pub(crate) client: Client,
    pub(crate) json: bool,
}

/// Runs the command.
pub(crate) fn run(cli: Cli) -> anyhow::Result<()> {
    let global = &cli.global;
    match cli.command {
        Command::Dev(options) => process::dev::run(options),
        Command::Orchestrator(options) => process::orchestrator::run(&options),
        Command::Agent(options) => process::agent::run(&options),
        Command::Edge(Edge { run, instead: None }) => process::edge::run(&run),
        Command::Edge(Edge { instead: Some(EdgeInstead::Top(options)), .. }) => {
            ops(global, async |ops| edges::top::run(&ops, &options).await)
        }
        Command::Build(command) => ops(global, async |ops| build::run(&ops, command).await),
        Command::Fleet(command) => ops(global, async |ops| fleet::run(&ops, command).await),
        Command::Queue(command) => on_runtime(queue::run(global, command)),
        Command::Lobby(command) => ops(global, async |ops| lobby::run(&ops, command).await),
        Command::Server(command) => ops(global, async |ops| server::run(&ops, command).await),
        Command::Node(command) => ops(global, async |ops| node::run(&ops, command).await),
        Command::Edges(command) => ops(global, async |ops| edges::run(&ops, command).await),
        Command::Namespace(command) => ops(global, async |ops| namespace::run(&ops, command).await),
        Command::Token(command) => ops(global, async |ops| token::run(&ops, command).await),
        Command::Ticket(command) => ops(global, async |ops| ticket::run(&ops, command).await),
        Command::Workflow(command) => ops(global, async |ops| workflow::run(&ops, command).await),
        Command::Backup(command) => on_runtime(backup::run(global, command)),
        Command::Store(command) => on_runtime(store::run(global.json, command)),
        Command::Doctor(options) => on_runtime(doctor::run(global, options)),
        Command::Status => ops(global, async |ops| status::run(&ops).await),
        Command::Completion(options) => completion::run(options),
    }
}

/// Runs an ops command on a small runtime of its own.
fn ops<F: Future<Output = anyhow::Result<()>>>(
    global: &Global,
    command: impl FnOnce(Ops) -> F,
) -> anyhow::Result<()> {
    let ops = Ops { client: context::client(global)?, json: global.json };
    on_runtime(command(ops))
}

fn on_runtime(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the asynchronous runtime cannot start")?
        .block_on(command)
}
