//! An HTTP server that hands each request to the test and sends what it answers.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mesos_v1::recordio::encode_record;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

/// Far more than anything here takes on a loaded machine.
const LIMIT: Duration = Duration::from_secs(20);

/// Awaits `future`, but not for ever.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {LIMIT:?} in vain for {what}"),
    }
}

/// Stands in for a master or an agent.
pub(crate) struct StandIn {
    pub(crate) address: SocketAddr,
    requests: mpsc::UnboundedReceiver<Request>,
}

impl StandIn {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, sender.clone()));
            }
        });
        Self { address, requests }
    }

    pub(crate) async fn request(&mut self) -> Request {
        within("a request", self.requests.recv()).await.unwrap()
    }

    /// Whether all requests so far were taken by [`Self::request`].
    pub(crate) fn no_request_came(&mut self) -> bool {
        self.requests.try_recv().is_err()
    }
}

/// One request, to be answered.
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Bytes,
    socket: TcpStream,
    /// Takes the socket back for the next request on it.
    give_back: oneshot::Sender<TcpStream>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn decode<M: Message + Default>(&self) -> M {
        assert_eq!(self.header("content-type"), "application/x-protobuf");
        assert_eq!(self.header("accept"), "application/x-protobuf");
        M::decode(self.body.clone()).unwrap()
    }

    pub(crate) async fn answer(mut self, status: u16, headers: &str, body: &[u8]) {
        let head = format!(
            "HTTP/1.1 {status} Said\r\n{headers}Content-Length: {}\r\n\r\n",
            body.len()
        );
        self.socket.write_all(head.as_bytes()).await.unwrap();
        self.socket.write_all(body).await.unwrap();
        // Fails when the server is gone, which ends the connection as well.
        let _ = self.give_back.send(self.socket);
    }

    pub(crate) async fn redirect(self, to: SocketAddr) {
        let path = self.path.clone();
        self.answer(307, &format!("Location: //{to}{path}\r\n"), b"")
            .await;
    }

    /// Answers 200 and leaves the answer open.
    pub(crate) async fn open_stream(mut self, stream_id: &str) -> Stream {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\n\
             Mesos-Stream-Id: {stream_id}\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        self.socket.write_all(head.as_bytes()).await.unwrap();
        Stream {
            socket: self.socket,
        }
    }
}

/// An open answer. Dropping it cuts the connection.
pub(crate) struct Stream {
    socket: TcpStream,
}

impl Stream {
    /// Sends one event, in HTTP chunks of `size` bytes.
    pub(crate) async fn send_in_chunks(&mut self, event: &impl Message, size: usize) {
        let mut record = BytesMut::new();
        encode_record(&event.encode_to_vec(), &mut record);
        for chunk in record.chunks(size) {
            self.send_bytes(chunk).await;
        }
    }

    pub(crate) async fn send(&mut self, event: &impl Message) {
        self.send_in_chunks(event, usize::MAX).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        let head = format!("{:x}\r\n", bytes.len());
        self.socket.write_all(head.as_bytes()).await.unwrap();
        self.socket.write_all(bytes).await.unwrap();
        self.socket.write_all(b"\r\n").await.unwrap();
        self.socket.flush().await.unwrap();
    }

    /// Ends the answer as HTTP wants it, without cutting the connection.
    pub(crate) async fn finish(mut self) {
        self.socket.write_all(b"0\r\n\r\n").await.unwrap();
    }

    /// Waits until the client has closed the connection.
    pub(crate) async fn closed(mut self) {
        let mut byte = [0];
        let read = within("the client to close", self.socket.read(&mut byte)).await;
        assert!(matches!(read, Ok(0) | Err(_)), "the client sent something");
    }
}

async fn serve(mut socket: TcpStream, requests: mpsc::UnboundedSender<Request>) {
    while let Some((path, headers, body)) = read_request(&mut socket).await {
        let (give_back, given_back) = oneshot::channel();
        if requests
            .send(Request {
                path,
                headers,
                body,
                socket,
                give_back,
            })
            .is_err()
        {
            return;
        }
        match given_back.await {
            Ok(again) => socket = again,
            Err(_) => return,
        }
    }
}

async fn read_request(
    socket: &mut TcpStream,
) -> Option<(String, BTreeMap<String, String>, Bytes)> {
    let mut received = BytesMut::new();
    let head_end = loop {
        if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if socket.read_buf(&mut received).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(received.split_to(head_end + 4).to_vec()).unwrap();
    let mut lines = head.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers
        .get("content-length")
        .map_or(0, |text| text.parse().unwrap());
    while received.len() < length {
        if socket.read_buf(&mut received).await.ok()? == 0 {
            return None;
        }
    }
    Some((path, headers, received.split_to(length).freeze()))
}
