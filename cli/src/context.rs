//! Which orchestrator an ops command talks to, with which token, about which namespace.
//!
//! Flags come first, then `MUSTER_*` variables (clap reads both), then the stack that `muster dev`
//! runs in this directory, which leaves what is needed in `.muster/client.toml`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use muster_client::Client;
use muster_protocol::api::Page;
use serde::{Deserialize, Serialize};

use crate::args::Global;

/// Where `muster dev` leaves how to reach it, relative to its state directory.
pub(crate) const CLIENT_FILE: &str = "client.toml";
/// State directory of `muster dev`, unless told otherwise.
pub(crate) const DEV_DIR: &str = ".muster";

/// What `muster dev` leaves for ops commands.
#[derive(Serialize, Deserialize)]
pub(crate) struct ClientFile {
    pub(crate) url: String,
    pub(crate) token: String,
    pub(crate) namespace: String,
}

/// A client from the shared options.
pub(crate) fn client(global: &Global) -> anyhow::Result<Client> {
    let file = read_client_file(&PathBuf::from(DEV_DIR).join(CLIENT_FILE))?;
    let Some(url) = global.url.as_deref().or(file.as_ref().map(|file| file.url.as_str())) else {
        bail!(
            "no orchestrator to talk to; give --url or MUSTER_URL, or run `muster dev` in this directory first"
        );
    };
    // The file's token belongs to the file's stack and goes nowhere else.
    let file = file.as_ref().filter(|file| file.url == url);
    let token = global.token.as_deref().or(file.map(|file| file.token.as_str()));
    if token.is_none() {
        bail!(
            "no API token; give --token or MUSTER_TOKEN. The first one is in the file admin-token of the \
             orchestrator's data_dir; with it `muster token create` makes more"
        );
    }
    let namespace = global.namespace.as_deref().or(file.map(|file| file.namespace.as_str()));
    let authority = match &global.ca {
        Some(path) => {
            Some(std::fs::read(path).with_context(|| format!("cannot read --ca {}", path.display()))?)
        }
        None => None,
    };
    Ok(Client::new(url, token, namespace, authority.as_deref())?)
}

fn read_client_file(path: &Path) -> anyhow::Result<Option<ClientFile>> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let file = toml::from_str(&text).with_context(|| {
                format!("{} is damaged; remove it, or run `muster dev` again", path.display())
            })?;
            Ok(Some(file))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Pages of a list that are read, at most: a list of more rows than this is asked for with filters.
const MAX_PAGES: usize = 1_000;

/// All rows of a list, page by page: `page` gets where to go on from.
pub(crate) async fn all<T, E>(
    mut page: impl AsyncFnMut(Option<&str>) -> Result<Page<T>, E>,
) -> Result<Vec<T>, E> {
    let mut items = Vec::new();
    let mut after: Option<String> = None;
    for _ in 0..MAX_PAGES {
        let next = page(after.as_deref()).await?;
        items.extend(next.items);
        after = next.next;
        if after.is_none() {
            break;
        }
    }
    Ok(items)
}
