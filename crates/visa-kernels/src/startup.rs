//! What a program does before anything else, so that its threads do not get
//! into each other's way.

use crate::isa::{self, Isa, IsaError};

/// Candle's own pool for element-wise operations, beside rayon's.
const CANDLE_THREADS: &str = "CANDLE_NUM_THREADS";

/// The allocator that programs should use: `#[global_allocator]`. What a step frees,
/// the next one gets again, see [`prepare`].
#[cfg(feature = "allocator")]
pub use mimalloc::MiMalloc as Allocator;

/// Keeps the pages of freed memory. By default they go back to the system after
/// 10 ms, and a training step, which allocates the same arrays again and again,
/// spends a tenth to a quarter of its time in the kernel getting them cleared anew.
/// The process stays as large as it once was.
#[cfg(feature = "allocator")]
fn keep_pages() {
    /// `mi_option_purge_delay` of `mimalloc.h`; the crate names only some options.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    // SAFETY: sets a number that the allocator reads.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
}

/// Chooses the instruction set, has the allocator keep its pages, and keeps candle's element-wise pool to the
/// calling thread, unless `CANDLE_NUM_THREADS` says otherwise.
///
/// That pool waits by spinning. Beside rayon's threads on a busy machine of two
/// processors, half of a training step's processor time was spent in its
/// barrier; what it computes is a tenth of that, and the kernels of this crate
/// do the large work.
///
/// Call it first in `main`: the variable can only be set safely while the
/// process has one thread, so with more, or where threads cannot be counted
/// (only Linux tells), the environment stays as it is.
///
/// # Errors
/// If `VISA_ISA` cannot be followed.
pub fn prepare() -> Result<Isa, IsaError> {
    #[cfg(feature = "allocator")]
    keep_pages();
    if std::env::var_os(CANDLE_THREADS).is_none() && alone() {
        // SAFETY: no other thread exists that could read the environment now.
        unsafe { std::env::set_var(CANDLE_THREADS, "1") };
    }
    isa::choose()
}

/// Whether this is surely the only thread of the process.
fn alone() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_threads_are_seen() {
        // The test harness runs this beside its main thread.
        let (send, receive) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || receive.recv());
        assert!(!alone());
        drop(send);
        assert!(other.join().unwrap().is_err());
    }
}
