//! From options to a listening server, and to its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use visa_align::Models;

use crate::app::{App, Shared, now};
use crate::engine::Engine;
use crate::error::ServerError;
use crate::metrics::Metrics;
use crate::options::ServerOptions;
use crate::profiles::Store;
use crate::proxy::Upstream;
use crate::routes::router;

/// A server that listens and does not answer yet.
pub struct Server {
    listener: TcpListener,
    app: Shared,
}

impl Server {
    /// Checks the options, loads the models and takes the port.
    ///
    /// # Errors
    /// [`ServerError`], each with its remedy.
    pub async fn bind(options: ServerOptions, models: &Models) -> Result<Self, ServerError> {
        let address = SocketAddr::new(options.host, options.port);
        if !options.host.is_loopback() && options.keys.is_empty() && !options.open {
            return Err(ServerError::Open { address });
        }
        let metrics = Metrics::new().map_err(|e| ServerError::Start(e.to_string()))?;
        let upstream = Upstream::new(options.upstream.as_ref(), options.keys.is_empty())?;
        // The port first: loading takes a while, and a port that is taken is known at once.
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| ServerError::Listen { address, source })?;
        let profiles = Store::open(options.profiles.as_deref())?;
        let engine = Engine::load(models, &options.engine, upstream.is_local(), &metrics)?;
        let app = Arc::new(App {
            room: Arc::new(Semaphore::new(options.limits.requests)),
            options,
            engine,
            profiles,
            upstream,
            metrics,
            started: now(),
        });
        Ok(Self { listener, app })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system no longer knows the socket.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stop` comes, then finishes what was accepted, for at most the grace time.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { listener, app } = self;
        let graceful = GracefulShutdown::new();
        let service = router(&app);
        let room = Arc::new(Semaphore::new(app.options.limits.connections));
        let mut connections = JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            let accepted = async {
                // Beyond this many, connections wait in the system's queue.
                let permit = room.clone().acquire_owned().await;
                (listener.accept().await, permit)
            };
            let (accepted, permit) = tokio::select! {
                () = &mut stop => break,
                both = accepted => both,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Usually too many open files: others must close before trying again helps.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            // Small answers at once; without it they may wait for the client's acknowledgement.
            let _ = stream.set_nodelay(true);
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(app.options.limits.receive)
                .max_buf_size(64 * 1024)
                .serve_connection(
                    TokioIo::new(stream),
                    TowerToHyperService::new(service.clone()),
                );
            let watched = graceful.watch(connection);
            // Those that ended are let go of, or the set would grow for ever.
            while connections.try_join_next().is_some() {}
            connections.spawn(async move {
                if let Err(error) = watched.await {
                    tracing::debug!(%error, "a connection ended");
                }
                drop(permit);
            });
        }
        drop(listener);
        if tokio::time::timeout(app.options.grace, graceful.shutdown())
            .await
            .is_err()
        {
            tracing::warn!("requests were still being answered when the grace time ended");
        }
        // Who is still here is cut off; what was computed for them sees that nobody waits, and stops at its next step.
        connections.shutdown().await;
        // Joins threads, which is no work for an async thread.
        let _ = tokio::task::spawn_blocking(move || app.engine.stop()).await;
    }
}

/// Sets up the async threads, serves until `stop` is raised, and tells the address by `ready` once it listens.
///
/// # Errors
/// As [`Server::bind`].
pub fn run(
    options: ServerOptions,
    models: &Models,
    stop: &'static AtomicBool,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), ServerError> {
    let start = |e: std::io::Error| ServerError::Start(e.to_string());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("visa-http")
        .build()
        .map_err(start)?;
    runtime.block_on(async {
        let server = Server::bind(options, models).await?;
        ready(server.address().map_err(start)?);
        // A signal handler may only raise a flag, so it is looked at now and then.
        let stopped = async {
            while !stop.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        server.run(stopped).await;
        Ok(())
    })
}
