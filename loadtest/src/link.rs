//! A bot's connection to its server through the edge, over any of the three protocols, token first.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use muster_protocol::api::{Endpoint, PortProtocol};
use muster_protocol::preface::{Answer, Refusal, decode_answer, encode_preface, encode_tcp_preface};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpStream, UdpSocket};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Bytes, Message, Utf8Bytes};

use crate::beacons::connect_udp;

/// Pause after which an unanswered UDP preface is sent again.
const PREFACE_AGAIN: Duration = Duration::from_millis(200);
/// How long connecting may take, token included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Largest datagram.
const MAX_DATAGRAM_BYTES: usize = 65_535;
/// Bytes of an answer to a TCP preface: accepted; refused has one more.
const ANSWER_BYTES: usize = 6;

trait Transport: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Transport for T {}
type Ws = WebSocketStream<Box<dyn Transport>>;

/// Messages to the server.
pub struct Outgoing(ToServer);

/// Messages from the server.
pub struct Incoming(FromServer);

enum ToServer {
    Udp(Arc<UdpSocket>),
    Tcp(OwnedWriteHalf),
    Ws(Box<SplitSink<Ws, Message>>),
}

enum FromServer {
    Udp(Arc<UdpSocket>),
    Tcp(BufReader<OwnedReadHalf>),
    Ws(Box<SplitStream<Ws>>),
}

/// Why an edge lets nobody through; inside the errors of [`open`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// It refused the session token.
    Refused(Refusal),
    /// It did not answer in time.
    Silent,
}

impl std::fmt::Display for LinkError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(why) => write!(f, "the edge refused the session token: {}", why.as_str()),
            Self::Silent => f.write_str("no answer in time"),
        }
    }
}

impl std::error::Error for LinkError {}

/// Connects to `endpoint` and proves the seat. `authority_pem` is the CA that `wss` is checked against.
pub async fn open(endpoint: &Endpoint, authority_pem: Option<&[u8]>) -> anyhow::Result<(Outgoing, Incoming)> {
    open_within(endpoint, authority_pem, CONNECT_TIMEOUT).await
}

/// [`open`], which may take as long as `timeout`.
pub async fn open_within(
    endpoint: &Endpoint,
    authority_pem: Option<&[u8]>,
    timeout: Duration,
) -> anyhow::Result<(Outgoing, Incoming)> {
    let place = format!("{} {}:{}", endpoint.protocol.as_str(), endpoint.host, endpoint.port);
    let opening = async {
        match endpoint.protocol {
            PortProtocol::Udp => open_udp(endpoint, timeout).await,
            PortProtocol::Tcp => open_tcp(endpoint).await,
            PortProtocol::Ws => open_ws(endpoint, authority_pem).await,
        }
    };
    tokio::time::timeout(timeout + PREFACE_AGAIN, opening)
        .await
        .unwrap_or_else(|_| Err(LinkError::Silent.into()))
        .with_context(|| format!("cannot connect to {place}"))
}

async fn open_udp(endpoint: &Endpoint, timeout: Duration) -> anyhow::Result<(Outgoing, Incoming)> {
    let socket = connect_udp(&endpoint.host, endpoint.port).await?;
    if let Some(token) = &endpoint.token {
        prove_udp(&socket, &encode_preface(token), timeout).await?;
    }
    let socket = Arc::new(socket);
    Ok((Outgoing(ToServer::Udp(Arc::clone(&socket))), Incoming(FromServer::Udp(socket))))
}

/// Sends the preface until it is answered, or for as long as `timeout`.
async fn prove_udp(socket: &UdpSocket, preface: &[u8], timeout: Duration) -> Result<(), LinkError> {
    let deadline = tokio::time::sleep(timeout);
    tokio::pin!(deadline);
    let mut last = LinkError::Silent;
    let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
    let mut again = tokio::time::interval(PREFACE_AGAIN);
    loop {
        tokio::select! {
            _ = again.tick() => {
                // Nobody there yet (ICMP) is no reason to give up.
                let _ = socket.send(preface).await;
            }
            received = socket.recv(&mut buffer) => match received.ok().and_then(|n| decode_answer(&buffer[..n])) {
                Some(Answer::Accepted) => return Ok(()),
                // The edge has no tunnel to the node yet, or again; that passes.
                Some(Answer::Refused(Refusal::Unavailable)) => last = LinkError::Refused(Refusal::Unavailable),
                None => {}
                Some(Answer::Refused(why)) => return Err(LinkError::Refused(why)),
            },
            () = &mut deadline => return Err(last),
        }
    }
}

async fn open_tcp(endpoint: &Endpoint) -> anyhow::Result<(Outgoing, Incoming)> {
    let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    if let Some(token) = &endpoint.token {
        write.write_all(&encode_tcp_preface(token)).await?;
        let mut answer = vec![0; ANSWER_BYTES];
        read.read_exact(&mut answer).await.context("the edge closed the connection without an answer")?;
        if decode_answer(&answer).is_none() {
            answer.push(read.read_u8().await?);
        }
        match decode_answer(&answer) {
            Some(Answer::Accepted) => {}
            Some(Answer::Refused(why)) => return Err(LinkError::Refused(why).into()),
            None => bail!("the edge answered the preface with something else"),
        }
    }
    Ok((Outgoing(ToServer::Tcp(write)), Incoming(FromServer::Tcp(read))))
}

async fn open_ws(endpoint: &Endpoint, authority_pem: Option<&[u8]>) -> anyhow::Result<(Outgoing, Incoming)> {
    let url = endpoint.url.as_deref().context("the endpoint has no WebSocket URL")?;
    let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
    stream.set_nodelay(true)?;
    let stream: Box<dyn Transport> = if url.starts_with("wss:") {
        let authority = authority_pem.context("a wss endpoint needs the CA's certificate")?;
        let name = ServerName::try_from(endpoint.host.clone())?;
        Box::new(tls_connector(authority)?.connect(name, stream).await.context("TLS")?)
    } else {
        Box::new(stream)
    };
    let (socket, _) = tokio_tungstenite::client_async(url, stream).await?;
    let (sink, stream) = socket.split();
    Ok((Outgoing(ToServer::Ws(Box::new(sink))), Incoming(FromServer::Ws(Box::new(stream)))))
}

fn tls_connector(authority_pem: &[u8]) -> anyhow::Result<tokio_rustls::TlsConnector> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority_pem) {
        roots.add(certificate.context("the CA is not PEM")?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config).into())
}

impl Outgoing {
    /// Sends one message. A datagram that the system does not take is lost, as datagrams may be.
    pub async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match &mut self.0 {
            ToServer::Udp(socket) => {
                let _ = socket.send(message).await;
                Ok(())
            }
            ToServer::Tcp(stream) => {
                let length = u16::try_from(message.len()).map_err(io::Error::other)?;
                let mut frame = length.to_be_bytes().to_vec();
                frame.extend_from_slice(message);
                stream.write_all(&frame).await
            }
            ToServer::Ws(sink) => {
                let text = Utf8Bytes::try_from(message.to_vec()).map_err(io::Error::other)?;
                sink.send(Message::Text(text)).await.map_err(io::Error::other)
            }
        }
    }
}

impl Incoming {
    /// Waits for one message and puts it into `message`. Not to be dropped half-way and called again.
    pub async fn receive(&mut self, message: &mut Vec<u8>) -> io::Result<()> {
        match &mut self.0 {
            FromServer::Udp(socket) => receive_datagram(socket, message).await,
            FromServer::Tcp(stream) => {
                let length = stream.read_u16().await?;
                message.resize(usize::from(length), 0);
                stream.read_exact(message).await.map(drop)
            }
            FromServer::Ws(stream) => {
                let payload = receive_frame(stream).await?;
                message.clear();
                message.extend_from_slice(&payload);
                Ok(())
            }
        }
    }
}

async fn receive_frame(stream: &mut SplitStream<Ws>) -> io::Result<Bytes> {
    loop {
        match stream.next().await.ok_or(io::ErrorKind::UnexpectedEof)?.map_err(io::Error::other)? {
            message @ (Message::Text(_) | Message::Binary(_)) => return Ok(message.into_data()),
            Message::Close(frame) => {
                let why = frame.map_or_else(String::new, |frame| format!(": {frame}"));
                return Err(io::Error::other(format!("the server closed the WebSocket{why}")));
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}

async fn receive_datagram(socket: &UdpSocket, message: &mut Vec<u8>) -> io::Result<()> {
    loop {
        message.resize(MAX_DATAGRAM_BYTES, 0);
        // An edge that restarts makes the system say "refused"; the exchange shows what was lost.
        let Ok(length) = socket.recv(message).await else { continue };
        // A late second answer to the preface is not the game's.
        if decode_answer(&message[..length]).is_none() {
            message.truncate(length);
            return Ok(());
        }
    }
}
