//! Housecall as one program: reads the configuration, opens the store, starts the media core, the visits and the HTTP edge.

pub mod config;
