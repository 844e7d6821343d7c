//! Ctrl-C: exit 130, with whole lines only.
//!
//! Most commands can stop at any moment: the handler waits until the line being written is complete, flushes, and
//! leaves. Training asks for [`graceful`] instead: the first interrupt only raises a flag, so that a checkpoint can be
//! written; the second one leaves.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::exit::{Failure, INTERRUPTED};

static COUNT: AtomicUsize = AtomicUsize::new(0);
static GRACEFUL: OnceLock<&'static AtomicBool> = OnceLock::new();

/// How long an interrupt waits for the line being written; a reader that takes nothing must not hold us.
const PATIENCE: Duration = Duration::from_millis(500);

/// Installs the handler, once, at the start of the program.
pub(crate) fn install() -> Result<(), Failure> {
    ctrlc::set_handler(|| {
        let earlier = COUNT.fetch_add(1, Ordering::SeqCst);
        if let (Some(flag), 0) = (GRACEFUL.get(), earlier) {
            flag.store(true, Ordering::SeqCst);
            crate::exit::note("stopping after this step; press Ctrl-C again to stop at once");
            return;
        }
        crate::output::finish_line(PATIENCE);
        std::process::exit(i32::from(INTERRUPTED));
    })
    .map_err(|e| Failure::Usage(anyhow::anyhow!("the interrupt handler: {e}")))
}

/// From now on the first interrupt raises the answered flag instead of leaving.
pub(crate) fn graceful() -> &'static AtomicBool {
    static FLAG: AtomicBool = AtomicBool::new(false);
    GRACEFUL.get_or_init(|| &FLAG)
}
