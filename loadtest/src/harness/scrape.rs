//! Reading a process's metrics.

use std::net::SocketAddrV4;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// `GET /metrics`, from `address`, as plainly as HTTP allows.
pub(super) async fn scrape(address: SocketAddrV4) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer is not HTTP")?;
    if !head.lines().next().is_some_and(|status| status.contains(" 200 ")) {
        bail!("the answer is {head}");
    }
    Ok(body.to_owned())
}
