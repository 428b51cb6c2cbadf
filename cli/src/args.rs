//! The command line: commands, and the options that every ops command shares.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands;
use crate::process;

/// Run and operate Muster, the game-server orchestrator.
#[derive(Parser)]
#[command(name = "muster", version, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How ops commands reach an orchestrator. What is not given is taken from the stack that
/// `muster dev` runs in this directory, if one does.
#[derive(Args)]
pub(crate) struct Global {
    /// URL of the orchestrator's API
    #[arg(long, global = true, env = "MUSTER_URL", value_name = "URL")]
    pub(crate) url: Option<String>,
    /// API token
    #[arg(long, global = true, env = "MUSTER_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Namespace, game/environment; needed with admin tokens
    #[arg(long, short = 'n', global = true, env = "MUSTER_NAMESPACE", value_name = "GAME/ENV")]
    pub(crate) namespace: Option<String>,
    /// PEM file of the CA to trust for https; the system's if not given
    #[arg(long, global = true, env = "MUSTER_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Print JSON instead of tables
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// An edge proxy's options, or what one looks for here.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Edge {
    #[command(flatten)]
    pub(crate) run: process::Options<process::edge::Keys>,
    #[command(subcommand)]
    pub(crate) instead: Option<EdgeInstead>,
}

#[derive(Subcommand)]
pub(crate) enum EdgeInstead {
    /// The same as `muster edges top`
    Top(commands::edges::top::Options),
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run everything in one process, for development; state in ./.muster
    Dev(process::dev::Options),
    /// Run an orchestrator
    Orchestrator(process::Options<process::orchestrator::Keys>),
    /// Run a node's agent
    Agent(process::Options<process::agent::Keys>),
    /// Run an edge proxy
    Edge(Edge),
    /// Push and list game-server builds
    #[command(subcommand)]
    Build(commands::build::Command),
    /// Apply and list fleets
    #[command(subcommand)]
    Fleet(commands::fleet::Command),
    /// Apply and list matchmaking queues
    #[command(subcommand)]
    Queue(commands::queue::Command),
    /// Make, list, find and join lobbies, as a game client would
    #[command(subcommand)]
    Lobby(commands::lobby::Command),
    /// See, follow, join and stop servers
    #[command(subcommand)]
    Server(commands::server::Command),
    /// See nodes
    #[command(subcommand)]
    Node(commands::node::Command),
    /// See edges
    #[command(subcommand)]
    Edges(commands::edges::Command),
    /// Make and list namespaces
    #[command(subcommand)]
    Namespace(commands::namespace::Command),
    /// Make, list and revoke API tokens; make join tokens
    #[command(subcommand)]
    Token(commands::token::Command),
    /// Ask for a match, as a game client would
    #[command(subcommand)]
    Ticket(commands::ticket::Command),
    /// What the orchestrator does over time: list, show, pause, retry, cancel
    #[command(subcommand)]
    Workflow(commands::workflow::Command),
    /// Take, check and restore backups
    #[command(subcommand)]
    Backup(commands::backup::Command),
    /// Check or print an orchestrator's store, without an orchestrator
    #[command(subcommand)]
    Store(commands::store::Command),
    /// Look for what is wrong with this machine's orchestrator, and say how to mend it
    Doctor(commands::doctor::Options),
    /// How the installation is, and what is wrong
    Status,
    /// Print a completion script for a shell
    Completion(commands::completion::Options),
}
