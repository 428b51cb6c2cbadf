//! `muster token`: make, list and revoke API tokens, and make join tokens for new machines.

use anyhow::Context as _;
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use muster_protocol::api::{ApiTokenRequest, JoinRole, JoinTokenRequest, Role};
use muster_protocol::id::{ApiTokenId, ApiTokenMark, parse_id};

use super::Ops;
use crate::{context, output};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make an API token (--role), or a one-time token for a new machine (--join)
    Create(CreateOptions),
    /// List API tokens; the tokens themselves are kept nowhere
    Ls,
    /// Revoke an API token
    Rm {
        /// Its id
        #[arg(value_parser = parse_id::<ApiTokenMark>)]
        id: ApiTokenId,
    },
}

#[derive(Args)]
#[command(group = ArgGroup::new("kind").required(true).args(["role", "join"]))]
pub(crate) struct CreateOptions {
    /// What the token may do: client (ask for matches), deploy (builds, fleets, queues), admin
    #[arg(long, value_enum)]
    role: Option<RoleArg>,
    /// What will join with it
    #[arg(long, value_enum, requires = "region")]
    join: Option<JoinArg>,
    /// Region it will join
    #[arg(long)]
    region: Option<String>,
    /// What it is for, in words
    #[arg(long, default_value = "")]
    name: String,
    /// Seconds it is valid; API tokens last until revoked if not given, join tokens an hour
    #[arg(long, value_name = "SECONDS")]
    ttl: Option<u64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleArg {
    Client,
    Deploy,
    Admin,
}

#[derive(Clone, Copy, ValueEnum)]
enum JoinArg {
    Agent,
    Edge,
}

/// Seconds a join token is valid unless told otherwise.
const JOIN_TTL_S: u64 = 3_600;

pub(crate) async fn run(ops: &Ops, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create(options) => match options.join {
            Some(join) => create_join(ops, join, options).await,
            None => create(ops, options).await,
        },
        Command::Ls => list(ops).await,
        Command::Rm { id } => {
            ops.client.delete_token(&id).await?;
            output::done(ops.json, &id, "is revoked")
        }
    }
}

async fn create(ops: &Ops, options: CreateOptions) -> anyhow::Result<()> {
    let role = match options.role.context("clap's group makes --role or --join present")? {
        RoleArg::Client => Role::Client,
        RoleArg::Deploy => Role::Deploy,
        RoleArg::Admin => Role::Admin,
    };
    // An admin token is bound to a namespace only where that is said by hand, not by where one stands.
    let namespace = if role == Role::Admin { None } else { ops.client.namespace().map(str::to_owned) };
    let request = ApiTokenRequest { role, namespace, name: options.name, ttl_s: options.ttl };
    let made = ops.client.create_token(&request).await?;
    if ops.json {
        return output::json(&made);
    }
    // The token alone on standard output, so that a script can take it.
    eprintln!("{} token {}; it is shown once:", made.role.as_str(), made.id);
    output::line(&made.token.unwrap_or_default())
}

async fn create_join(ops: &Ops, join: JoinArg, options: CreateOptions) -> anyhow::Result<()> {
    let request = JoinTokenRequest {
        role: match join {
            JoinArg::Agent => JoinRole::Agent,
            JoinArg::Edge => JoinRole::Edge,
        },
        region: options.region.context("clap requires --region with --join")?,
        ttl_s: options.ttl.unwrap_or(JOIN_TTL_S),
    };
    let made = ops.client.create_join_token(&request).await?;
    if ops.json {
        return output::json(&made);
    }
    eprintln!("one {} may join region {} with it:", made.role.as_str(), made.region);
    output::line(&made.token)
}

async fn list(ops: &Ops) -> anyhow::Result<()> {
    let tokens = context::all(async |after| ops.client.tokens(after).await).await?;
    let rows = tokens
        .iter()
        .map(|token| {
            vec![
                token.id.to_string(),
                token.role.as_str().to_owned(),
                token.namespace.clone().unwrap_or_else(|| "all".to_owned()),
                token.name.clone(),
                output::ago(token.created_at_ms),
            ]
        })
        .collect();
    output::table(ops.json, &tokens, &["token", "role", "namespace", "name", "age"], rows, "no API tokens")
}
