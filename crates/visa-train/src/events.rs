//! TensorBoard's event files, as far as scalars need them.
//!
//! A file is a sequence of TFRecords: the length (`u64`), its checksum, the bytes of an `Event` message, their checksum. A
//! checksum is the CRC-32C turned by 15 bits and shifted by a constant. Of the protocol buffers only four messages of a few
//! fields are written (`tensorflow/core/util/event.proto`, `framework/summary.proto`), so that no library is needed.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::{Error, Result};

/// An event file that is being written.
pub(crate) struct Events {
    path: PathBuf,
    file: File,
}

impl Events {
    /// Begins a file in `dir`. A reader forgets what earlier files say of steps after `step`: they are done again.
    ///
    /// # Errors
    /// What the file system reports.
    pub(crate) fn begin(dir: &Path, step: u64) -> Result<Self> {
        let now = now();
        let id = std::process::id();
        let path = dir.join(format!("events.out.tfevents.{:010}.visa.{id}", now as u64));
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let mut events = Self {
            file: file.map_err(Error::io(&path))?,
            path,
        };
        events.put(&event(now, 0, Field::Bytes(3, b"brain.Event:2".to_vec())))?;
        // SessionLog { status: START }
        let start = message(&[Field::Number(1, 1)]);
        events.put(&event(now, step + 1, Field::Bytes(7, start)))?;
        Ok(events)
    }

    /// Adds the numbers of a step, under names that begin with `prefix`.
    ///
    /// # Errors
    /// What the file system reports.
    pub(crate) fn scalars(
        &mut self,
        prefix: &str,
        step: u64,
        scalars: &[(String, f64)],
    ) -> Result<()> {
        self.put(&summary(now(), prefix, step, scalars))
    }

    fn put(&mut self, event: &[u8]) -> Result<()> {
        // One call a record, so that a reader at work finds it whole or not at all.
        (self.file.write_all(&record(event))).map_err(Error::io(&self.path))
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |d| d.as_secs_f64())
}

enum Field {
    Number(u32, u64),
    Double(u32, f64),
    Float(u32, f32),
    Bytes(u32, Vec<u8>),
}

/// Event { wall_time: 1, step: 2, what }
fn event(time: f64, step: u64, what: Field) -> Vec<u8> {
    message(&[Field::Double(1, time), Field::Number(2, step), what])
}

/// Event { summary: Summary { value: [Value { tag, simple_value }] } }
fn summary(time: f64, prefix: &str, step: u64, scalars: &[(String, f64)]) -> Vec<u8> {
    let values = scalars.iter().map(|(name, x)| {
        let tag = format!("{prefix}{name}").into_bytes();
        Field::Bytes(
            1,
            message(&[Field::Bytes(1, tag), Field::Float(2, *x as f32)]),
        )
    });
    let values = message(&values.collect::<Vec<_>>());
    event(time, step, Field::Bytes(5, values))
}

fn message(fields: &[Field]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in fields {
        match field {
            Field::Number(number, x) => {
                varint(u64::from(number << 3), &mut out);
                varint(*x, &mut out);
            }
            Field::Double(number, x) => {
                varint(u64::from(number << 3 | 1), &mut out);
                out.extend(x.to_le_bytes());
            }
            Field::Bytes(number, bytes) => {
                varint(u64::from(number << 3 | 2), &mut out);
                varint(bytes.len() as u64, &mut out);
                out.extend(bytes);
            }
            Field::Float(number, x) => {
                varint(u64::from(number << 3 | 5), &mut out);
                out.extend(x.to_le_bytes());
            }
        }
    }
    out
}

fn varint(mut x: u64, out: &mut Vec<u8>) {
    while x >= 0x80 {
        out.push(x as u8 | 0x80);
        x >>= 7;
    }
    out.push(x as u8);
}

fn record(bytes: &[u8]) -> Vec<u8> {
    let len = (bytes.len() as u64).to_le_bytes();
    let mut out = len.to_vec();
    out.extend(masked(&len).to_le_bytes());
    out.extend(bytes);
    out.extend(masked(bytes).to_le_bytes());
    out
}

fn masked(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The Castagnoli checksum, bit by bit: a log line has a kilobyte.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn checksums_are_the_published_ones() {
        // RFC 3720, appendix B.4, and the check value of the catalogue.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn records_are_those_of_tensorboard() {
        let scalars = [("reward".to_owned(), 0.5), ("kl".to_owned(), -2.0)];
        let event = summary(1_700_000_000.25, "train/", 300, &scalars);
        assert_eq!(hex(&record(&event)), GOLDEN);
    }

    /// What `tensorboard.summary.writer.record_writer` 2.20 writes of this event.
    const GOLDEN: &str = "34000000000000005e33175c0900001040fc54d94110ac022a260a130a0c747261696e2f726577617264\
        150000003f0a0f0a08747261696e2f6b6c15000000c034fb3eb1";

    #[test]
    fn a_file_begins_with_its_version_and_the_session() {
        let dir = tempfile::tempdir().unwrap();
        let mut events = Events::begin(dir.path(), 7).unwrap();
        events.scalars("", 8, &[("loss".into(), 1.0)]).unwrap();
        let bytes = std::fs::read(&events.path).unwrap();
        let mut rest = &bytes[..];
        let mut found = Vec::new();
        while !rest.is_empty() {
            let len = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            let (one, behind) = rest.split_at(len + 16);
            assert_eq!(record(&one[12..12 + len]), one);
            found.push(one[12..12 + len].to_vec());
            rest = behind;
        }
        assert_eq!(found.len(), 3);
        let holds = |event: &[u8], part: &[u8]| event.windows(part.len()).any(|w| w == part);
        assert!(holds(&found[0], b"brain.Event:2"));
        // Step 8, and a session that starts.
        assert!(holds(&found[1], &[0x10, 8, 0x3a, 2, 8, 1]));
        assert!(holds(&found[2], b"loss"));
    }
}
