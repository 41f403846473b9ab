//! Clients that send one request after the other over a connection that stays open.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    token: String,
    received: Vec<u8>,
}

/// What is sent.
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) body: String,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr, token: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, token: token.to_owned(), received: Vec::new() }
    }

    /// Sends a request and answers the body.
    pub(crate) fn send(&mut self, request: &Request) -> &[u8] {
        let Request { method, path, body } = request;
        let head = format!(
            "{method} /api/v1{path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.token,
            body.len(),
        );
        self.stream.write_all(head.as_bytes()).unwrap();
        self.received.clear();
        let head_end = loop {
            if let Some(end) = self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            self.receive();
        };
        let head = String::from_utf8_lossy(&self.received[..head_end]).to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).expect("the answer tells its length");
        let length: usize = length.lines().next().unwrap().parse().unwrap();
        while self.received.len() < head_end + length {
            self.receive();
        }
        let body = &self.received[head_end..];
        assert!(head.starts_with("http/1.1 20"), "{head}{}", String::from_utf8_lossy(body));
        body
    }

    fn receive(&mut self) {
        let mut chunk = [0; 16 * 1024];
        let read = self.stream.read(&mut chunk).unwrap();
        assert!(read > 0, "the server has closed the connection");
        self.received.extend_from_slice(&chunk[..read]);
    }
}

/// All clients at once, each sending `count` requests that `make` makes.
pub(crate) fn run(clients: &mut [Client], count: usize, make: impl Fn(usize) -> Request + Sync) {
    let make = &make;
    thread::scope(|scope| {
        for (number, client) in clients.iter_mut().enumerate() {
            scope.spawn(move || {
                for request in 0..count {
                    client.send(&make(number * count + request));
                }
            });
        }
    });
}
