//! Where results go: standard output or a file, one whole line at a time.
//!
//! The writer is global because the interrupt handler must be able to finish the line being written. Progress and
//! diagnostics never come here; they go to stderr.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::exit::Failure;

type Writer = BufWriter<Box<dyn Write + Send>>;

static OUT: Mutex<Option<Writer>> = Mutex::new(None);

/// Is the place of the results a terminal?
pub(crate) fn is_terminal(output: &str) -> bool {
    output == "-" && io::stdout().is_terminal()
}

/// Opens `-` (standard output) or a file, which is replaced.
pub(crate) fn open(output: &str, input: &str) -> Result<(), Failure> {
    let writer: Box<dyn Write + Send> = if output == "-" {
        Box::new(io::stdout())
    } else {
        if input != "-" && same_file(Path::new(input), Path::new(output)) {
            return Err(crate::exit::usage(format!(
                "--output {output} is the input file, which would be lost; name another file"
            )));
        }
        let file = File::create(output)
            .map_err(|e| crate::exit::usage(format!("--output {output} cannot be written: {e}")))?;
        Box::new(file)
    };
    *lock() = Some(BufWriter::with_capacity(1 << 16, writer));
    Ok(())
}

/// Writes `text`, which must end where a line ends; all of it or, on an error, an error.
pub(crate) fn write(text: &str) -> Result<(), Failure> {
    let mut out = lock();
    let writer = out.get_or_insert_with(|| BufWriter::new(Box::new(io::stdout())));
    writer.write_all(text.as_bytes()).map_err(failure)
}

/// Hands everything written to the operating system.
pub(crate) fn flush() -> Result<(), Failure> {
    match lock().as_mut() {
        Some(writer) => writer.flush().map_err(failure),
        None => Ok(()),
    }
}

/// Called from the interrupt handler: waits for the line being written, at most `patience`, and flushes. The lock is
/// never released again, so that nothing follows.
pub(crate) fn finish_line(patience: Duration) {
    let start = Instant::now();
    while start.elapsed() < patience {
        if let Ok(mut out) = OUT.try_lock() {
            if let Some(writer) = out.as_mut() {
                // The process ends either way.
                let _ = writer.flush();
            }
            std::mem::forget(out);
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn lock() -> std::sync::MutexGuard<'static, Option<Writer>> {
    OUT.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failure(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        // What is still buffered has no reader either.
        if let Ok(mut out) = OUT.try_lock() {
            *out = None;
        }
        Failure::BrokenPipe
    } else {
        Failure::Input(anyhow::Error::new(error).context("the output could not be written"))
    }
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
