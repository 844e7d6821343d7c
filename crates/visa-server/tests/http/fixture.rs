//! A server of the tests' own, an upstream that does what a test wants, and a client.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use visa_align::Models;
use visa_server::{Server, ServerOptions, UpstreamOptions};

/// The folder of the models that all tests share.
pub(crate) fn models() -> &'static Path {
    static MODELS: OnceLock<PathBuf> = OnceLock::new();
    MODELS.get_or_init(|| {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tiny-models-of-the-server");
        let _ = std::fs::remove_dir_all(&root);
        visa_align::testing::models(&root);
        root
    })
}

/// A running server; it stops when it is dropped.
pub(crate) struct Running {
    pub(crate) base: String,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) http: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    pub(crate) ended: tokio::task::JoinHandle<()>,
}

/// Starts a server on a free port, with options as `change` leaves them.
pub(crate) async fn start(change: impl FnOnce(&mut ServerOptions)) -> Running {
    let mut options = ServerOptions {
        port: 0,
        grace: Duration::from_secs(5),
        ..ServerOptions::default()
    };
    options.proxy.keep_alive = Duration::from_millis(100);
    change(&mut options);
    let models = Models::at(models()).expect("the tiny models");
    let server = Server::bind(options, &models).await.expect("it starts");
    let address = server.address().expect("an address");
    let (stop, stopped) = oneshot::channel();
    let ended = tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    Running {
        base: format!("http://{address}"),
        address,
        http: reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(30))
            .build()
            .expect("a client"),
        stop: Some(stop),
        ended,
    }
}

impl Running {
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.http.post(format!("{}{path}", self.base)).json(body))
            .await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.http.get(format!("{}{path}", self.base)))
            .await
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.expect("an answer");
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.expect("a whole body"),
        }
    }

    pub(crate) fn stop(&mut self) {
        self.stop.take();
    }

    /// Bytes sent as they are; everything that comes back until the server closes or the time is up.
    pub(crate) async fn raw(&self, bytes: &[u8], patience: Duration) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("connected");
        stream.write_all(bytes).await.expect("sent");
        let mut all = Vec::new();
        let _ = tokio::time::timeout(patience, stream.read_to_end(&mut all)).await;
        String::from_utf8_lossy(&all).into_owned()
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|e| panic!("{e} in {} {:?}", self.status, self.text))
    }

    /// Succeeded; answers its JSON.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()
    }

    /// Failed with this status, in words that hold `part`.
    #[track_caller]
    pub(crate) fn fails(&self, status: u16, part: &str) {
        assert_eq!(self.status, status, "{}", self.text);
        let message = self.json()["error"]["message"].to_string();
        assert!(message.contains(part), "{message} lacks {part:?}");
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
    }

    /// Data of the events of a stream.
    pub(crate) fn events(&self) -> Vec<String> {
        let lines = self.text.lines();
        lines
            .filter_map(|l| l.strip_prefix("data: ").map(str::to_string))
            .collect()
    }
}

/// What an upstream does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// A status, a media type, and a body.
    Say(u16, &'static str, String),
    /// A status with one more header.
    Header(u16, &'static str, &'static str),
    /// The head and a part of the body, then nothing more.
    Hang(String),
    /// The head and a part of the body, then the connection breaks.
    Break(String),
    /// Nothing at all.
    Silence,
    /// The connection breaks at once.
    Reset,
    /// Pieces with a wait in milliseconds before each.
    Slowly(Vec<(u64, String)>),
}

/// An upstream that acts the same way each time, and remembers what it was sent.
pub(crate) struct Upstream {
    pub(crate) url: String,
    pub(crate) seen: mpsc::UnboundedReceiver<String>,
    /// One message each time a caller leaves before the end.
    pub(crate) left: mpsc::UnboundedReceiver<()>,
}

pub(crate) async fn upstream(act: Act) -> Upstream {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/v1", listener.local_addr().expect("an address"));
    let (tell, seen) = mpsc::unbounded_channel();
    let (leave, left) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, act.clone(), tell.clone(), leave.clone()));
        }
    });
    Upstream { url, seen, left }
}

async fn serve(
    mut stream: TcpStream,
    act: Act,
    tell: mpsc::UnboundedSender<String>,
    leave: mpsc::UnboundedSender<()>,
) {
    let Some(request) = read_request(&mut stream).await else {
        return;
    };
    let _ = tell.send(request);
    let head = |status: u16, kind: &str| {
        format!("HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\nconnection: close\r\n")
    };
    let chunked = |kind: &str| format!("{}transfer-encoding: chunked\r\n\r\n", head(200, kind));
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let kind = |body: &str| {
        if body.starts_with("data") || body.starts_with(':') {
            "text/event-stream"
        } else {
            "application/json"
        }
    };
    let sent = match act {
        Act::Say(status, kind, body) => {
            format!(
                "{}content-length: {}\r\n\r\n{body}",
                head(status, kind),
                body.len()
            )
        }
        Act::Header(status, name, value) => {
            format!(
                "{}{name}: {value}\r\ncontent-length: 2\r\n\r\n{{}}",
                head(status, "application/json")
            )
        }
        Act::Hang(body) => {
            let text = format!("{}{}", chunked(kind(&body)), chunk(&body));
            let _ = stream.write_all(text.as_bytes()).await;
            // Until the caller leaves.
            let _ = stream.read(&mut [0u8; 1]).await;
            let _ = leave.send(());
            return;
        }
        Act::Break(body) => format!("{}{}", chunked(kind(&body)), chunk(&body)),
        Act::Silence => {
            let _ = stream.read(&mut [0u8; 1]).await;
            let _ = leave.send(());
            return;
        }
        Act::Reset => return,
        Act::Slowly(pieces) => {
            let media = kind(pieces.first().map_or("", |p| p.1.as_str()));
            let mut ok = stream.write_all(chunked(media).as_bytes()).await.is_ok();
            for (wait, piece) in pieces {
                tokio::time::sleep(Duration::from_millis(wait)).await;
                ok = ok && stream.write_all(chunk(&piece).as_bytes()).await.is_ok();
            }
            "0\r\n\r\n".into()
        }
    };
    let _ = stream.write_all(sent.as_bytes()).await;
}

/// Head and body as text.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut all = Vec::new();
    let mut buffer = [0u8; 4096];
    loop {
        let count = stream.read(&mut buffer).await.ok().filter(|n| *n > 0)?;
        all.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&all).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|l| {
                    l.to_ascii_lowercase()
                        .strip_prefix("content-length:")?
                        .trim()
                        .parse::<usize>()
                        .ok()
                })
                .unwrap_or(0);
            if body.len() >= length {
                return Some(text);
            }
        }
    }
}

/// Options of a server in front of this upstream.
pub(crate) fn before(upstream: &Upstream) -> UpstreamOptions {
    UpstreamOptions {
        idle_timeout: Duration::from_millis(700),
        ..UpstreamOptions::new(&upstream.url)
    }
}
