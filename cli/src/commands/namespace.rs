//! `muster namespace`: make and list namespaces.

use anyhow::Context as _;
use clap::Subcommand;

use super::Ops;
use crate::{context, output};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a namespace
    Create {
        /// game/environment
        name: String,
    },
    /// List namespaces
    Ls,
}

pub(crate) async fn run(ops: &Ops, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create { name } => {
            let (game, environment) =
                name.split_once('/').context("a namespace is game/environment, such as arena/prod")?;
            let made = ops.client.create_namespace(game, environment).await?;
            if ops.json {
                output::json(&made)
            } else {
                output::line(&format!("namespace {} is there", made.name))
            }
        }
        Command::Ls => {
            let namespaces = context::all(async |after| ops.client.namespaces(after).await).await?;
            let rows = namespaces
                .iter()
                .map(|namespace| vec![namespace.name.clone(), output::ago(namespace.created_at_ms)])
                .collect();
            output::table(ops.json, &namespaces, &["namespace", "age"], rows, "no namespaces")
        }
    }
}
