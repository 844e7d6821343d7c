//! What all requests share.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::engine::Engine;
use crate::metrics::Metrics;
use crate::options::ServerOptions;
use crate::profiles::Store;
use crate::proxy::Upstream;

/// The state of every handler.
pub(crate) type Shared = Arc<App>;

pub(crate) struct App {
    pub(crate) options: ServerOptions,
    pub(crate) engine: Engine,
    pub(crate) profiles: Store,
    pub(crate) upstream: Upstream,
    pub(crate) metrics: Metrics,
    /// One permit a request being answered.
    pub(crate) room: Arc<Semaphore>,
    /// Seconds since 1970 at the start, for `created` fields of models.
    pub(crate) started: u64,
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}
