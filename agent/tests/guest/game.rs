//! The game server that the agent's tests run in containers: one file without dependencies, compiled
//! by the tests into a static binary. Its arguments say how it behaves. It is no example of a server.

use std::env;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

const UDP_PORT: u16 = 7777;
const TCP_PORT: u16 = 7778;
const SIGTERM: i32 = 15;

unsafe extern "C" {
    fn signal(signal: i32, handler: extern "C" fn(i32)) -> usize;
    fn _exit(code: i32) -> !;
}

extern "C" fn on_terminate(_: i32) {
    // SAFETY: `_exit` may be called from a signal handler.
    unsafe { _exit(0) }
}

/// What a stubborn server does about SIGTERM.
extern "C" fn ignore(_: i32) {}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let has = |word: &str| arguments.iter().any(|argument| argument == word);
    // SAFETY: the handlers call nothing but `_exit`.
    unsafe { signal(SIGTERM, if has("stubborn") { ignore } else { on_terminate }) };
    println!("game starts with {arguments:?}");
    if let Some(code) = arguments.iter().find_map(|argument| argument.strip_prefix("exit=")) {
        eprintln!("leaving at once");
        std::process::exit(code.parse().expect("a number"));
    }
    if has("eat") {
        eat();
    }
    if has("sdk-first") {
        // Before anything listens: from here on the agent waits for ready.
        println!("server: {}", call("GET", "/v1/server", ""));
    }
    if !has("silent") {
        serve();
    }
    if has("sdk") {
        println!("health: {}", call("POST", "/v1/health", ""));
        thread::sleep(Duration::from_millis(300));
        println!("ready: {}", call("POST", "/v1/ready", ""));
    }
    if has("count") {
        for number in 0.. {
            println!("line {number}");
            thread::sleep(Duration::from_millis(100));
        }
    }
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

/// Answers every packet with itself behind its sender's address, and every byte with itself. A packet
/// that begins with `call` is a request to the SDK endpoint; its answer is the response.
fn serve() {
    let udp = UdpSocket::bind(("0.0.0.0", UDP_PORT)).expect("the UDP port is free");
    thread::spawn(move || {
        let mut buffer = vec![0; 65_535];
        loop {
            let Ok((length, from)) = udp.recv_from(&mut buffer) else { continue };
            let packet = &buffer[..length];
            let answer = match std::str::from_utf8(packet).ok().and_then(|text| text.strip_prefix("call ")) {
                Some(text) => {
                    let mut words = text.splitn(3, ' ');
                    let mut word = || words.next().unwrap_or_default();
                    call(word(), word(), word()).into_bytes()
                }
                None if packet == b"who am i" => from.to_string().into_bytes(),
                None => packet.to_vec(),
            };
            let _ = udp.send_to(&answer, from);
        }
    });
    let tcp = TcpListener::bind(("0.0.0.0", TCP_PORT)).expect("the TCP port is free");
    thread::spawn(move || {
        for stream in tcp.incoming().flatten() {
            thread::spawn(move || echo(stream));
        }
    });
}

/// Reads to the end, then answers with what was read and how much it was: only an end that came
/// through, while the other direction stayed open, gets an answer.
fn echo(mut stream: TcpStream) {
    let mut all = Vec::new();
    if stream.read_to_end(&mut all).is_ok() {
        let _ = stream.write_all(&all);
        let _ = write!(stream, "|{}", all.len());
    }
}

/// One HTTP request to the SDK endpoint: the whole response.
fn call(method: &str, path: &str, body: &str) -> String {
    let url = env::var("MUSTER_SDK_URL").expect("set by the agent");
    let token = env::var("MUSTER_SERVER_TOKEN").expect("set by the agent");
    let address = url.strip_prefix("http://").expect("plain HTTP");
    let exchange = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: sdk\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )?;
        let mut response = String::new();
        stream.read_to_string(&mut response)?;
        Ok(response)
    };
    exchange().unwrap_or_else(|error| format!("failed: {error}"))
}

/// Uses memory until it is stopped.
fn eat() {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    loop {
        eaten.push(vec![1; 1 << 20]);
        std::hint::black_box(&eaten);
    }
}
