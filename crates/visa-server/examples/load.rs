//! The server under load, on this machine alone: `cargo run --release -p visa-server --example load -- detect 8`.
//!
//! * `detect SECONDS`: 32 connections that ask `/v1/detect` for texts of about 24 tokens, beside what the detector does with
//!   the same texts in one process; rate, share, latencies.
//! * `rewrite SECONDS`: 1, 2, 4 and 8 connections that have paragraphs rewritten by as many workers; rate, latencies, and how
//!   many clauses the decoder wrote together.
//! * `audit N`: time to the first byte of a stream, straight from an upstream and through the proxy in audit mode.
//! * `overload SECONDS`: ten times the connections that the server has room for; what was accepted and answered rightly,
//!   how fast the rest was turned away, and memory before and after.
//!
//! Client and server share the machine, so rates are what both together reach.

#![allow(clippy::print_stdout, reason = "an example says what it measured")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use visa_align::{Detector, Models, Text, Trunk};
use visa_server::{Limits, ServerOptions, UpstreamOptions};

static STOP: AtomicBool = AtomicBool::new(false);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let amount: u64 = arguments.next().and_then(|a| a.parse().ok()).unwrap_or(8);
    match what.as_str() {
        "detect" => detect(Duration::from_secs(amount.min(60))),
        "rewrite" => rewrite(Duration::from_secs(amount.min(60))),
        "audit" => audit(amount.min(2000) as usize),
        "overload" => overload(Duration::from_secs(amount.min(60))),
        _ => eprintln!("give detect SECONDS, rewrite SECONDS, audit N, or overload SECONDS"),
    }
}

/// Texts of about 24 tokens.
fn texts(n: usize) -> Vec<String> {
    let who = [
        "My neighbour",
        "Her teacher",
        "The council",
        "An old friend",
        "Our landlord",
    ];
    let does = [
        "keeps the fire burning through the night",
        "lets everybody choose what to read and when",
        "wants the children to wear a helmet on the way",
        "shares the harvest so that nobody goes hungry",
        "counts every coin before anything is bought",
        "climbs the highest wall of the valley alone",
        "asks the family before the contract is signed",
    ];
    let why = [
        "because it was always done like that here",
        "since freedom matters more than a quiet life",
        "and nobody in the village would do it otherwise",
        "although the law asks for nothing of the kind",
    ];
    (0..n)
        .map(|i| {
            let (a, b, c) = (who[i % 5], does[i / 5 % 7], why[i / 35 % 4]);
            format!("{a} {b}, {c}, number {i}.")
        })
        .collect()
}

fn models() -> Models {
    Models::find(None).expect("the embedded models")
}

fn serve(options: ServerOptions) -> (SocketAddr, std::thread::JoinHandle<()>) {
    let (tell, told) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let ready = |address| tell.send(address).expect("it waits");
        visa_server::run(options, &models(), &STOP, ready).expect("it serves");
    });
    (told.recv().expect("it listens"), thread)
}

fn request(path: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// One exchange on an open connection: status and body.
fn exchange(
    stream: &mut TcpStream,
    request: &[u8],
    buffer: &mut Vec<u8>,
) -> std::io::Result<(u16, usize)> {
    stream.write_all(request)?;
    buffer.clear();
    let mut chunk = [0u8; 8192];
    loop {
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        buffer.extend_from_slice(&chunk[..count]);
        let Some(head) = buffer.windows(4).position(|w| w == b"\r\n\r\n") else {
            continue;
        };
        let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
        let length: usize = text
            .lines()
            .find_map(|l| l.strip_prefix("content-length: ")?.trim().parse().ok())
            .unwrap_or(0);
        if buffer.len() >= head + 4 + length {
            let status = text.get(9..12).and_then(|s| s.parse().ok()).unwrap_or(0);
            return Ok((status, head + 4));
        }
    }
}

/// What one connection saw.
#[derive(Default)]
struct Seen {
    good: usize,
    wrong: usize,
    busy: usize,
    other: usize,
    broken: usize,
    good_times: Vec<f64>,
    busy_times: Vec<f64>,
}

impl Seen {
    fn join(mut self, other: Seen) -> Self {
        self.good += other.good;
        self.wrong += other.wrong;
        self.busy += other.busy;
        self.other += other.other;
        self.broken += other.broken;
        self.good_times.extend(other.good_times);
        self.busy_times.extend(other.busy_times);
        self
    }
}

/// `connections` clients that ask without a pause for so long. `power` holds what each text's answer must say.
fn storm(
    address: SocketAddr,
    connections: usize,
    time: Duration,
    texts: &[String],
    power: &[f64],
) -> Seen {
    let next = Arc::new(AtomicUsize::new(0));
    let until = Instant::now() + time;
    let requests: Arc<Vec<Vec<u8>>> = Arc::new(
        texts
            .iter()
            .map(|t| request("/v1/detect", &serde_json::json!({"text": t}).to_string()))
            .collect(),
    );
    let power: Arc<Vec<f64>> = Arc::new(power.to_vec());
    let threads: Vec<_> = (0..connections)
        .map(|_| {
            let (next, requests, power) = (next.clone(), requests.clone(), power.clone());
            std::thread::Builder::new()
                .stack_size(256 * 1024)
                .spawn(move || client(address, until, &next, &requests, &power))
                .expect("a thread")
        })
        .collect();
    threads
        .into_iter()
        .map(|t| t.join().expect("no panic"))
        .fold(Seen::default(), Seen::join)
}

fn client(
    address: SocketAddr,
    until: Instant,
    next: &AtomicUsize,
    requests: &[Vec<u8>],
    power: &[f64],
) -> Seen {
    let mut seen = Seen::default();
    let mut buffer = Vec::new();
    let mut stream = None;
    while Instant::now() < until {
        let open = match stream.as_mut() {
            Some(open) => open,
            None => match TcpStream::connect(address) {
                Ok(open) => {
                    let _ = open.set_nodelay(true);
                    let _ = open.set_read_timeout(Some(Duration::from_secs(30)));
                    stream.insert(open)
                }
                Err(_) => {
                    seen.broken += 1;
                    std::thread::sleep(Duration::from_millis(10));
                    continue;
                }
            },
        };
        let i = next.fetch_add(1, Ordering::Relaxed) % requests.len();
        let started = Instant::now();
        let Ok((status, body)) = exchange(open, &requests[i], &mut buffer) else {
            seen.broken += 1;
            stream = None;
            continue;
        };
        let ms = started.elapsed().as_secs_f64() * 1e3;
        match status {
            200 => {
                seen.good_times.push(ms);
                let answer: serde_json::Value =
                    serde_json::from_slice(&buffer[body..]).unwrap_or_default();
                let found = answer["values"]["power"].as_f64().unwrap_or(9.0);
                if power.is_empty() || (found - power[i]).abs() < 1e-2 {
                    seen.good += 1;
                } else {
                    seen.wrong += 1;
                }
            }
            429 => {
                seen.busy += 1;
                seen.busy_times.push(ms);
                // A client that is told to wait does, if less than it is told.
                std::thread::sleep(Duration::from_millis(20));
            }
            _ => seen.other += 1,
        }
    }
    seen
}

fn percentile(times: &mut [f64], p: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    let at = ((times.len() as f64 * p) as usize).min(times.len().saturating_sub(1));
    times.get(at).copied().unwrap_or(f64::NAN)
}

/// Texts a second of the detector in this process, chunks of 512, and the power of each text.
fn batch(texts: &[String], time: Duration) -> (f64, Vec<f64>) {
    let models = models();
    let trunk = Trunk::find(&models).expect("the encoder");
    let detector = Detector::find(&models, &trunk).expect("the detector");
    let texts: Vec<Text> = texts.iter().map(Text::new).collect();
    let read = || -> Vec<f64> {
        texts
            .chunks(512)
            .flat_map(|c| detector.detect(c).expect("detections"))
            .map(|d| f64::from(d.profile.as_array()[4]))
            .collect()
    };
    let power = read();
    let started = Instant::now();
    let mut done = 0;
    while started.elapsed() < time {
        read();
        done += texts.len();
    }
    (done as f64 / started.elapsed().as_secs_f64(), power)
}

fn detect(time: Duration) {
    let texts = texts(512);
    // Before and after, so that a machine that slows down or speeds up favours neither.
    let (first, power) = batch(&texts, time / 2);
    let (address, thread) = serve(ServerOptions {
        port: 0,
        ..ServerOptions::default()
    });
    storm(address, 32, Duration::from_secs(1), &texts, &power);
    let started = Instant::now();
    let mut seen = storm(address, 32, time, &texts, &power);
    let rate = seen.good as f64 / started.elapsed().as_secs_f64();
    STOP.store(true, Ordering::SeqCst);
    thread.join().expect("it ends");
    let (last, _) = batch(&texts, time / 2);
    let alone = f64::midpoint(first, last);
    println!("batch alone {first:.0} texts/s before, {last:.0} after");
    println!(
        "32 connections {rate:.0} texts/s, {:.0} % of it; p50 {:.1} ms, p99 {:.1} ms; {} good, {} wrong, {} busy, {} other, {} broken",
        100.0 * rate / alone,
        percentile(&mut seen.good_times, 0.5),
        percentile(&mut seen.good_times, 0.99),
        seen.good,
        seen.wrong,
        seen.busy,
        seen.other,
        seen.broken
    );
}

/// Paragraphs of three sentences, each with a persona.
fn paragraphs(n: usize) -> Vec<Vec<u8>> {
    let persona = [
        "a cautious parent who cares about tradition",
        "a restless traveller who loves adventure and freedom",
        "an activist who wants justice for everybody",
        "a manager who values success and influence",
    ];
    texts(3 * n)
        .chunks(3)
        .zip(persona.iter().cycle())
        .map(|(texts, persona)| {
            let text = format!(
                "{} You should talk to them before you decide. {} I would try it for a week. {}",
                texts[0], texts[1], texts[2]
            );
            request(
                "/v1/rewrite",
                &serde_json::json!({"text": text, "persona": persona}).to_string(),
            )
        })
        .collect()
}

fn rewrite(time: Duration) {
    let requests = Arc::new(paragraphs(64));
    for connections in [1, 2, 4, 8] {
        STOP.store(false, Ordering::SeqCst);
        let mut options = ServerOptions {
            port: 0,
            ..ServerOptions::default()
        };
        options.engine.rewriters = connections;
        let (address, thread) = serve(options);
        let next = Arc::new(AtomicUsize::new(0));
        let started = Instant::now();
        let threads: Vec<_> = (0..connections)
            .map(|_| {
                let (next, requests) = (next.clone(), requests.clone());
                std::thread::spawn(move || client(address, started + time, &next, &requests, &[]))
            })
            .collect();
        let mut seen = threads
            .into_iter()
            .map(|t| t.join().expect("no panic"))
            .fold(Seen::default(), Seen::join);
        let rate = seen.good as f64 / started.elapsed().as_secs_f64();
        let metrics = metrics(address);
        STOP.store(true, Ordering::SeqCst);
        thread.join().expect("it ends");
        println!(
            "{connections} connections: {rate:.2} rewrites/s; p50 {:.0} ms, p99 {:.0} ms; {:.0} clauses together; decoder {:.1} s, detector {:.1} s, checker {:.1} s; {} good, {} busy, {} other, {} broken",
            percentile(&mut seen.good_times, 0.5),
            percentile(&mut seen.good_times, 0.99),
            metrics("visa_batch_items_sum{stage=\"write\"}")
                / metrics("visa_batch_items_count{stage=\"write\"}"),
            metrics("visa_batch_seconds_sum{stage=\"write\"}"),
            metrics("visa_batch_seconds_sum{stage=\"detect\"}"),
            metrics("visa_batch_seconds_sum{stage=\"check\"}"),
            seen.good,
            seen.busy,
            seen.other,
            seen.broken
        );
    }
}

/// What the server counts: a number for each name.
fn metrics(address: SocketAddr) -> impl Fn(&str) -> f64 {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let mut page = String::new();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
        .expect("it reads");
    stream.read_to_string(&mut page).expect("it answers");
    move |name| {
        page.lines()
            .find_map(|l| l.strip_prefix(name)?.trim().parse().ok())
            .unwrap_or(f64::NAN)
    }
}

/// An upstream that answers each request at once with a short stream.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let _ = stream.set_nodelay(true);
            std::thread::spawn(move || {
                let mut all = Vec::new();
                let mut chunk = [0u8; 8192];
                while let Ok(count) = stream.read(&mut chunk) {
                    if count == 0 {
                        return;
                    }
                    all.extend_from_slice(&chunk[..count]);
                    // The only bodies sent here end so.
                    if !all.ends_with(b"]}") {
                        continue;
                    }
                    all.clear();
                    let mut body = String::new();
                    for word in ["We ", "share ", "what ", "we ", "have."] {
                        body.push_str(&format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{word}\"}}}}]}}\n\n"));
                    }
                    body.push_str("data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n");
                    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
                    let said = format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
                    if stream.write_all(said.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// Milliseconds to the first byte of the answer's body, for each of `n` requests.
fn first_bytes(address: SocketAddr, n: usize) -> Vec<f64> {
    let body = "{\"stream\":true,\"visa\":{\"mode\":\"audit\"},\"messages\":[{\"role\":\"user\",\"content\":\"Why?\"}]}";
    let request = request("/v1/chat/completions", body);
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_nodelay(true).expect("set");
    let mut chunk = [0u8; 8192];
    (0..n)
        .map(|_| {
            let started = Instant::now();
            stream.write_all(&request).expect("sent");
            let mut all = Vec::new();
            let mut first = None;
            while !all.ends_with(b"0\r\n\r\n") {
                let count = stream.read(&mut chunk).expect("read");
                assert!(count > 0, "the connection ended");
                all.extend_from_slice(&chunk[..count]);
                if first.is_none() && all.windows(6).any(|w| w == b"data: ") {
                    first = Some(started.elapsed().as_secs_f64() * 1e3);
                }
            }
            first.expect("data")
        })
        .collect()
}

fn audit(n: usize) {
    let behind = upstream();
    let (address, thread) = serve(ServerOptions {
        port: 0,
        upstream: Some(UpstreamOptions::new(format!("http://{behind}/v1"))),
        ..ServerOptions::default()
    });
    first_bytes(address, 50);
    let mut straight = first_bytes(behind, n);
    let mut through = first_bytes(address, n);
    for p in [0.5, 0.99] {
        let (a, b) = (percentile(&mut straight, p), percentile(&mut through, p));
        println!(
            "first byte at p{:.0}: straight {a:.3} ms, through the proxy {b:.3} ms, added {:.3} ms",
            100.0 * p,
            b - a
        );
    }
    STOP.store(true, Ordering::SeqCst);
    thread.join().expect("it ends");
}

/// Resident memory of this process in MiB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|l| {
            l.strip_prefix("VmRSS:")?
                .trim()
                .split(' ')
                .next()?
                .parse::<f64>()
                .ok()
        })
        .map_or(f64::NAN, |kib| kib / 1024.0)
}

fn overload(time: Duration) {
    let texts = texts(512);
    let (_, power) = batch(&texts, Duration::from_millis(1));
    let options = ServerOptions {
        port: 0,
        limits: Limits {
            requests: 32,
            ..Limits::default()
        },
        ..ServerOptions::default()
    };
    let (address, thread) = serve(options);
    storm(address, 320, Duration::from_secs(2), &texts, &power);
    let before = resident();
    let mut seen = storm(address, 320, time, &texts, &power);
    println!(
        "320 connections, room for 32: {} good, {} wrong, {} busy, {} other, {} broken",
        seen.good, seen.wrong, seen.busy, seen.other, seen.broken
    );
    println!(
        "429 at p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms; answers at p99 {:.1} ms; resident {before:.0} then {:.0} MiB",
        percentile(&mut seen.busy_times, 0.5),
        percentile(&mut seen.busy_times, 0.99),
        percentile(&mut seen.busy_times, 1.0),
        percentile(&mut seen.good_times, 0.99),
        resident()
    );
    STOP.store(true, Ordering::SeqCst);
    thread.join().expect("it ends");
}
