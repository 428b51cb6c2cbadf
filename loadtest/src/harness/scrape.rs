//! Reading a process's metrics.

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// `GET /metrics`, from `port` of loopback, as plainly as HTTP allows.
pub(super) async fn scrape(port: u16) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer is not HTTP")?;
    if !head.lines().next().is_some_and(|status| status.contains(" 200 ")) {
        bail!("the answer is {head}");
    }
    Ok(body.to_owned())
}
