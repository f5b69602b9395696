//! The portal: everything that is stored, and the HTTP edge. Serves the web client.
//!
//! [`Portal`] holds the domain functions that HTTP handlers and the command line share. Whatever they do with stored data goes
//! through [`store::Store::tx`], which needs a [`store::Ctx`] and writes the audit log.

pub mod clock;
mod http;
pub mod ids;
pub mod limits;
mod portal;
pub mod secret;
pub mod store;
pub mod text;

pub use axum::Router;
pub use http::{Allowance, Connections, Peer, Place, Places, Stop, Web, WebSettings, holds, redirect, router};
pub use portal::{
    AppointmentRequest, ClinicProfile, CreatedAppointment, CreatedVisit, Day, MintedOperator, MintedProbe, MintedToken,
    Portal, PortalError, SessionGrant, StartLinks, TokenRequest, VisitStart,
};
