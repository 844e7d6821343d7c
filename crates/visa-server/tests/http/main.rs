//! The server as its clients meet it: real sockets on this machine, tiny random models, bounded time.
//!
//! What the models say means nothing; every promise about form, order, limits, names and secrets must hold all the same.

mod attacks;
mod clients;
mod document;
mod fixture;
mod native;
mod overload;
mod plug;
mod proxy;
mod strangers;
