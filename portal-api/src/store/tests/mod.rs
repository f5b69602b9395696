//! The store from inside: who sees what, what is written down, what survives.

mod bypass;
mod durability;
mod fixture;
mod log;
mod queries;
