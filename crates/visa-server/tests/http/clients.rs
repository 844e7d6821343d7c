//! The real clients from PyPI, where somebody installed them: `VISA_CLIENTS_PYTHON` names a Python that has them.

use std::path::Path;
use std::process::Command;

use visa_server::{Keys, new_key};

use crate::fixture::start;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients() {
    let Some(python) = std::env::var_os("VISA_CLIENTS_PYTHON").filter(|p| !p.is_empty()) else {
        eprintln!(
            "skipped: set VISA_CLIENTS_PYTHON to a Python with openai, litellm, trl and mcp installed"
        );
        return;
    };
    let (key, digest) = new_key();
    let keys = Keys::parse(&[digest]).expect("a digest");
    let server = start(|options| options.keys = keys).await;
    let base = server.base.clone();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (script, ours) = (
        here.join("tests/http/clients.py"),
        here.join("../../python"),
    );
    let run = move || {
        Command::new(python)
            .arg(script)
            .arg(base)
            .arg(key)
            .arg(ours)
            .output()
    };
    let output = tokio::task::spawn_blocking(run)
        .await
        .expect("no panic")
        .expect("Python starts");
    let said = String::from_utf8_lossy(&output.stdout);
    eprintln!("{said}");
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // The clients print lines of their own between these.
    for client in ["openai", "litellm", "trl", "mcp"] {
        let told = said.lines().any(|l| {
            l == format!("{client}: done") || l.starts_with(&format!("{client}: skipped"))
        });
        assert!(told, "{client} did not say how it went: {said}");
    }
}
