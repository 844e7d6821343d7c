//! Runs the binary with a clean environment and checks how it ended.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The binary without variables that could change its ways, and with the tiny models.
pub(crate) fn command<S: AsRef<OsStr>>(arguments: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_visa"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("VISA_") {
            command.env_remove(name);
        }
    }
    command
        .args(arguments)
        .env("VISA_MODEL", crate::fixture::models())
        .env("LANG", "C.UTF-8")
        .env_remove("LC_ALL")
        .env_remove("LC_CTYPE")
        .env_remove("NO_COLOR")
        .env_remove("CLICOLOR_FORCE")
        .env_remove("COLUMNS");
    command
}

/// Runs with `stdin` piped in.
pub(crate) fn visa<S: AsRef<OsStr>>(arguments: &[S], stdin: impl AsRef<[u8]>) -> Run {
    finish(command(arguments), stdin.as_ref())
}

/// Runs a prepared command.
pub(crate) fn finish(mut command: Command, stdin: &[u8]) -> Run {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut pipe = child.stdin.take().expect("a pipe");
    let bytes = stdin.to_vec();
    // A run that ends early closes its input; what is left to write is of no interest.
    let writer = std::thread::spawn(move || drop(pipe.write_all(&bytes)));
    let output = child.wait_with_output().expect("the binary ends");
    writer.join().expect("the writer ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
    Run {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

impl Run {
    /// Succeeded; answers the objects of its output.
    #[track_caller]
    pub(crate) fn objects(&self) -> Vec<Value> {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self.lines()
    }

    /// The objects of the output, however the run ended: every line must be whole.
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<Value> {
        assert!(
            self.stdout.is_empty() || self.stdout.ends_with('\n'),
            "{:?}",
            self.stdout
        );
        self.stdout
            .lines()
            .map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}")))
            .collect()
    }

    /// Failed with `code`, and said each of `parts` on stderr, without a panic.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, parts: &[&str]) -> &Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout {:?}\nstderr {}",
            self.stdout,
            self.stderr
        );
        for part in parts {
            assert!(
                self.stderr.contains(part),
                "{:?} lacks {part:?}",
                self.stderr
            );
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }
}
