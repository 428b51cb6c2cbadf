//! The long-running commands. What they share: configuration from a TOML file, over which
//! `MUSTER_*` variables go, over which flags go.
//!
//! A process lists its keys once ([`Keys`]); its flags (`--api-listen`), its variables
//! (`MUSTER_API_LISTEN`) and their help follow from the list, and a test holds the list against the
//! example file, so that no key can be set in one way only.

pub(crate) mod agent;
pub(crate) mod dev;
pub(crate) mod edge;
pub(crate) mod orchestrator;

use std::future::Future;
use std::marker::PhantomData;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::{Arg, ArgMatches, value_parser};
use serde::de::DeserializeOwned;
use tokio::signal;
use toml::{Table, Value};

use crate::telemetry::{self, LogConfig, MetricsConfig, MetricsServer};

/// How a key's text becomes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Taken as it is.
    Text,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Switch,
    /// Values with commas between them.
    List,
}

/// One key of a configuration file that flags and variables set too.
pub(crate) struct Key {
    /// Path in the file: `api.listen`.
    pub(crate) path: &'static str,
    pub(crate) kind: Kind,
    pub(crate) help: &'static str,
}

/// A row of a process's list.
const fn key(path: &'static str, kind: Kind, help: &'static str) -> Key {
    Key { path, kind, help }
}

impl Key {
    /// The flag without its dashes: `api-listen`.
    fn flag(&self) -> String {
        self.path.replace(['.', '_'], "-")
    }

    /// The variable: `MUSTER_API_LISTEN`.
    fn variable(&self) -> String {
        format!("MUSTER_{}", self.path.replace('.', "_").to_uppercase())
    }
}

/// The keys of one process.
pub(crate) trait Keys {
    const KEYS: &'static [Key];
}

/// Keys every process has.
const SHARED: &[Key] = &[
    key("log.level", Kind::Text, "Log level, or info,muster_agent=debug"),
    key("log.json", Kind::Switch, "Log JSON lines"),
];

/// The options of one process: a file, and what goes over it.
pub(crate) struct Options<K> {
    config: Option<PathBuf>,
    overrides: Vec<(&'static Key, String)>,
    keys: PhantomData<K>,
}

fn keys<K: Keys>() -> impl Iterator<Item = &'static Key> {
    K::KEYS.iter().chain(SHARED)
}

impl<K: Keys> clap::Args for Options<K> {
    fn augment_args(command: clap::Command) -> clap::Command {
        let config = Arg::new("config")
            .long("config")
            .short('c')
            .env("MUSTER_CONFIG")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("TOML file; flags and MUSTER_* variables override it");
        command.arg(config).args(keys::<K>().map(|key| {
            Arg::new(key.path).long(key.flag()).env(key.variable()).value_name("VALUE").help(key.help)
        }))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl<K: Keys> clap::FromArgMatches for Options<K> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let value = |key: &'static Key| matches.get_one::<String>(key.path).map(|text| (key, text.clone()));
        Ok(Self {
            config: matches.get_one("config").cloned(),
            overrides: keys::<K>().filter_map(value).collect(),
            keys: PhantomData,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// A process's configuration: its own, and what every process has.
pub(crate) struct Loaded<C> {
    pub(crate) own: C,
    pub(crate) log: LogConfig,
    pub(crate) metrics: MetricsConfig,
}

impl<K: Keys> Options<K> {
    /// Reads the file and puts variables and flags over it.
    pub(crate) fn load<C: DeserializeOwned>(&self) -> anyhow::Result<Loaded<C>> {
        let (text, name) = match &self.config {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read --config {}", path.display()))?;
                (text, path.display().to_string())
            }
            None => (String::new(), "the configuration".to_owned()),
        };
        self.merge(&text, &name)
    }

    fn merge<C: DeserializeOwned>(&self, text: &str, name: &str) -> anyhow::Result<Loaded<C>> {
        let mut table: Table = toml::from_str(text).map_err(|error| anyhow!("{name}:\n{error}"))?;
        for (key, text) in &self.overrides {
            let value =
                parse(key, text).with_context(|| format!("--{} or {}", key.flag(), key.variable()))?;
            set(&mut table, key.path, value)?;
        }
        let mut part = |name: &str| {
            Value::Table(match table.remove(name) {
                Some(Value::Table(part)) => part,
                _ => Table::new(),
            })
        };
        let (log, metrics) = (part("log"), part("metrics"));
        let given = self.overrides.iter().map(|(key, text)| format!("--{} {text}", key.flag()));
        let given = given.collect::<Vec<_>>().join(", ");
        let with = if given.is_empty() { String::new() } else { format!(" (with {given})") };
        let bad_with = |error: &toml::de::Error, hint: &str| {
            let (message, whole) = (error.message(), error.to_string());
            // Behind what is wrong it says of which key, on a line of its own.
            let key = whole.trim_end().strip_prefix(message).unwrap_or_default().replace('\n', " ");
            anyhow!("{name}{with}: {message}{hint}{key}")
        };
        let bad_in = |part: &'static str| {
            move |error: toml::de::Error| bad_with(&error, "").context(format!("in [{part}]"))
        };
        let bad_own = |error: toml::de::Error| {
            let hint = if error.message().starts_with("unknown field") { ", `log`, `metrics`" } else { "" };
            bad_with(&error, hint)
        };
        Ok(Loaded {
            log: log.try_into().map_err(bad_in("log"))?,
            metrics: metrics.try_into().map_err(bad_in("metrics"))?,
            own: Value::Table(table).try_into().map_err(bad_own)?,
        })
    }
}

fn parse(key: &Key, text: &str) -> anyhow::Result<Value> {
    Ok(match key.kind {
        Kind::Text => Value::String(text.to_owned()),
        Kind::Number => Value::Integer(text.parse().with_context(|| format!("{text:?} is no number"))?),
        Kind::Switch => {
            Value::Boolean(text.parse().with_context(|| format!("{text:?} is neither true nor false"))?)
        }
        Kind::List => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
        }
    })
}

fn set(table: &mut Table, path: &str, value: Value) -> anyhow::Result<()> {
    match path.split_once('.') {
        None => {
            table.insert(path.to_owned(), value);
            Ok(())
        }
        Some((section, rest)) => {
            let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            set(section.as_table_mut().context("a section of the file is not a table")?, rest, value)
        }
    }
}

/// Runs an agent or an edge, which show their metrics on an address of their own; the orchestrator
/// does so on its API's.
fn run_node<K: Keys, C: DeserializeOwned>(
    options: &Options<K>,
    process: impl AsyncFnOnce(C, MetricsServer) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let Loaded { own, log, metrics } = options.load::<C>()?;
    telemetry::start_logs(&log)?;
    let metrics = MetricsServer::new(&metrics, telemetry::start_metrics()?);
    block_on(process(own, metrics))
}

/// Runs `process` on a runtime of all cores.
pub(crate) fn block_on(process: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    raise_file_limit();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the asynchronous runtime cannot start")?
        .block_on(process)
}

/// Lets this process hold as many sockets as the system allows it: a flow of an agent is one.
#[cfg(unix)]
fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit on open files stays as it is; see ulimit -n");
    }
}

/// Windows has no such limit.
#[cfg(not(unix))]
fn raise_file_limit() {}

/// Waits for Ctrl-C or, on Unix, SIGTERM.
pub(crate) async fn until_stopped() -> anyhow::Result<()> {
    #[cfg(unix)]
    {
        let mut terminate = signal::unix::signal(signal::unix::SignalKind::terminate())
            .context("cannot listen for SIGTERM")?;
        tokio::select! {
            interrupted = signal::ctrl_c() => interrupted.context("cannot listen for Ctrl-C"),
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    {
        signal::ctrl_c().await.context("cannot listen for Ctrl-C")
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;

    fn options(overrides: &[(&str, &str)]) -> Options<orchestrator::Keys> {
        let key = |path: &str| keys::<orchestrator::Keys>().find(|key| key.path == path).expect("a key");
        Options {
            config: None,
            overrides: overrides.iter().map(|(path, text)| (key(path), (*text).to_owned())).collect(),
            keys: PhantomData,
        }
    }

    #[test]
    fn overrides_go_over_the_file() {
        let file = "retention_s = 60\n[api]\nlisten = \"127.0.0.1:1\"\n[log]\nlevel = \"debug\"\n";
        let loaded: Loaded<muster_orchestrator::Config> =
            options(&[("api.listen", "127.0.0.1:2"), ("log.json", "true")])
                .merge(file, "file")
                .expect("valid");
        assert_eq!(loaded.own.api.listen.port(), 2);
        assert_eq!(loaded.own.retention_s, 60);
        assert!(loaded.log.json && loaded.log.level == "debug");
    }

    #[test]
    fn a_wrong_value_names_its_flag_and_variable() {
        let merged = options(&[("retention_s", "long")]).merge::<muster_orchestrator::Config>("", "file");
        let error = format!("{:#}", merged.err().expect("no number"));
        assert!(error.contains("--retention-s") && error.contains("MUSTER_RETENTION_S"), "{error}");
    }

    #[test]
    fn a_wrong_value_in_the_file_names_its_key() {
        for (file, key) in
            [("[api]\nlisten = \"foo\"\n", "listen"), ("[metrics]\nlisten = \"nine\"\n", "[metrics]")]
        {
            let merged = options(&[]).merge::<muster_orchestrator::Config>(file, "file.toml");
            let error = format!("{:#}", merged.err().expect("no address"));
            assert!(error.contains(key) && error.contains("file.toml"), "{error}");
        }
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        let merged = options(&[]).merge::<muster_orchestrator::Config>("retension_s = 1", "file.toml");
        let error = merged.err().expect("a typo").to_string();
        assert!(error.contains("retension_s") && error.contains("file.toml"), "{error}");
    }

    /// Paths of every key in an example, those in comments too.
    fn example_paths(example: &str) -> Vec<String> {
        let mut section = String::new();
        let mut paths = Vec::new();
        for line in example.lines() {
            let line = line.strip_prefix("# ").unwrap_or(line);
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = format!("{name}.");
            } else if let Some((key, _)) = line.split_once(" = ")
                && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            {
                paths.push(format!("{section}{key}"));
            }
        }
        paths
    }

    /// The example names every key, each can be set by a flag, and what it sets is the default.
    fn hold<K: Keys, C: DeserializeOwned + Default + PartialEq + Debug>(example: &str) {
        let documented = example_paths(example);
        for path in &documented {
            assert!(keys::<K>().any(|key| key.path == path), "{path} is in the example, but no flag sets it");
        }
        for key in keys::<K>() {
            assert!(documented.iter().any(|path| path == key.path), "{} is not in the example", key.path);
        }
        let options = Options::<K> { config: None, overrides: Vec::new(), keys: PhantomData };
        let loaded = options.merge::<C>(example, "the example").expect("the example is valid");
        assert_eq!(loaded.own, C::default());
    }

    #[test]
    fn every_key_is_in_its_example_and_has_a_flag() {
        hold::<orchestrator::Keys, muster_orchestrator::Config>(include_str!(
            "../../docs/config/orchestrator.toml"
        ));
        hold::<agent::Keys, muster_agent::Config>(include_str!("../../docs/config/agent.toml"));
        hold::<edge::Keys, muster_edge_proxy::Config>(include_str!("../../docs/config/edge.toml"));
    }
}
