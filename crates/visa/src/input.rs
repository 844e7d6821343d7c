//! Where records come from: an argument, a whole text, or JSON Lines, read by a thread of their own.
//!
//! Lines are decoded here and parsed in [`crate::batch`]. Reading ahead is bounded in lines and a line in bytes, so
//! memory stays flat however long the input is; a producer that is slow gets each line answered as it comes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

use anyhow::{Context, anyhow, bail};

use crate::args::{InputFormat, IoArgs};
use crate::exit::{Failure, usage};

/// The longest line, and the longest text. Beyond it the input is more likely a mistake than a text.
pub(crate) const MAX_BYTES: usize = 16 << 20;

/// Lines read ahead of the model.
const AHEAD: usize = 64;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// What there is to work on.
pub(crate) enum Source<T> {
    /// A record given by arguments.
    Single { place: String, record: T },
    /// One text, with the name of its place for messages.
    Text { place: String, text: String },
    /// JSON Lines.
    Lines(Lines),
}

/// One line of a JSON Lines input.
pub(crate) struct Line {
    /// Counted from 1.
    pub(crate) number: u64,
    /// The line without its end, or why it could not be read.
    pub(crate) text: anyhow::Result<String>,
}

/// The lines of an input, in order.
pub(crate) struct Lines {
    receiver: Receiver<Line>,
}

impl Lines {
    /// Starts reading.
    fn start(reader: Box<dyn BufRead + Send>) -> Self {
        let (sender, receiver) = sync_channel(AHEAD);
        std::thread::spawn(move || read_lines(reader, &sender));
        Self { receiver }
    }

    /// Waits for a line, then takes what is there already, up to `most`; empty at the end of the input.
    pub(crate) fn next_chunk(&self, most: usize) -> Vec<Line> {
        let Ok(first) = self.receiver.recv() else {
            return Vec::new();
        };
        let mut bytes = first.text.as_ref().map_or(0, String::len);
        let mut chunk = vec![first];
        while chunk.len() < most && bytes < MAX_BYTES {
            match self.receiver.try_recv() {
                Ok(line) => {
                    bytes += line.text.as_ref().map_or(0, String::len);
                    chunk.push(line);
                }
                // A file is read faster than a model computes: give the reader a moment before going on with less.
                Err(TryRecvError::Empty) => {
                    match self
                        .receiver
                        .recv_timeout(std::time::Duration::from_millis(2))
                    {
                        Ok(line) => {
                            bytes += line.text.as_ref().map_or(0, String::len);
                            chunk.push(line);
                        }
                        Err(_) => break,
                    }
                }
                Err(TryRecvError::Disconnected) => break,
            }
        }
        chunk
    }
}

/// Opens the input: the record given by arguments when there is one, else `--input`.
///
/// # Errors
/// Wrong usage (both, or nothing at a terminal), or a whole text that cannot be read.
pub(crate) fn open<T>(single: Option<T>, io: &IoArgs) -> Result<Source<T>, Failure> {
    if let Some(record) = single {
        if io.input != "-" {
            return Err(usage(format!(
                "a text as an argument and --input {} were both given; give one of them",
                io.input
            )));
        }
        return Ok(Source::Single {
            place: "the text".into(),
            record,
        });
    }
    let (name, reader): (String, Box<dyn Read + Send>) = if io.input == "-" {
        if io::stdin().is_terminal() {
            return Err(usage(
                "nothing to read: give a text as an argument, name a file by --input FILE, or pipe text or JSON Lines in",
            ));
        }
        ("standard input".into(), Box::new(io::stdin()))
    } else {
        let path = Path::new(&io.input);
        if path.is_dir() {
            return Err(Failure::Input(anyhow!(
                "--input {} is a folder; name a file in it",
                io.input
            )));
        }
        let file = File::open(path)
            .map_err(|e| Failure::Input(anyhow!("--input {} cannot be read: {e}", io.input)))?;
        (io.input.clone(), Box::new(file))
    };
    let mut reader = BufReader::with_capacity(1 << 16, reader);
    let kind = match io.input_format {
        InputFormat::Auto => sniff(&io.input, &mut reader)
            .map_err(|e| Failure::Input(anyhow!("{name} cannot be read: {e}")))?,
        kind => kind,
    };
    if kind == InputFormat::Jsonl {
        return Ok(Source::Lines(Lines::start(Box::new(reader))));
    }
    let text = whole(&mut reader, &name).map_err(Failure::Input)?;
    Ok(Source::Text { place: name, text })
}

/// Decides between JSON Lines and a text, by the name or the first character.
fn sniff(name: &str, reader: &mut impl BufRead) -> io::Result<InputFormat> {
    let extension = Path::new(name)
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    if ["jsonl", "ndjson", "json"].contains(&extension.to_ascii_lowercase().as_str()) {
        return Ok(InputFormat::Jsonl);
    }
    let start = reader.fill_buf()?;
    let start = start.strip_prefix(BOM).unwrap_or(start);
    let first = start.iter().find(|b| !b.is_ascii_whitespace());
    Ok(if first == Some(&b'{') {
        InputFormat::Jsonl
    } else {
        InputFormat::Text
    })
}

/// The whole input as one text, without a byte order mark and the last line's end.
fn whole(reader: &mut impl Read, name: &str) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    reader
        .take(MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("{name} cannot be read"))?;
    if bytes.len() > MAX_BYTES {
        bail!(
            "{name} is longer than {} MB; split it into texts, one JSON object a line",
            MAX_BYTES >> 20
        );
    }
    let bytes = bytes.strip_prefix(BOM).unwrap_or(&bytes);
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let line = 1 + bytes[..e.valid_up_to()]
            .iter()
            .filter(|b| **b == b'\n')
            .count();
        anyhow!("{name}, line {line}: {}", not_utf8(bytes, &e))
    })?;
    Ok(text.trim_end_matches(['\n', '\r']).to_string())
}

fn read_lines(mut reader: Box<dyn BufRead + Send>, sender: &SyncSender<Line>) {
    for number in 1.. {
        let (text, last) = match read_line(&mut reader, number == 1) {
            Ok(None) => return,
            Ok(Some(text)) => (text, false),
            Err(e) => (
                Err(anyhow!("the input cannot be read any further: {e}")),
                true,
            ),
        };
        let blank = matches!(&text, Ok(t) if t.trim().is_empty());
        // Nobody listens once a bad line has stopped the run.
        if (!blank && sender.send(Line { number, text }).is_err()) || last {
            return;
        }
    }
}

fn read_line(reader: &mut dyn BufRead, first: bool) -> io::Result<Option<anyhow::Result<String>>> {
    let mut bytes = Vec::new();
    let read = reader
        .take(MAX_BYTES as u64 + 1)
        .read_until(b'\n', &mut bytes)?;
    if read == 0 {
        return Ok(None);
    }
    if read > MAX_BYTES && bytes.last() != Some(&b'\n') {
        skip_line(reader)?;
        return Ok(Some(Err(anyhow!(
            "longer than {} MB; split the text",
            MAX_BYTES >> 20
        ))));
    }
    if first && bytes.starts_with(BOM) {
        bytes.drain(..BOM.len());
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    Ok(Some(String::from_utf8(bytes).map_err(|e| {
        anyhow!("{}", not_utf8(e.as_bytes(), &e.utf8_error()))
    })))
}

fn skip_line(reader: &mut dyn BufRead) -> io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        let end = buffer.iter().position(|b| *b == b'\n');
        let used = end.map_or(buffer.len(), |at| at + 1);
        reader.consume(used);
        if end.is_some() {
            return Ok(());
        }
    }
}

fn not_utf8(bytes: &[u8], error: &std::str::Utf8Error) -> String {
    let at = error.valid_up_to();
    let column = at
        - bytes[..at]
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |n| n + 1)
        + 1;
    format!(
        "byte {column} (0x{:02x}) is not UTF-8; convert the input to UTF-8",
        bytes.get(at).copied().unwrap_or(0)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &'static [u8]) -> Vec<(u64, Result<String, String>)> {
        let lines = Lines::start(Box::new(input));
        let mut all = Vec::new();
        loop {
            let chunk = lines.next_chunk(3);
            if chunk.is_empty() {
                return all;
            }
            assert!(chunk.len() <= 3);
            all.extend(
                chunk
                    .into_iter()
                    .map(|l| (l.number, l.text.map_err(|e| e.to_string()))),
            );
        }
    }

    #[test]
    fn lines_keep_their_numbers_over_blank_ones_and_both_line_ends() {
        let found = lines(b"\xef\xbb\xbf{\"a\":1}\r\n\n{\"b\":2}\n \n{\"c\":3}");
        let expected: Vec<(u64, Result<String, String>)> = vec![
            (1, Ok("{\"a\":1}".into())),
            (3, Ok("{\"b\":2}".into())),
            (5, Ok("{\"c\":3}".into())),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_line_that_is_not_utf8_does_not_hide_the_next() {
        let found = lines(b"ok\nab\xff\nfine\n");
        assert_eq!(found[0], (1, Ok("ok".into())));
        assert_eq!(found[1].0, 2);
        let message = found[1].1.as_ref().expect_err("line 2 is bad");
        assert!(message.contains("byte 3 (0xff)"), "{message}");
        assert_eq!(found[2], (3, Ok("fine".into())));
    }

    #[test]
    fn the_name_or_the_first_character_decide() {
        let check = |name: &str, start: &'static [u8], expected| {
            let mut reader = BufReader::new(start);
            assert_eq!(
                sniff(name, &mut reader).expect("a slice can be read"),
                expected,
                "{name}"
            );
        };
        check("-", b"  {\"text\": \"x\"}", InputFormat::Jsonl);
        check("-", b"\xef\xbb\xbf{", InputFormat::Jsonl);
        check("-", b"Dear all", InputFormat::Text);
        check("letter.txt", b"", InputFormat::Text);
        check("batch.JSONL", b"not json", InputFormat::Jsonl);
    }

    #[test]
    fn a_whole_text_loses_the_mark_and_the_last_line_end_only() {
        let read = |bytes: &[u8]| whole(&mut &bytes[..], "t.txt").map_err(|e| e.to_string());
        assert_eq!(
            read(b"\xef\xbb\xbfOne.\r\n\r\nTwo.\r\n"),
            Ok("One.\r\n\r\nTwo.".into())
        );
        let message = read(b"One.\nTw\xe9.\n").expect_err("latin-1");
        assert!(
            message.starts_with("t.txt, line 2: byte 3 (0xe9)"),
            "{message}"
        );
        assert!(
            read(&vec![b'a'; MAX_BYTES + 1])
                .expect_err("too long")
                .contains("16 MB")
        );
    }
}
